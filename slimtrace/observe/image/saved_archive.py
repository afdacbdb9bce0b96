"""An image's files from the archive that the engine saves (``docker save``), for an engine whose storage is no
overlay or cannot be reached.

The archive holds the layers as they were pushed or built, so it is exact whatever the storage does to them, and
it has no files of a container (an export has: /dev, /etc/hosts, /etc/mtab and others). The archive is written
to the work directory once and read there in place.
"""

import errno
import io
import json
import os
import posixpath
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts import paths
from slimtrace.facts.tree import FileTree
from slimtrace.observe.image.streams import MAGIC_BYTES, decompressed, is_compressed
from slimtrace.observe.image.tar_members import Extent, IgnoredPaxGlobals
from slimtrace.observe.image.union import LayerUnion

_CHUNK = 1 << 20
_JSON_LIMIT = 16 << 20  # bytes; docker itself takes 8 MiB (moby distribution, MaxManifestSize is 4)
_HEADER_LIMIT = 1 << 20  # bytes of one PAX header; Go's archive/tar has the same limit
_LINKS = 8  # followed: a layer of a docker archive may be a symlink to the file of another layer
_DAMAGED = (tarfile.TarError, EOFError, ValueError, RecursionError)


class FileSlice(io.RawIOBase):
    """A part of an open file as a file of its own: `size` bytes from `at` on, or for a sparse file those in
    `extents` with zeros between them."""

    def __init__(self, fd: int, at: int, size: int, extents: tuple[Extent, ...] | None = None) -> None:
        self._fd = fd
        self._extents = (Extent(0, size, at),) if extents is None else extents
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        count = min(len(view), self._size - self._position)
        if count <= 0:
            return 0
        for extent in self._extents:
            end = extent.start + extent.length
            if self._position < extent.start:
                count = min(count, extent.start - self._position)
                break
            if self._position < end:
                inside = self._position - extent.start
                count = os.preadv(self._fd, [view[: min(count, end - self._position)]], extent.at + inside)
                self._position += count
                return count
        view[:count] = bytes(count)
        self._position += count
        return count


class _Headers(io.BufferedReader):
    """The file object from which tarfile reads a layer. Since tarfile skips the files' content, any large read
    is due to a forged header."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _HEADER_LIMIT:
            raise tarfile.ReadError("a header is too large")
        return super().read(size)


class SavedImage:
    """The files of an image in a saved archive. `close` when done."""

    def __init__(self, pieces: Iterable[bytes], diff_ids: Sequence[str], work_dir: Path) -> None:
        """`pieces` is the archive, `diff_ids` are the image's layers, `work_dir` the work directory. Raises
        SlimtraceError: BAD_INPUT for an archive that is damaged or has other layers, NO_SPACE."""
        self._fds: list[int] = []
        self._work_dir = work_dir
        try:
            archive = self._spool(pieces)
            members = _members(archive)
            union = LayerUnion()
            self._layers = [
                self._uncompressed(*_find_member(members, name)) for name in _layers(members, diff_ids)
            ]
            for layer in self._layers:
                with _open_tar(*layer) as inner:
                    union.add_layer(inner)
            self._tree, self._contents, self._xattrs = union.tree()
        except BaseException as error:
            self.close()
            if isinstance(error, _DAMAGED):
                text = paths.printable(str(error))[:200]
                raise SlimtraceError(f"cannot read the image's layers: {text}") from error
            if isinstance(error, OSError):
                raise _error_for(error, work_dir) from error
            raise

    def close(self) -> None:
        """Close the archive, which has no name any more: its space is freed."""
        while self._fds:
            os.close(self._fds.pop())

    def tree(self) -> FileTree:
        """Every entry, in the order of Rootfs.scan."""
        return self._tree

    def open(self, path: str) -> io.RawIOBase:
        """A regular file, for reading, unbuffered. No part of `path` may be a symlink. Raises OSError."""
        inside = paths.clean(os.path.normpath(f"/{path}"))
        found = self._contents.get(inside)
        if found is None:
            code = errno.EINVAL if inside in self._tree else errno.ENOENT
            raise OSError(code, os.strerror(code), path)
        fd, start, _ = self._layers[found.layer]
        extents = found.extents and tuple(
            Extent(extent.start, extent.length, start + extent.at) for extent in found.extents
        )
        return FileSlice(fd, start + found.at, found.size, extents)

    def xattrs(self, path: str) -> Mapping[str, bytes]:
        """The extended attributes of `path`, by name."""
        return self._xattrs.get(path, {})

    def _spool(self, pieces: Iterable[bytes]) -> int:
        """Write the bytes to a file without a name, which ends with this process in any case; its
        descriptor."""
        name = self._work_dir / f"saved-{len(self._fds)}.tar"
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._fds.append(fd)
        name.unlink()
        for piece in pieces:
            unwritten = memoryview(piece)
            while unwritten:
                unwritten = unwritten[os.write(fd, unwritten) :]
        return fd

    def _uncompressed(self, fd: int, at: int, size: int) -> tuple[int, int, int]:
        """Where the uncompressed tar of a layer is: (descriptor, offset, bytes). The containerd image store
        saves layers as they were pulled, so they may be compressed."""
        if is_compressed(os.pread(fd, MAGIC_BYTES, at)):
            with FileSlice(fd, at, size) as part:
                fd = self._spool(decompressed(iter(lambda: part.read(_CHUNK) or b"", b"")))
            return fd, 0, os.fstat(fd).st_size
        return fd, at, size


_Members = Mapping[str, tuple[int, int, int] | str]
"""The archive's members by name: (descriptor, offset, bytes), or for a link the name of its target."""


