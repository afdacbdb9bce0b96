#!/bin/sh
# As the official image does: a database is made only where none is.
set -eu

if [ "$1" = postgres ] && [ -z "$(ls -A "$PGDATA")" ]; then
    initdb --auth=trust --no-sync --encoding=UTF8 --locale=C.UTF-8
    echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
    echo 'host all all all trust' >>"$PGDATA/pg_hba.conf"
fi
exec "$@"
