#!/bin/sh
set -eu

LIBRARY=/usr/local/lib
# shellcheck disable=SC1091  # where the image has it
. "$LIBRARY/entrypoint-lib.sh"

case "${REPORT:-no}" in
  yes)
    draft=$(mktemp)
    trap 'rm -f "$draft"' EXIT
    report "$draft"
    sed -e 's/^/report: /' "$draft"
    python -m shop.report
    exit 0
    ;;
esac

exec "$@"
