"""Engines beside the machine's own: another storage driver, another store, podman.

Each is a context manager that gives a `Beside`, and ends what it has started. All of them see cgroup2 at
/sys/fs/cgroup, as vagrant/start-docker.sh arranges it for the machine's own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vm.kernels import KEYRING, beside, mirror

WAIT = 60.0  # seconds for a daemon to answer or to end
TRIXIE = "docker.io,ca-certificates"  # Docker 26 and containerd 1.7
CGROUP2 = """
umount -R /sys/fs/cgroup 2>/dev/null
mount -t cgroup2 none /sys/fs/cgroup || exit 1
exec "$@"
"""
# pivot_root rather than chroot: runc cannot make a container's root from within a chroot.
TRIXIE_INIT = """
set -e
root=$1 shared=$2 data=$3
shift 3
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 none "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount --bind "$data" "$root/var/lib/docker"
mount --bind "$shared" "$root/mnt"
cd "$root"
mkdir -p old
pivot_root . old
umount -l /old
PATH=/usr/sbin:/sbin:/usr/bin:/bin exec "$@"
"""
# What podman makes outside of the directories that it is given.
PODMANS = ("/dev/shm/libpod_lock", "/run/containers", "/run/crun", "/run/netns", "/var/lib/containers")
NO_NETWORK = ("--bridge=none", "--iptables=false", "--ip6tables=false")
# runc, and no limits: a machine without CAP_SYS_RESOURCE or without the pids controller cannot set crun's and
# podman's own. Each container says by itself that it wants no network.
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
pids_limit = 0
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""


@dataclass(frozen=True)
class Beside:
    """An engine that answers at a socket."""

    socket: Path
    log: Path

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"

    def docker(self, *words: str, given: bytes = b"") -> str:
        """What docker's command line prints when it talks to this engine."""
        done = subprocess.run(
            ["docker", "--host", self.host, *words], input=given, capture_output=True, check=False, timeout=300
        )
        assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr.decode()}"
        return done.stdout.decode().strip()

    def load(self, name: str) -> None:
        """Give it an image of the machine's own engine."""
        with subprocess.Popen(["docker", "save", name], stdout=subprocess.PIPE) as saving:
            subprocess.run(
                ["docker", "--host", self.host, "load"], stdin=saving.stdout, check=True, capture_output=True
            )
        assert saving.returncode == 0

    def answers(self) -> bool:
        command = ["docker", "--host", self.host, "version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def vfs(folder: Path) -> Iterator[Beside]:
    """The machine's dockerd once more, with a storage driver that is no overlay."""
    command = ["dockerd", "--storage-driver=vfs", *NO_NETWORK, f"--host=unix://{folder}/docker.sock"]
    command += [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
    with running(folder, folder / "docker.sock", unconnected(cgroup2(command))) as engine:
        yield engine


@contextlib.contextmanager
def containerd_store(folder: Path) -> Iterator[Beside]:
    """Debian 13's dockerd, with its images in containerd's store, in a root directory of its own."""
    shared, data = folder / "shared", folder / "data"
    shared.mkdir()
    data.mkdir()
    (shared / "daemon.json").write_text('{"features": {"containerd-snapshotter": true}}')
    command = ["dockerd", *NO_NETWORK, "--host=unix:///mnt/docker.sock", "--config-file=/mnt/daemon.json"]
    start = ["sh", "-c", TRIXIE_INIT, "sh", str(trixie()), str(shared), str(data), *command]
    with running(folder, shared / "docker.sock", unconnected(private(start))) as engine:
        yield engine


@contextlib.contextmanager
def podman(folder: Path) -> Iterator[Beside]:
    """podman's service for docker's API."""
    (folder / "containers.conf").write_text(CONTAINERS_CONF.format(folder=folder))
    runroot = folder.parent / "r"  # podman takes 50 characters at most
    command = ["podman", f"--root={folder}/root", f"--runroot={runroot}", f"--tmpdir={folder}/tmp"]
    command += ["--storage-driver=overlay", "system", "service", "--time=0", f"unix://{folder}/podman.sock"]
    command = ["env", f"CONTAINERS_CONF={folder}/containers.conf", *command]
    ours = [path for path in (cgroup_mount() / "libpod_parent", *map(Path, PODMANS)) if not path.exists()]
    try:
        with running(folder, folder / "podman.sock", cgroup2(command)) as engine:
            yield engine
    finally:
        for path in ours:
            remove(path)


@contextlib.contextmanager
def running(folder: Path, socket: Path, command: Sequence[str]) -> Iterator[Beside]:
    """The daemon that `command` becomes, from its first answer to its end, with its containers."""
    engine = Beside(socket, folder / "log")
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    with engine.log.open("wb") as log:
        daemon = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PATH": path},
            start_new_session=True,  # an interrupt at the terminal is for us, who end it properly
        )
    try:
        deadline = time.monotonic() + WAIT
        while not engine.answers():
            assert daemon.poll() is None, engine.log.read_text()[-2000:]
            assert time.monotonic() < deadline, f"no answer: {engine.log.read_text()[-2000:]}"
            time.sleep(0.1)
        yield engine
        if containers := engine.docker("ps", "--all", "--quiet").split():
            engine.docker("rm", "--force", *containers)
    finally:
        daemon.terminate()
        try:
            daemon.wait(WAIT)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def private(command: Sequence[str]) -> list[str]:
    """`command` where its mounts are its own, and go with it."""
    return ["unshare", "--mount", "--propagation", "private", *command]


def unconnected(command: Sequence[str]) -> list[str]:
    """`command` in a network of its own: a dockerd without a bridge removes docker0, whosever it is."""
    return ["unshare", "--net", *command]


def cgroup2(command: Sequence[str]) -> list[str]:
    """`command` where /sys/fs/cgroup is cgroup2."""
    if cgroup_mount() == Path("/sys/fs/cgroup"):
        return list(command)
    return private(["sh", "-c", CGROUP2, "sh", *command])


def cgroup_mount() -> Path:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return Path(next(fields[1] for fields in mounts if fields[2] == "cgroup2"))


def remove(path: Path) -> None:
    """A file, a directory, or a cgroup with those below it; nothing if it is not there."""
    if path.is_dir() and cgroup_mount() not in path.parents:
        shutil.rmtree(path)
    elif path.is_dir():
        for inner in sorted(path.rglob("*/"), reverse=True):
            inner.rmdir()
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def trixie_folder() -> Path:
    return Path(os.environ.get("SLIMTRACE_ENGINES") or "/var/cache/slimtrace-engines") / "trixie"


def trixie() -> Path:
    """The root directory with Debian 13's Docker; made once, some 20 seconds and 370 MB."""
    folder = trixie_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with beside(folder) as ready:
        if ready is not None:
            source = f"deb [signed-by={KEYRING}] {mirror()} trixie main"
            command = [
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                f"--include={TRIXIE}",
                "trixie",
                str(ready),
            ]
            done = subprocess.run([*command, source], capture_output=True, text=True, check=False, timeout=600)
            assert done.returncode == 0, done.stderr[-2000:]
            (ready / "var/lib/docker").mkdir(exist_ok=True)
    return folder


def missing_containerd_store() -> str:
    """The reason why that engine cannot be had, or nothing."""
    if not trixie_folder().exists() and not os.environ.get("SLIMTRACE_ENGINES"):
        return "SLIMTRACE_ENGINES names no folder for it (some 20 s and 370 MB once)"
    return "" if shutil.which("mmdebstrap") else "no mmdebstrap command"
