"""A mount that nobody else sees and that cannot be left behind.

The overlay is mounted by a short-lived thread in a mount namespace of its own: unshare(2) works for one
thread, so the rest of the process stays where it is. When the thread ends its namespace ends too, and the
mount lives on through the one descriptor that was opened: no path leads to it, it goes with the descriptor,
and so with the process even on kill -9.

The new mount API (fsopen) would do without the namespace, but before Linux 6.7 it takes at most 256
characters of lower directories, which is about 15 layers.
"""

import ctypes
import os
import threading
from collections.abc import Sequence
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_CLONE_FS = 0x00000200
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REC, _SLAVE = 1, 2, 4, 8, 1 << 14, 1 << 19
_PRIVATE_DIRECTORY = b"size=64k,nr_inodes=8,mode=700"

_libc = ctypes.CDLL(None, use_errno=True)


def overlay(lower_dirs: Sequence[str], seen_from: int | None = None) -> int:
    """A descriptor of the root of a read-only overlay of `lower_dirs`, top first. They are looked up in the
    mount namespace that is open as `seen_from` (a descriptor of /proc/PID/ns/mnt), by default in ours. Raises
    OSError where the kernel refuses, or one is not there."""
    found: list[int] = []
    failed: list[OSError] = []

    def mount() -> None:
        try:
            found.append(_mount(lower_dirs, seen_from))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=mount, name="mount")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


def own_directory() -> None:
    """From now on this thread's working directory is its own: what changes it does not change everyone's
    (unshare(2), CLONE_FS). Does nothing where the kernel refuses."""
    _libc.unshare(_CLONE_FS)


def _mount(lower_dirs: Sequence[str], seen_from: int | None) -> int:
    if seen_from is not None:  # wants file system attributes of its own (setns(2)), and sets its root directory
        _check(_libc.unshare(_CLONE_FS), "unshare")
        _check(_libc.setns(seen_from, _CLONE_NEWNS), "setns")
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    # Slave rather than private: what the host unmounts meanwhile is not held by us.
    _check(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_REC | _SLAVE), None), "/")
    lowers = []
    try:
        for directory in lower_dirs:
            lowers.append(os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        # On top of a directory that is surely there, and still reached by its descriptor.
        place = Path(lower_dirs[0])
        _make(b"tmpfs", place, _NOSUID | _NODEV | _NOEXEC, _PRIVATE_DIRECTORY)
        target, empty = place / "root", place / "empty"
        target.mkdir()
        empty.mkdir()
        # An overlay without an upper directory wants two lower ones; the empty one makes them two.
        lowers.append(os.open(empty, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        # Descriptors instead of paths: 127 layers fit into mount(2)'s one page, and no name needs escaping.
        options = "lowerdir=" + ":".join(f"/proc/self/fd/{lower}" for lower in lowers)
        _make(b"overlay", target, _RDONLY | _NOSUID | _NODEV | _NOEXEC, options.encode())
        return os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        for lower in lowers:
            os.close(lower)


def _make(kind: bytes, target: Path, flags: int, options: bytes) -> None:
    _check(_libc.mount(b"slimtrace", os.fsencode(target), kind, ctypes.c_ulong(flags), options), str(target))


def _check(result: int, subject: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), subject)
