#!/bin/sh
# Run as root in an empty folder that becomes the image's root; $1 is the build
# context, with the compiled program in it.
set -eu
umask 022

mkdir -p bin etc tmp srv data run var/empty var/spool opt/releases/2.0/conf

# One program under several names: a plain one, a hardlink, a setuid copy, and a
# copy with a file capability (a chown after setcap would clear it).
cp "$1/edge" bin/edge
ln bin/edge bin/edge-again
cp "$1/edge" bin/edge-setuid
chown 1234:1234 bin/edge-setuid
chmod 4755 bin/edge-setuid
cp "$1/edge" bin/edge-capable
setcap cap_net_raw+ep bin/edge-capable

# Hardlinks in two folders, with times and an owner of their own.
printf 'shared content\n' >data/first
chown 1000:2000 data/first
chmod 640 data/first
ln data/first var/spool/second

# A chain of links: absolute, relative, through folders that are links themselves.
printf 'setting = 1\n' >opt/releases/2.0/conf/app.conf
ln -s 2.0 opt/releases/2
ln -s /opt/releases/2 opt/current
ln -s ../opt/current/conf etc/app
ln -s app/app.conf etc/app.conf

# Links that lead nowhere are looked up by programs all the same.
ln -s /nowhere/at/all etc/dangling
ln -s loop etc/loop

# Folders that matter though empty, and a fifo and a device.
chown 1234:4321 var/empty
chmod 1770 var/empty
chmod 1777 tmp
chmod 2750 var/spool
chown 1000:2000 var/spool
mkfifo -m 620 run/pipe
chown 1000:1000 run/pipe
mknod -m 666 srv/null c 1 3

printf 'not read by anything\n' >data/unused
