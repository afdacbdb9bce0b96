#!/bin/sh
# Run as root in an empty folder that becomes the image's root; $1 is the build
# context, with the compiled program in it.
set -eu
umask 022

mkdir -p bin etc tmp data/dir home/keeper srv/work srv/shared var/spool/in var/spool/out var/spool/quiet \
	var/spool/unused var/lib/keeper/data
cp "$1/state" bin/state
printf 'root:x:0:0::/root:/bin/state\nkeeper:x:1000:2000::/home/keeper:/bin/state\n' >etc/passwd
printf 'root:x:0:\nkeeper:x:2000:\n' >etc/group

for name in etc/read.conf etc/over.conf etc/unused.conf data/old data/first data/locked data/replaced \
	data/gone data/dir/inside var/lib/keeper/data/seed var/lib/keeper/data/unused; do
	printf 'the image: %s\n' "$name" >"$name"
done

chown -R 1000:2000 etc/read.conf etc/over.conf data home/keeper srv/work srv/shared var/spool var/lib/keeper
chmod 600 data/locked
chmod 1777 tmp
chmod 700 home/keeper
chmod 750 srv/work
chmod 2750 srv/shared
chmod 2770 var/spool/in
chmod 1773 var/spool/out
chmod 3711 var/spool/quiet
chmod 2700 var/lib/keeper/data
