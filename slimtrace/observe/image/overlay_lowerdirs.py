"""The lower directories of an overlay that any process has mounted. With the containerd image store the engine
does not say which directories hold an image's layers, but /proc/PID/mountinfo names those of a container.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slimtrace.observe.kernel.mountinfo import unescaped


@dataclass(frozen=True, slots=True)
class Overlay:
    """The lower directories of a mounted overlay, top first, as paths in the mount namespace of the process
    `pid`. The upper directory is not among them."""

    pid: int
    lower_dirs: tuple[str, ...]


def find_overlay(container: str) -> Overlay | None:
    """The overlay whose mount point has the container's id in its path, in any mount namespace of this machine;
    None where there is none. `container` is the whole id, which nobody can guess beforehand."""
    name = container.encode()
    for pid in _one_process_per_namespace():
        with suppress(OSError):  # the process has ended
            for line in Path(f"/proc/{pid}/mountinfo").read_bytes().splitlines():
                if name in _mount_point(line) and (lower_dirs := parse_lower_dirs(line)):
                    return Overlay(pid, lower_dirs)
    return None


def parse_lower_dirs(line: bytes) -> tuple[str, ...]:
    """The lower directories in a line of mountinfo (proc_pid_mountinfo(5)), top first, as absolute paths; () if
    the line is no overlay's, or its directories cannot be derived from it."""
    _, dash, back = line.partition(b" - ")
    fields = back.split(b" ")
    if not dash or len(fields) < 3 or fields[0] != b"overlay":
        return ()
    upper, lowers = b"", []
    # Documentation/filesystems/overlayfs.rst: "lowerdir=" has all lower directories, "lowerdir+=" the next one.
    for option in fields[2].split(b","):
        key, _, value = option.partition(b"=")
        if key == b"upperdir":
            upper = value
        elif key == b"lowerdir":
            lowers += value.split(b":")
        elif key == b"lowerdir+":
            lowers.append(value)
        elif key == b"datadir+":
            return ()
    if not all(lowers) or any(b"\\" in unescaped(lower) for lower in lowers):  # escaped twice: not supported
        return ()
    # containerd shortens a long list to paths below the directory of all snapshots, of which SNAPSHOT/fs is the
    # upper one (containerd core/mount/mount_linux.go, compactLowerdirOption).
    base = Path(os.fsdecode(unescaped(upper))).parent.parent
    found = [base / os.fsdecode(unescaped(lower)) for lower in lowers]
    return tuple(map(str, found)) if all(path.is_absolute() for path in found) else ()


def _mount_point(line: bytes) -> bytes:
    fields = line.split(b" ", 5)
    return fields[4] if len(fields) > 5 else b""


def _one_process_per_namespace() -> Iterator[int]:
    """The pids of processes, one for each mount namespace."""
    seen: set[int] = set()
    for name in sorted(filter(str.isdecimal, os.listdir("/proc")), key=int):
        with suppress(OSError):
            namespace = Path(f"/proc/{name}/ns/mnt").stat().st_ino
            if namespace not in seen:
                seen.add(namespace)
                yield int(name)
