#!/bin/sh
set -eu
mkdir -p /run/steps
chown -R app:app /run/steps /srv/state /var/cache/app
chmod 750 /srv/state # which is app's by now
read -r _ </srv/state/greeting # which nobody else may read
exec setpriv --reuid=app --regid=app --init-groups "$@"
