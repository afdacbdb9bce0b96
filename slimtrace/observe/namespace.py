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

from slimtrace.errors import Exit, SlimtraceError

_CLONE_NEWNS = 0x00020000
_CLONE_FS = 0x00000200
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REC, _SLAVE = 1, 2, 4, 8, 1 << 14, 1 << 19

_libc = ctypes.CDLL(None, use_errno=True)


def overlay(lower_dirs: Sequence[str], place: Path) -> int:
    """A descriptor of the root of a read-only overlay of `lower_dirs`, top first, mounted for a moment on
    the empty directory `place`. Raises SlimtraceError where the kernel refuses."""
    found: list[int] = []
    failed: list[OSError] = []

    def mount() -> None:
        try:
            found.append(_mount(lower_dirs, place))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=mount, name="mount")
    thread.start()
    thread.join()
    if failed:
        error = failed[0]
        raise SlimtraceError(
            f"cannot mount the image's layers: {error.strerror}", "run slimtrace as root", Exit.ENGINE
        ) from error
    return found[0]


def own_directory() -> None:
    """From now on this thread's working directory is its own: what changes it does not change everyone's
    (unshare(2), CLONE_FS). Does nothing where the kernel refuses."""
    _libc.unshare(_CLONE_FS)


def _mount(lower_dirs: Sequence[str], place: Path) -> int:
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    # Slave rather than private: what the host unmounts meanwhile is not held by us.
    _check(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_REC | _SLAVE), None), "/")
    lowers = []
    try:
        for directory in lower_dirs:
            lowers.append(os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        # Descriptors instead of paths: 127 layers fit into mount(2)'s one page, and no name needs escaping.
        options = "lowerdir=" + ":".join(f"/proc/self/fd/{lower}" for lower in lowers)
        flags = _RDONLY | _NOSUID | _NODEV | _NOEXEC
        target = os.fsencode(place)
        _check(
            _libc.mount(b"slimtrace", target, b"overlay", ctypes.c_ulong(flags), options.encode()), str(place)
        )
    finally:
        for lower in lowers:
            os.close(lower)
    return os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _check(result: int, subject: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), subject)
