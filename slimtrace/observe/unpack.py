"""Unpacking an engine's export of a container's files, as data that is not to be trusted."""

import errno
import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts import paths
from slimtrace.observe.beneath import open_beneath

_XATTR = "SCHILY.xattr."
_CHUNK = 1 << 20


class _Stream(io.RawIOBase):
    """The pieces of a download as a file that is read forwards."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # any writable buffer
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def unpack(pieces: Iterable[bytes], root: int) -> None:
    """Unpack the tar stream `pieces` into the empty directory open as `root`, with owners, modes, times,
    xattrs, hardlinks and devices. Nothing is written outside: parents are opened beneath `root` without
    following symlinks. Raises SlimtraceError: BAD_INPUT for a stream that is no tar or tries to climb
    out, NO_SPACE for a full disk."""
    directories: list[tuple[bytes, tarfile.TarInfo]] = []
    try:
        stream = io.BufferedReader(_Stream(pieces), _CHUNK)
        with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # or it remembers every one
                name = _name(member.name)
                if name == b".dockerenv":  # made by the engine for every container, no part of the image
                    continue
                if member.isdir():
                    directories.append((name, member))
                _unpack_one(archive, member, name, root)
        for name, member in reversed(directories):  # last, since each new entry touches its directory
            with _opened(root, name) as here:
                os.utime(here, ns=_times(member))
    except tarfile.TarError as error:
        raise SlimtraceError(f"cannot unpack the image: {error}") from error
    except OSError as error:
        code = Exit.NO_SPACE if error.errno in (errno.ENOSPC, errno.EDQUOT) else Exit.BAD_INPUT
        name_of = paths.printable(str(error.filename or ""))
        raise SlimtraceError(f"cannot unpack the image: {error.strerror} {name_of}", exit_code=code) from error


def _name(name: str) -> bytes:
    parts = [part for part in paths.encode(name).split(b"/") if part not in (b"", b".")]
    if b".." in parts or b"\0" in name.encode("utf-8", "surrogateescape"):
        raise SlimtraceError(f"cannot unpack the image: the path {paths.printable(name)!r} leads out of it")
    return b"/".join(parts)


@contextmanager
def _opened(root: int, name: bytes) -> Iterator[int]:
    """The directory `name` below `root`."""
    found = open_beneath(root, name, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield found
    finally:
        os.close(found)


def _unpack_one(archive: tarfile.TarFile, member: tarfile.TarInfo, name: bytes, root: int) -> None:
    parent, _, base = name.rpartition(b"/")
    if not base:
        _describe(root, b".", member)
        return
    with _opened(root, parent) as here:
        if member.isdir():
            try:
                os.mkdir(base, 0o700, dir_fd=here)
            except FileExistsError:
                if not stat.S_ISDIR(os.stat(base, dir_fd=here, follow_symlinks=False).st_mode):
                    raise
        elif member.islnk():
            target = _name(member.linkname)
            with _opened(root, target.rpartition(b"/")[0]) as there:
                os.link(
                    target.rpartition(b"/")[2], base, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False
                )
            return
        elif member.issym():
            os.symlink(paths.encode(member.linkname), base, dir_fd=here)
        elif member.isfifo() or member.ischr() or member.isblk():
            kind = stat.S_IFIFO if member.isfifo() else stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            os.mknod(base, kind | 0o600, os.makedev(member.devmajor, member.devminor), dir_fd=here)
        elif member.isfile():
            _write(archive, member, base, here)
        else:
            return
        _describe(here, base, member)


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, base: bytes, here: int) -> None:
    source = archive.extractfile(member)
    assert source is not None  # it is a regular file
    made = os.open(
        base, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=here
    )
    with source, os.fdopen(made, "wb", buffering=0) as target:
        while piece := source.read(_CHUNK):
            rest = memoryview(piece)
            while rest:
                rest = rest[target.write(rest) or 0 :]


def _describe(here: int, base: bytes, member: tarfile.TarInfo) -> None:
    """Owner first, since a change of it clears setuid bits and file capabilities; times last."""
    os.chown(base, member.uid, member.gid, dir_fd=here, follow_symlinks=False)
    at = open_beneath(here, base, os.O_PATH | os.O_NOFOLLOW)
    try:
        link = f"/proc/self/fd/{at}"
        if not member.issym():
            Path(link).chmod(member.mode & 0o7777)
        for key, value in member.pax_headers.items():
            if key.startswith(_XATTR):
                os.setxattr(link, paths.encode(key.removeprefix(_XATTR)), paths.encode(value))
    finally:
        os.close(at)
    os.utime(base, ns=_times(member), dir_fd=here, follow_symlinks=False)


def _times(member: tarfile.TarInfo) -> tuple[int, int]:
    """Access and modification time in nanoseconds, not by way of tarfile's float, which is 100 ns off."""
    text = member.pax_headers.get("mtime")
    if text is None:
        when = int(member.mtime) * 10**9
    else:
        whole, _, rest = text.partition(".")
        part = int(rest[:9].ljust(9, "0") or "0") if rest.isdigit() else 0
        when = int(whole or "0") * 10**9 + (-part if whole.startswith("-") else part)
    return when, when
