"""Opening paths of a hostile tree so that nothing leads out of it: every lookup starts at the descriptor of
the tree's root and follows no symlink, whatever the name says."""

import ctypes
import errno
import os

_OPENAT2 = 437  # the same on every architecture (added in Linux 5.6)
_NO_MAGICLINKS, _NO_SYMLINKS, _IN_ROOT = 0x02, 0x04, 0x10

_libc = ctypes.CDLL(None, use_errno=True)


class _How(ctypes.Structure):
    """struct open_how, openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(root: int, path: bytes, flags: int) -> int:
    """A descriptor of `path` (absolute or not, taken from the directory `root`), no part of which is a
    symlink; with O_PATH | O_NOFOLLOW in `flags` the last part may be one, and is opened itself.
    Raises OSError."""
    name = path.lstrip(b"/") or b"."
    how = _How(flags | os.O_CLOEXEC, 0, _NO_MAGICLINKS | _NO_SYMLINKS | _IN_ROOT)
    found = _libc.syscall(_OPENAT2, root, name, ctypes.byref(how), ctypes.sizeof(how))
    if found >= 0:
        return int(found)
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EPERM):  # an old kernel, or a seccomp filter that does not know it
        return _by_parts(root, name, flags)
    raise OSError(code, os.strerror(code), os.fsdecode(path))


def _by_parts(root: int, name: bytes, flags: int) -> int:
    """As open_beneath, one part after the other."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")] or [b"."]
    if b".." in parts:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), os.fsdecode(name))
    here = os.dup(root)
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
        return os.open(parts[-1], flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(here)
