"""Opening paths of a hostile tree without leaving it: every lookup starts at the descriptor of the tree's root
and follows no symlink, whatever the path."""

import ctypes
import errno
import os

_OPENAT2 = 437  # the same on every architecture (added in Linux 5.6)
_NO_MAGICLINKS, _NO_SYMLINKS, _IN_ROOT = 0x02, 0x04, 0x10

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    """struct open_how, openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(root: int, path: bytes, flags: int) -> int:
    """A descriptor of `path` (absolute or not, resolved below the directory `root`), no component of which is a
    symlink; with O_PATH | O_NOFOLLOW in `flags` the last component may be a symlink, and is opened itself.
    Raises OSError."""
    name = path.lstrip(b"/") or b"."
    how = _OpenHow(flags | os.O_CLOEXEC, 0, _NO_MAGICLINKS | _NO_SYMLINKS | _IN_ROOT)
    found = _libc.syscall(_OPENAT2, root, name, ctypes.byref(how), ctypes.sizeof(how))
    if found >= 0:
        return int(found)
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EPERM):  # an old kernel, or a seccomp filter without openat2
        return _open_by_components(root, name, flags)
    raise OSError(code, os.strerror(code), os.fsdecode(path))


def _open_by_components(root: int, name: bytes, flags: int) -> int:
    """As open_beneath, with one openat(2) for each component. Raises OSError for a path with ``..``."""
    components = [component for component in name.split(b"/") if component not in (b"", b".")] or [b"."]
    if b".." in components:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), os.fsdecode(name))
    here = os.dup(root)
    try:
        for component in components[:-1]:
            below = os.open(component, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
        return os.open(components[-1], flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(here)