def _open_tar(fd: int, at: int, size: int) -> tarfile.TarFile:
    """The tar of `size` bytes at the offset `at` of a file."""
    headers = _Headers(FileSlice(fd, at, size))
    return tarfile.open(
        fileobj=headers, mode="r:", encoding="utf-8", errors="surrogateescape", pax_headers=IgnoredPaxGlobals()
    )


def _members(archive: int) -> _Members:
    found: dict[str, tuple[int, int, int] | str] = {}
    with _open_tar(archive, 0, os.fstat(archive).st_size) as outer:
        for member in outer:
            name = posixpath.normpath(member.name)
            if member.issym():
                found[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
            elif member.islnk():
                found[name] = posixpath.normpath(member.linkname)
            elif member.isfile():
                found[name] = (archive, member.offset_data, member.size)
    return found


def _find_member(members: _Members, name: str) -> tuple[int, int, int]:
    """Where a member is, its links followed. Raises SlimtraceError for a member that is not in the archive."""
    for _ in range(_LINKS):
        found = members.get(posixpath.normpath(name))
        if found is None:
            break
        if not isinstance(found, str):
            return found
        name = found
    raise SlimtraceError(
        f"cannot read the image's layers: {paths.printable(name[:200])!r} is not in the archive"
    )


def _layers(members: _Members, diff_ids: Sequence[str]) -> list[str]:
    """The names of the members that are the layers `diff_ids`, lowest first. An archive may hold the image for
    several platforms: the image with these layers is taken. Raises SlimtraceError where there is none."""
    images = _json(members, "manifest.json")
    for image in images if isinstance(images, list) else ():
        config = _json(members, str(image.get("Config"))) if isinstance(image, dict) else None
        if not isinstance(config, dict):
            continue
        root = config.get("rootfs")
        layers = image.get("Layers") or []
        if isinstance(root, dict) and (root.get("diff_ids") or []) == list(diff_ids):
            if len(layers) != len(diff_ids):
                break
            return [str(layer) for layer in layers]
    raise SlimtraceError("cannot read the image's layers: the engine saved others than the image has")


def _json(members: _Members, name: str) -> object:
    """The content of a JSON file of the archive. Raises SlimtraceError, and ValueError for broken JSON."""
    fd, at, size = _find_member(members, name)
    if size > _JSON_LIMIT:
        raise SlimtraceError(f"cannot read the image's layers: {paths.printable(name[:200])!r} is too large")
    found: object = json.loads(os.pread(fd, size, at))
    return found


def _error_for(error: OSError, work_dir: Path) -> SlimtraceError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SlimtraceError(
            f"cannot work in {work_dir.parent}: no space left on device",
            "make room, or point SLIMTRACE_STATE at a larger disk",
            Exit.NO_SPACE,
        )
    return SlimtraceError(f"cannot read the image's layers: {error.strerror or error}")
