#!/bin/sh
set -e

# Entrypoint scripts call small tools; a slim image has to keep exactly these.
echo "starting at $(date -u +%H:%M:%SZ) on port $PORT"

exec "$@"
