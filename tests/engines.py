"""Container engines besides the machine's own dockerd: dockerd with the vfs driver, dockerd with the containerd
image store, podman.

Each is a context manager that gives an `OtherEngine` and ends the daemon that it has started. All of them see
cgroup2 at /sys/fs/cgroup, as vagrant/start-docker.sh arranges it for the machine's own.
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

from vm.kernels import KEYRING, create_once, mirror

DAEMON_SECONDS = 60.0  # seconds for a daemon to answer or to end
TRIXIE_PACKAGES = "docker.io,ca-certificates"  # Docker 26 and containerd 1.7
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
# Paths that podman creates outside of the directories that its options name.
PODMAN_PATHS = ("/dev/shm/libpod_lock", "/run/containers", "/run/crun", "/run/netns", "/var/lib/containers")
NO_NETWORK = ("--bridge=none", "--iptables=false", "--ip6tables=false")
# runc, and no limits: a machine without CAP_SYS_RESOURCE or without the pids controller cannot set the default
# limits of crun and podman. The tests' containers ask for no network on their own command lines.
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
class OtherEngine:
    """A container engine: the socket of its API, and the log of its daemon."""

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

    def copy_image(self, name: str) -> None:
        """Copy an image from the machine's own engine into this one."""
        with subprocess.Popen(["docker", "save", name], stdout=subprocess.PIPE) as saving:
            subprocess.run(
                ["docker", "--host", self.host, "load"], stdin=saving.stdout, check=True, capture_output=True
            )
        assert saving.returncode == 0

    def answers(self) -> bool:
        command = ["docker", "--host", self.host, "version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def vfs(folder: Path) -> Iterator[OtherEngine]:
    """A second process of the machine's dockerd, with the vfs storage driver (no overlay)."""
    command = ["dockerd", "--storage-driver=vfs", *NO_NETWORK, f"--host=unix://{folder}/docker.sock"]
    command += [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
    with daemon(folder, folder / "docker.sock", in_network_namespace(with_cgroup2(command))) as engine:
        yield engine


@contextlib.contextmanager
def containerd_store(folder: Path) -> Iterator[OtherEngine]:
    """Debian 13's dockerd, which keeps its images in containerd's store, in a root directory of its own."""
    shared, data = folder / "shared", folder / "data"
    shared.mkdir()
    data.mkdir()
    (shared / "daemon.json").write_text('{"features": {"containerd-snapshotter": true}}')
    command = ["dockerd", *NO_NETWORK, "--host=unix:///mnt/docker.sock", "--config-file=/mnt/daemon.json"]
    start = ["sh", "-c", TRIXIE_INIT, "sh", str(trixie()), str(shared), str(data), *command]
    with daemon(folder, shared / "docker.sock", in_network_namespace(in_mount_namespace(start))) as engine:
        yield engine


@contextlib.contextmanager
def podman(folder: Path) -> Iterator[OtherEngine]:
    """podman's service for Docker's API."""
    (folder / "containers.conf").write_text(CONTAINERS_CONF.format(folder=folder))
    runroot = folder.parent / "r"  # podman refuses a --runroot longer than 50 characters
    command = ["podman", f"--root={folder}/root", f"--runroot={runroot}", f"--tmpdir={folder}/tmp"]
    command += ["--storage-driver=overlay", "system", "service", "--time=0", f"unix://{folder}/podman.sock"]
    command = ["env", f"CONTAINERS_CONF={folder}/containers.conf", *command]
    absent_before = [
        path for path in (cgroup_mount() / "libpod_parent", *map(Path, PODMAN_PATHS)) if not path.exists()
    ]
    try:
        with daemon(folder, folder / "podman.sock", with_cgroup2(command)) as engine:
            yield engine
    finally:
        for path in absent_before:
            remove(path)


@contextlib.contextmanager
def daemon(folder: Path, socket: Path, command: Sequence[str]) -> Iterator[OtherEngine]:
    """The daemon that `command` starts. The block runs once the daemon answers; afterwards its containers are
    removed and it is ended."""
    engine = OtherEngine(socket, folder / "log")
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    with engine.log.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PATH": path},
            start_new_session=True,  # Ctrl-C at the terminal reaches only this process, which ends the daemon
        )
    try:
        deadline = time.monotonic() + DAEMON_SECONDS
        while not engine.answers():
            assert process.poll() is None, engine.log.read_text()[-2000:]
            assert time.monotonic() < deadline, f"no answer: {engine.log.read_text()[-2000:]}"
            time.sleep(0.1)
        yield engine
        if containers := engine.docker("ps", "--all", "--quiet").split():
            engine.docker("rm", "--force", *containers)
    finally:
        process.terminate()
        try:
            process.wait(DAEMON_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def in_mount_namespace(command: Sequence[str]) -> list[str]:
    """`command` in a mount namespace of its own: its mounts end with it."""
    return ["unshare", "--mount", "--propagation", "private", *command]


def in_network_namespace(command: Sequence[str]) -> list[str]:
    """`command` in a network namespace of its own: dockerd with --bridge=none removes the interface docker0,
    also one that belongs to another daemon."""
    return ["unshare", "--net", *command]


def with_cgroup2(command: Sequence[str]) -> list[str]:
    """`command` in a mount namespace whose /sys/fs/cgroup is cgroup2."""
    if cgroup_mount() == Path("/sys/fs/cgroup"):
        return list(command)
    return in_mount_namespace(["sh", "-c", CGROUP2, "sh", *command])


def cgroup_mount() -> Path:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return Path(next(fields[1] for fields in mounts if fields[2] == "cgroup2"))


def remove(path: Path) -> None:
    """Remove a file, a directory, or a cgroup with its child cgroups; a missing path is no error."""
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
    with create_once(folder) as staging:
        if staging is not None:
            source = f"deb [signed-by={KEYRING}] {mirror()} trixie main"
            command = [
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                f"--include={TRIXIE_PACKAGES}",
                "trixie",
                str(staging),
            ]
            done = subprocess.run([*command, source], capture_output=True, text=True, check=False, timeout=600)
            assert done.returncode == 0, done.stderr[-2000:]
            (staging / "var/lib/docker").mkdir(exist_ok=True)
    return folder


def missing_containerd_store() -> str:
    """The reason why the engine `containerd_store` cannot be started here; empty if it can."""
    if not trixie_folder().exists() and not os.environ.get("SLIMTRACE_ENGINES"):
        return "SLIMTRACE_ENGINES names no folder for it (some 20 s and 370 MB once)"
    return "" if shutil.which("mmdebstrap") else "no mmdebstrap command"
