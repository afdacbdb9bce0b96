"""An overlay mount that no other process sees and that cannot be left behind.

The overlay is mounted by a short-lived thread in a mount namespace of its own: unshare(2) works for one
thread, so the rest of the process stays in its namespace. When the thread ends, its namespace ends too, and the
mount lives on through the one descriptor that was opened: no path leads to the mount, and it ends with the
descriptor, so with the process even on kill -9.

The new mount API (fsopen) needs no namespace, but before Linux 6.7 it takes at most 256 characters of lower
directories, which is about 15 layers.
"""

import ctypes
import os
import threading
from collections.abc import Sequence
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_CLONE_FS = 0x00000200
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REC, _SLAVE = 1, 2, 4, 8, 1 << 14, 1 << 19
_TMPFS_OPTIONS = b"size=64k,nr_inodes=8,mode=700"

_libc = ctypes.CDLL(None, use_errno=True)


def mount_overlay(lower_dirs: Sequence[str], mount_ns: int | None = None) -> int:
    """A descriptor of the root of a read-only overlay of `lower_dirs`, top first. These paths are looked up in
    the mount namespace that is open as `mount_ns` (a descriptor of /proc/PID/ns/mnt), by default in that of
    this process. Raises OSError where the kernel refuses the mount, or a directory does not exist."""
    found: list[int] = []
    failed: list[OSError] = []

    def mount() -> None:
        try:
            found.append(_mount_here(lower_dirs, mount_ns))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=mount, name="mount")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


def unshare_working_directory() -> None:
    """Give this thread a working directory of its own, so that chdir(2) in it does not change that of the other
    threads (unshare(2), CLONE_FS). Does nothing where the kernel refuses."""
    _libc.unshare(_CLONE_FS)


def _mount_here(lower_dirs: Sequence[str], mount_ns: int | None) -> int:
    if mount_ns is not None:  # setns(2) wants unshared file system attributes, and sets the root directory
        _check(_libc.unshare(_CLONE_FS), "unshare")
        _check(_libc.setns(mount_ns, _CLONE_NEWNS), "setns")
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    # Slave rather than private: this namespace does not hold what the host unmounts meanwhile.
    _check(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_REC | _SLAVE), None), "/")
    lowers = []
    try:
        for directory in lower_dirs:
            lowers.append(os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        # On top of a directory that surely exists; its own content is still reached by its descriptor.
        mount_point = Path(lower_dirs[0])
        _mount_filesystem(b"tmpfs", mount_point, _NOSUID | _NODEV | _NOEXEC, _TMPFS_OPTIONS)
        target, empty = mount_point / "root", mount_point / "empty"
        target.mkdir()
        empty.mkdir()
        # An overlay without an upper directory needs two lower directories: the empty one is the second.
        lowers.append(os.open(empty, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        # Descriptors instead of paths: 127 layers fit into mount(2)'s one page, and no name needs escaping.
        options = "lowerdir=" + ":".join(f"/proc/self/fd/{lower}" for lower in lowers)
        _mount_filesystem(b"overlay", target, _RDONLY | _NOSUID | _NODEV | _NOEXEC, options.encode())
        return os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        for lower in lowers:
            os.close(lower)


def _mount_filesystem(filesystem: bytes, target: Path, flags: int, options: bytes) -> None:
    _check(
        _libc.mount(b"slimtrace", os.fsencode(target), filesystem, ctypes.c_ulong(flags), options), str(target)
    )


def _check(result: int, subject: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), subject)
