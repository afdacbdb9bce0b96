"""The directories of an overlay that some process has mounted: with the containerd image store the engine does
not tell where an image's layers lie, but the kernel tells what a container's file system is made of.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slimtrace.observe.kernel.mountinfo import unescaped


@dataclass(frozen=True, slots=True)
class Overlay:
    """The lower directories of a mounted overlay, top first, as the mount namespace of the process `pid` has
    them. Its upper directory is not among them."""

    pid: int
    dirs: tuple[str, ...]


def mounted_for(container: str) -> Overlay | None:
    """The overlay that is mounted at a place named after the container, in any mount namespace of this
    machine. The name is the container's whole id, which nobody can guess beforehand."""
    name = container.encode()
    for pid in _one_of_each_namespace():
        with suppress(OSError):  # it has ended
            for line in Path(f"/proc/{pid}/mountinfo").read_bytes().splitlines():
                if name in _place(line) and (dirs := lower_dirs(line)):
                    return Overlay(pid, dirs)
    return None


def lower_dirs(line: bytes) -> tuple[str, ...]:
    """The lower directories of a line of mountinfo (proc_pid_mountinfo(5)), top first, as absolute paths;
    nothing if it is no overlay, or one that they cannot be told of."""
    _, dash, back = line.partition(b" - ")
    fields = back.split(b" ")
    if not dash or len(fields) < 3 or fields[0] != b"overlay":
        return ()
    upper, lowers = b"", []
    # Documentation/filesystems/overlayfs.rst: "lowerdir=" has all of them, "lowerdir+=" the next one.
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
    if not all(lowers) or any(b"\\" in unescaped(lower) for lower in lowers):  # escaped once more: not worth it
        return ()
    # containerd shortens a long list to paths below the directory of all snapshots, of which SNAPSHOT/fs is the
    # upper one (containerd core/mount/mount_linux.go, compactLowerdirOption).
    base = Path(os.fsdecode(unescaped(upper))).parent.parent
    found = [base / os.fsdecode(unescaped(lower)) for lower in lowers]
    return tuple(map(str, found)) if all(path.is_absolute() for path in found) else ()


def _place(line: bytes) -> bytes:
    fields = line.split(b" ", 5)
    return fields[4] if len(fields) > 5 else b""


def _one_of_each_namespace() -> Iterator[int]:
    seen: set[int] = set()
    for name in sorted(filter(str.isdecimal, os.listdir("/proc")), key=int):
        with suppress(OSError):
            namespace = Path(f"/proc/{name}/ns/mnt").stat().st_ino
            if namespace not in seen:
                seen.add(namespace)
                yield int(name)
