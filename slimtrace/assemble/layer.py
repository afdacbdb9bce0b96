"""The slim image's one layer: a tar of the kept paths, byte-identical for the same files.

PAX format (pax(1), "ustar" headers with extended records where they do not suffice). No access or change
times, no user or group names: these would differ from one run to the next.
"""

import errno
import hashlib
import os
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts import paths
from slimtrace.facts.tree import Entry, FileTree, Kind

_CHUNK = 1 << 20
_RECORD = 20 * 512  # tar's record size; a tar ends on a whole one
_WHITEOUT = ".wh."  # a layer cannot hold such a name: engines read it as "remove this file"
_TYPES = {
    Kind.FILE: tarfile.REGTYPE,
    Kind.DIR: tarfile.DIRTYPE,
    Kind.LINK: tarfile.SYMTYPE,
    Kind.FIFO: tarfile.FIFOTYPE,
    Kind.CHAR: tarfile.CHRTYPE,
    Kind.BLOCK: tarfile.BLKTYPE,
}


class Readable(Protocol):
    """What is needed of a file."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...
    def close(self) -> None: ...


class Source(Protocol):
    """Where the files' content comes from (observe.rootfs.Rootfs)."""

    def open(self, path: str) -> Readable: ...
    def xattrs(self, path: str) -> dict[str, bytes]: ...


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that was written. `diff_id` is the ``sha256:…`` of the tar, `size` its bytes, `entries` how many
    paths it holds, `file_bytes` the bytes of its files, each hardlinked file once. `skipped` are kept paths
    that no layer can hold: sockets, and names that begin with ``.wh.``."""

    diff_id: str
    size: int
    entries: int
    file_bytes: int
    skipped: tuple[str, ...] = ()


def write_layer(source: Source, tree: FileTree, kept: Iterable[str], out: Path) -> Layer:
    """Write the paths of `kept`, and the directories above them, to the new file `out`. Memory does not grow
    with the size of the files.

    Raises SlimtraceError, with the unfinished file removed: NO_SPACE for a full disk, BAD_INPUT for a path
    that is not in the tree or a file that cannot be read.
    """
    names = sorted(_with_parents(tree, kept))  # a directory sorts before what is in it
    buffer = memoryview(bytearray(_CHUNK))
    first: dict[int, str] = {}
    skipped: list[str] = []
    file_bytes = 0
    try:
        with out.open("xb", buffering=0) as target:
            tar = _Digesting(target)
            for path in names:
                entry = tree[path]
                if entry.kind is Kind.SOCKET or _unwritable(path):
                    skipped.append(path)
                    continue
                same = first.setdefault(entry.inode, path) if entry.inode else path
                tar.write(_header(entry, same if same != path else "", source.xattrs(path)))
                if entry.kind is Kind.FILE and same == path:
                    _copy(source, entry, tar, buffer)
                    file_bytes += entry.size
            tar.write(bytes(1024))
            tar.write(bytes(-tar.size % _RECORD))
    except BaseException as error:
        out.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _cannot(error) from error
        raise
    return Layer(
        f"sha256:{tar.sha256.hexdigest()}", tar.size, len(names) - len(skipped), file_bytes, tuple(skipped)
    )


class _Digesting:
    """A file being written, with its digest."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        self.sha256.update(data)
        self.size += len(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self._target.write(rest) :]


def _with_parents(tree: FileTree, kept: Iterable[str]) -> set[str]:
    found: set[str] = {"/"}
    for path in kept:
        if path not in tree:
            raise SlimtraceError(f"cannot keep {paths.printable(path)}: the image has no such path")
        if path not in found:
            found.add(path)
            found.update(paths.parents(path))
    return found


def _unwritable(path: str) -> bool:
    return f"/{_WHITEOUT}" in path


def _header(entry: Entry, same: str, xattrs: Mapping[str, bytes]) -> bytes:
    """The header blocks of one entry; `same` is the earlier name of a hardlinked file.

    A hardlink repeats the xattrs: an engine that unpacks it sets the owner once more, and chown(2) clears
    file capabilities.
    """
    info = tarfile.TarInfo(entry.path.lstrip("/") or ".")
    info.type = tarfile.LNKTYPE if same else _TYPES[entry.kind]
    info.linkname = same.lstrip("/") if same else entry.target
    info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.gid
    info.size = entry.size if info.type == tarfile.REGTYPE else 0
    info.devmajor, info.devminor = entry.major, entry.minor
    info.mtime = entry.mtime_ns // 10**9
    # tarfile keeps to text here; what is not UTF-8 travels as surrogates and comes out as the bytes it was.
    info.pax_headers = {f"SCHILY.xattr.{name}": paths.decode(value) for name, value in sorted(xattrs.items())}
    if entry.mtime_ns % 10**9:
        info.pax_headers["mtime"] = _seconds(entry.mtime_ns)
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _seconds(nanoseconds: int) -> str:
    """Seconds as PAX wants them: decimal, with no zeros at the end."""
    sign = "-" if nanoseconds < 0 else ""
    whole, part = divmod(abs(nanoseconds), 10**9)
    return f"{sign}{whole}.{part:09}".rstrip("0")


def _copy(source: Source, entry: Entry, tar: _Digesting, buffer: memoryview) -> None:
    """The content of a file: exactly as many bytes as its header has promised."""
    left = entry.size
    file = source.open(entry.path)
    try:
        while left:
            count = file.readinto(buffer[: min(left, _CHUNK)])
            if not count:
                raise SlimtraceError(f"cannot read {paths.printable(entry.path)}: it is shorter than it was")
            tar.write(buffer[:count])
            left -= count
    finally:
        file.close()
    tar.write(bytes(-entry.size % 512))


def _cannot(error: OSError) -> SlimtraceError:
    where = paths.printable(os.fsdecode(error.filename)) if error.filename else "the layer"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SlimtraceError(
            "cannot write the slim image: no space left on device",
            "make room, or point SLIMTRACE_STATE at a larger disk",
            Exit.NO_SPACE,
        )
    return SlimtraceError(f"cannot write the slim image: {where}: {error.strerror}")
