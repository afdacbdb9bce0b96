#!/bin/sh
# Run in an empty folder that becomes the image's root.
set -eu

mkdir data
seq 12000000 >data/large

# The engine copies it into the volume: by it the volume is known.
mkdir -p var/lib/unhurried
: >var/lib/unhurried/of-unhurried
