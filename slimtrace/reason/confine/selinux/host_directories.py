"""The rules of a SELinux policy for the directories of the host that are mounted in a container.

All else that is mounted has the container's own label, container_file_t: the image, tmpfs, the volumes
that the engine keeps, and binds with ``:z`` or ``:Z`` (docs.docker.com/engine/storage/bind-mounts, "Configure
the SELinux label"). A bind without them keeps the host's labels. Like udica, whose templates
are used, this module knows the labels of four directories of the host; for any other it notes what to do.
"""

import re
from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import FileUse, Mount, Use
from slimtrace.reason.keep.evidence import exec_session_test

_UDICA_BLOCKS = {"/etc": "config", "/home": "home", "/tmp": "tmp", "/var/log": "log"}
# Mounts that the engines make, and label, themselves.
_ENGINE_MOUNTS = frozenset(
    ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run/.containerenv", "/run/secrets")
)
_KERNEL_MOUNTS = ("/proc", "/sys", "/dev")
# The directories on the host of volumes of Docker and podman, and of Kubernetes.
_LABELLED_SOURCE = re.compile(r"/volumes/[^/]+/_data(/|$)|/kubelet/pods/")
# The subvolume that is the host's root, as Fedora and SUSE call it.
_SUBVOLUME = re.compile(r"^/(root|@/\.snapshots/\d+/snapshot|@)(?=/)")
_DISK_FILE_SYSTEMS = frozenset(("ext4", "xfs", "btrfs", "ext3", "ext2", "zfs", "f2fs"))
_MAX_SHOWN = 200  # characters of a path in a note


def blocks(capture: Capture) -> tuple[str, ...]:
    """The blocks of udica's templates for directories of the host, sorted; with ``_rw_`` where the container
    wrote there."""
    found = {_UDICA_BLOCKS[host]: False for _, host in _binds(capture) if host in _UDICA_BLOCKS}
    for mount, host in _binds(capture):
        if host in _UDICA_BLOCKS and _written(capture, mount.path):
            found[_UDICA_BLOCKS[host]] = True
    return tuple(
        f"{name}_rw_container" if written else f"{name}_container" for name, written in sorted(found.items())
    )


def notes(capture: Capture) -> Iterator[str]:
    """A line of ASCII for each other directory of the host: what the user has to do about it."""
    for mount, host in _binds(capture):
        if host not in _UDICA_BLOCKS:
            yield f"{_ascii(mount.path)} is {_ascii(host)} of the host: not allowed but with :z or :Z"


def _binds(capture: Capture) -> Iterator[tuple[Mount, str]]:
    """The mounts that keep the host's labels, with their path on the host as far as mountinfo shows it. A mount
    of a whole file system counts where the host usually has a file system of its own."""
    for mount in capture.trace.mounts:
        if mount.path in _ENGINE_MOUNTS or any(paths.below(mount.path, top) for top in _KERNEL_MOUNTS):
            continue
        if mount.root in ("", "/"):
            if mount.root and mount.path in _UDICA_BLOCKS and mount.filesystem in _DISK_FILE_SYSTEMS:
                yield mount, mount.path
        elif not _LABELLED_SOURCE.search(mount.root):
            yield mount, _SUBVOLUME.sub("", mount.root) if mount.filesystem == "btrfs" else mount.root


def _written(capture: Capture, directory: str) -> bool:
    in_exec_session = exec_session_test(capture.trace, capture.image)
    return any(
        use.use in (Use.WRITE, Use.CHANGE)
        and not use.error
        and paths.below(_path_of(use), directory)
        and not in_exec_session(use.pid, use.origin)
        for use in capture.trace.uses
    )


def _path_of(use: FileUse) -> str:
    return use.resolved or paths.join(use.base, use.asked)


def _ascii(path: str) -> str:
    """`path`, which may hold anything, as printable ASCII of limited length."""
    text = paths.printable(path).encode("ascii", "backslashreplace").decode("ascii")
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
