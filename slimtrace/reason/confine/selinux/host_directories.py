"""What a SELinux policy has to say of the directories that a container was given of the host.

All else that is mounted there has the container's own label, container_file_t: the image, tmpfs, the volumes
that the engine keeps, and binds with ``:z`` or ``:Z`` (docs.docker.com/engine/storage/bind-mounts, "Configure
the SELinux label"). A bind without them keeps the host's labels. Like udica, whose templates they are, this
knows the labels of four directories of the host; for any other one it says what to do.
"""

import re
from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import FileUse, Mount, Use
from slimtrace.reason.keep.evidence import strangers

_BLOCKS = {"/etc": "config", "/home": "home", "/tmp": "tmp", "/var/log": "log"}
# What the engines mount themselves, and label.
_ENGINES = frozenset(("/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run/.containerenv", "/run/secrets"))
_KERNELS = ("/proc", "/sys", "/dev")
# A volume of Docker's or podman's, of Kubernetes: their folders' names on the host.
_LABELLED = re.compile(r"/volumes/[^/]+/_data(/|$)|/kubelet/pods/")
# The subvolume that is the host's root, as Fedora and SUSE call it.
_SUBVOLUME = re.compile(r"^/(root|@/\.snapshots/\d+/snapshot|@)(?=/)")
_DISKS = frozenset(("ext4", "xfs", "btrfs", "ext3", "ext2", "zfs", "f2fs"))
_SHOWN = 200  # characters of a path that are told


def blocks(capture: Capture) -> tuple[str, ...]:
    """The blocks of udica's templates for directories of the host, sorted; with ``_rw_`` where the container
    wrote there."""
    found = {_BLOCKS[host]: False for _, host in _binds(capture) if host in _BLOCKS}
    for mount, host in _binds(capture):
        if host in _BLOCKS and _written(capture, mount.path):
            found[_BLOCKS[host]] = True
    return tuple(
        f"{name}_rw_container" if written else f"{name}_container" for name, written in sorted(found.items())
    )


def notes(capture: Capture) -> Iterator[str]:
    """A line of ASCII for each other directory of the host: what its user has to see to."""
    for mount, host in _binds(capture):
        if host not in _BLOCKS:
            yield f"{_shown(mount.path)} is {_shown(host)} of the host: not allowed but with :z or :Z"


def _binds(capture: Capture) -> Iterator[tuple[Mount, str]]:
    """The mounts that keep the host's labels, with their path on the host as far as mountinfo tells it. A whole
    file system counts where the host usually has one of its own."""
    for mount in capture.trace.mounts:
        if mount.path in _ENGINES or any(paths.below(mount.path, top) for top in _KERNELS):
            continue
        if mount.root in ("", "/"):
            if mount.root and mount.path in _BLOCKS and mount.filesystem in _DISKS:
                yield mount, mount.path
        elif not _LABELLED.search(mount.root):
            yield mount, _SUBVOLUME.sub("", mount.root) if mount.filesystem == "btrfs" else mount.root


def _written(capture: Capture, directory: str) -> bool:
    stranger = strangers(capture.trace, capture.image)
    return any(
        use.use in (Use.WRITE, Use.CHANGE)
        and not use.error
        and paths.below(_place(use), directory)
        and not stranger(use.pid, use.origin)
        for use in capture.trace.uses
    )


def _place(use: FileUse) -> str:
    return use.resolved or paths.join(use.base, use.asked)


def _shown(path: str) -> str:
    """`path` as a part of a line of ASCII: it may hold anything."""
    text = paths.printable(path).encode("ascii", "backslashreplace").decode("ascii")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
