#!/bin/sh
# Makes sure that a Docker daemon answers, and that it uses cgroup2:
#
#   start-docker.sh [--socket PATH --data-root DIR [-- DOCKERD-OPTION...]]
#
# Does nothing when a daemon answers. Else systemd starts one, or, where there is no
# systemd, this script starts dockerd and leaves it running. The options are for a second
# daemon beside the machine's own: one with its socket and its state elsewhere.
set -eu

die() {
    printf '%s\n' "$1" >&2
    exit 1
}

say() {
    printf 'docker: %s\n' "$1"
}

default=/var/run/docker.sock
socket=$default
data_root=

while [ $# -gt 0 ]; do
    case $1 in
    --socket | --data-root)
        [ $# -ge 2 ] || die "cannot start Docker: $1 wants a path after it"
        if [ "$1" = --socket ]; then socket=$2; else data_root=$2; fi
        shift
        ;;
    --)
        shift
        break
        ;;
    *) die "cannot start Docker: unknown argument $1; see the head of $0" ;;
    esac
    shift
done

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
log=/var/log/slimtrace-dockerd.log
pidfile=/var/run/docker.pid
containerd_pidfile=/var/run/docker/containerd/containerd.pid
if [ "$socket" != "$default" ]; then
    [ -n "$data_root" ] || die "cannot start Docker: --socket goes with --data-root, two daemons share nothing"
    log=$data_root.log
    pidfile=$data_root.pid
    containerd_pidfile=$data_root.exec/containerd/containerd.pid
    set -- --data-root "$data_root" --exec-root "$data_root.exec" --pidfile "$pidfile" "$@"
fi
wait_seconds=${SLIMTRACE_DOCKER_WAIT:-60}

# Prints the daemon's cgroup version, and fails if no daemon answers. Python rather
# than the docker command: what the tool talks to is the socket, and the command may
# be absent or pointed elsewhere by DOCKER_HOST.
cgroup_version() {
    /usr/bin/python3 - "$socket" 2>/dev/null <<'END'
import http.client, json, socket, sys

class Local(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(sys.argv[1])

connection = Local("docker")
connection.request("GET", "/info")
answer = connection.getresponse()
if answer.status != 200:
    sys.exit(1)
print(json.load(answer).get("CgroupVersion") or "1")
END
}

# Exits when a daemon answers: with success if it uses cgroup2, else with a message
# that says what to do.
finish_if_it_answers() {
    version=$(cgroup_version) || return 0
    [ "$version" = 2 ] && exit 0
    die "cannot trace containers of this Docker daemon: it uses cgroup version $version.
Stop it and run this again, and it is started with version 2."
}

# Only the lines that this attempt wrote: the log is kept from one start to the next.
fail_with_log() {
    if [ -r "$log" ]; then
        tail -c "+$((log_size + 1))" "$log" | tail -n 15 >&2
    fi
    die "cannot start Docker: $1; its log is $log"
}

# A process id from a file counts only while that process has the name expected: after
# a reboot or a crash another process may have the number, and dockerd would refuse to
# start, or wait for a containerd that is not there.
runs() {
    [ -r "$1" ] && [ "$(cat "/proc/$(cat "$1")/comm" 2>/dev/null)" = "$2" ]
}

log_size=$(wc -c 2>/dev/null <"$log" || echo 0)

finish_if_it_answers
[ "$(id -u)" = 0 ] || die "cannot start Docker: that needs root, use sudo"
command -v dockerd >/dev/null || die "cannot start Docker: it is not installed, run vagrant/provision.sh"

if [ -d /run/systemd/system ] && [ "$socket" = "$default" ]; then
    say "starting it with systemd"
    systemctl start docker || die "cannot start Docker: see systemctl status docker"
    daemon=
elif runs "$pidfile" dockerd; then
    say "waiting for the daemon that is starting"
    daemon=$(cat "$pidfile")
else
    rm -f "$pidfile"
    runs "$containerd_pidfile" containerd || rm -f "$containerd_pidfile"
    # dockerd uses the machine's containerd if its socket exists, alive or not.
    shared=/run/containerd/containerd.sock
    if [ -S "$shared" ] && ! /usr/bin/python3 -c '
import socket, sys
socket.socket(socket.AF_UNIX).connect(sys.argv[1])' "$shared" 2>/dev/null; then
        rm -f "$shared"
    fi

    set -- dockerd --host "unix://$socket" "$@"
    if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
        # With version 1 controllers mounted dockerd would choose version 1. In a
        # mount namespace of its own it sees version 2 alone, the host keeps its own.
        # shellcheck disable=SC2016
        set -- unshare --mount --propagation private sh -c '
            umount -R /sys/fs/cgroup 2>/dev/null
            mount -t cgroup2 none /sys/fs/cgroup || exit 1
            exec "$@"' sh "$@"
    fi
    say "starting it, log in $log"
    mkdir -p "$(dirname "$log")"
    # Detached, so that it outlives the terminal and the job which asked for it.
    setsid "$@" </dev/null >>"$log" 2>&1 &
    daemon=$!
fi

deadline=$(($(date +%s) + wait_seconds))
while [ "$(date +%s)" -lt "$deadline" ]; do
    finish_if_it_answers
    if [ -n "$daemon" ] && [ ! -d "/proc/$daemon" ]; then
        fail_with_log "it ended"
    fi
    sleep 0.2
done
fail_with_log "no answer after $wait_seconds seconds"
