#!/bin/sh
# Prepares a Debian (12 or later) or Ubuntu (24.04 or later) machine for slimtrace:
#
#   provision.sh [--test] [--venv DIR]
#
#   --test      also the packages that only the test suite and the linters need
#   --venv DIR  where the Python environment goes (default: .venv in the checkout)
#
# `make`, the continuous integration and Vagrant all use this one script. It installs
# only what is missing, so that calling it again takes a moment and no network.
set -eu

die() {
    printf '%s\n' "$1" >&2
    exit 1
}

say() {
    printf 'provision: %s\n' "$1"
}

here=$(cd -- "$(dirname -- "$0")" && pwd)
checkout=$(dirname -- "$here")
venv=$checkout/.venv
mode=run

while [ $# -gt 0 ]; do
    case $1 in
    --test) mode='test' ;;
    --venv)
        [ $# -ge 2 ] || die "cannot provision: --venv wants a folder after it"
        venv=$2
        shift
        ;;
    *) die "cannot provision: unknown argument $1; usage: provision.sh [--test] [--venv DIR]" ;;
    esac
    shift
done

[ "$(id -u)" = 0 ] || die "cannot provision: installing packages needs root, use sudo"
command -v apt-get >/dev/null || die "cannot provision: no apt-get here; this script knows Debian and Ubuntu only"

# sudo and su leave these out of the path on some machines, and dockerd is there.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# ------------------------------------------------------------------ packages

# bcc comes from the distribution, since its Python half has to fit its library. The
# C compiler is for the tests' workloads; mmdebstrap makes the sample images.
wanted="python3-bpfcc python3-venv libseccomp2 iproute2 iptables procps
    gcc libc6-dev mmdebstrap debian-archive-keyring ca-certificates"
if [ "$mode" = test ]; then
    wanted="$wanted apparmor strace tmux crun"
    # tests/vm boots other kernels; the last four unpack them and make the guest's disk.
    wanted="$wanted qemu-system-x86 busybox-static kmod zstd xz-utils e2fsprogs"
    # tests/reason compiles SELinux policies, and queries the compiled rules.
    wanted="$wanted secilc setools policycoreutils"
    # tests/e2e builds with podman's service too; without netavark podman would install another network stack.
    wanted="$wanted podman netavark runc"
fi
# The distribution's Docker must not replace one that is installed already.
if ! command -v dockerd >/dev/null; then
    wanted="$wanted docker.io"
fi

missing=
for package in $wanted; do
    installed "$package" || missing="$missing $package"
done

# Not every release has these packages; the first is part of docker.io on the older ones.
maybe=
command -v docker >/dev/null || maybe="$maybe docker-cli"
if [ "$mode" = test ] && ! command -v vagrant >/dev/null; then
    maybe="$maybe vagrant"
fi
# virtiofsd is in qemu-system-common up to Debian 12 and Ubuntu 22.10, in a package of its own since.
if [ "$mode" = test ] && [ ! -x /usr/lib/qemu/virtiofsd ] && [ ! -x /usr/libexec/virtiofsd ]; then
    maybe="$maybe virtiofsd"
fi

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" \
        >"$log" 2>&1 </dev/null || {
        tail -n 20 "$log" >&2
        die "cannot install$(printf ' %s' "$@"): see apt's words above"
    }
}

# The packages' own scripts would start a Docker daemon with the host's cgroups as
# they are, and where there is no systemd start-docker.sh does that better.
hold_services() {
    if [ ! -d /run/systemd/system ] && [ ! -e /usr/sbin/policy-rc.d ]; then
        held=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$held"
        chmod 755 "$held"
    fi
}

held=
log=$(mktemp)
trap 'rm -f "$log" ${held:+"$held"}' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Once looked for and not found, an optional package is not looked for again until
# the list of packages changes: asking apt takes longer than all the rest.
none=/var/lib/apt/slimtrace-not-available
lists=/var/lib/apt/lists
if [ -n "$maybe" ] && [ -z "$missing" ] && [ -r "$none" ] && [ "$(cat "$none")" = "$maybe" ] &&
    [ -n "$(find "$none" -newer "$lists")" ]; then
    maybe=
fi

if [ -n "$missing$maybe" ]; then
    say "installing$missing$maybe"
    hold_services
    apt-get update -qq >"$log" 2>&1 </dev/null || {
        tail -n 20 "$log" >&2
        die "cannot update the package lists: is there a network?"
    }
    # Word splitting is meant here and below: these are lists of package names.
    # shellcheck disable=SC2086
    [ -z "$missing" ] || apt_install $missing
    absent=
    for package in $maybe; do
        # Another package may have brought the command in the meantime.
        if [ "$package" = docker-cli ] && command -v docker >/dev/null; then
            continue
        fi
        if [ "$package" = virtiofsd ] && [ -x /usr/lib/qemu/virtiofsd ]; then
            continue
        fi
        if apt-cache show "$package" >/dev/null 2>&1; then
            apt_install "$package"
        else
            say "this release has no package $package, going on without it"
            absent="$absent $package"
        fi
    done
    [ -z "$absent" ] || printf '%s' "$absent" >"$none"
fi

# -------------------------------------------------------- Python environment

# /usr/bin/python3 by name: the system's bcc module belongs to that interpreter, and
# another one may come first in the path.
python=/usr/bin/python3
[ -r "$checkout/pyproject.toml" ] || die "cannot install slimtrace: $checkout/pyproject.toml is missing"

# The tests' environment serves to run the tool as well, so `make demo` after `make
# test` has nothing to do.
stamp=$venv/slimtrace-installed
state="$checkout $(sha256sum <"$checkout/pyproject.toml") $(readlink -f "$python")"
if [ -x "$venv/bin/slimtrace" ] && [ -r "$stamp" ]; then
    done_state=$(cat "$stamp")
    if [ "$done_state" = "$state test" ] || [ "$done_state" = "$state $mode" ]; then
        exit 0
    fi
fi

say "installing slimtrace into $venv"
rm -f "$stamp"
"$python" -m venv --system-site-packages "$venv" >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    die "cannot create $venv: see above"
}
what=$checkout
[ "$mode" = run ] || what="${checkout}[dev]"
"$venv/bin/pip" install --quiet --disable-pip-version-check --editable "$what" >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    die "cannot install slimtrace with pip: see above; is the package index reachable?"
}
printf '%s' "$state $mode" >"$stamp"
