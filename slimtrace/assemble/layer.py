"""The slim image's one layer: a tar of the kept paths, byte-identical for the same files.

The tar has no access or change times and no user or group names: these would differ from one run to the next.

The holes of a sparse file are written as zeros. A tar can leave holes out in two ways: Docker's loader refuses
the one (GNU's type S), and makes of the other (records GNU.sparse.*) an image that it cannot save any more.
Docker would fill the holes on its own disk in either case.
"""

import errno
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from slimtrace.assemble.layer_losses import LayerLosses
from slimtrace.assemble.tar_header import BLOCK, header
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts import paths
from slimtrace.facts.events import Doubt
from slimtrace.facts.tree import Entry, FileTree, Kind

_CHUNK = 1 << 20
_RECORD = 20 * BLOCK  # bytes of a tar record; a tar is a whole number of records


class Readable(Protocol):
    """The methods of a file that this module calls."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...
    def close(self) -> None: ...


class Source(Protocol):
    """Where the files' content comes from (observe.image.rootfs.Rootfs)."""

    def open(self, path: str) -> Readable: ...
    def xattrs(self, path: str) -> dict[str, bytes]: ...


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that was written. `diff_id` is the ``sha256:…`` of the tar, `size` its bytes, `entries` the
    number of its paths, `file_bytes` the bytes of its files, each hardlinked file once. `skipped` are kept
    paths that no layer can hold; `doubts` report these, and the attributes and times of other paths that could
    not be copied."""

    diff_id: str
    size: int
    entries: int
    file_bytes: int
    skipped: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()


def write_layer(source: Source, tree: FileTree, kept: Iterable[str], out: Path) -> Layer:
    """Write the paths of `kept`, and the directories above them, to the new file `out`. Memory does not grow
    with the size of the files.

    Raises SlimtraceError, after it has removed the unfinished file: NO_SPACE for a full disk, BAD_INPUT for a
    path that is not in the tree or a file that cannot be read.
    """
    names = sorted(_with_parents(tree, kept))  # a directory sorts before what is in it
    buffer = memoryview(bytearray(_CHUNK))
    first_names: dict[int, str] = {}  # of hardlinked files, by inode
    skipped: list[str] = []
    losses, acls = LayerLosses(), _InheritedAcls()
    written = 0
    try:
        with out.open("xb", buffering=0) as target:
            tar = _DigestWriter(target)
            for path in names:
                entry = tree[path]
                if not losses.writable(entry):
                    skipped.append(path)
                    continue
                first = first_names.setdefault(entry.inode, path) if entry.inode else path
                xattrs = acls.cleared(entry, losses.carried_xattrs(path, source.xattrs(path)))
                tar.write(header(entry, first if first != path else "", xattrs))
                if entry.kind is Kind.FILE and first == path:
                    _copy(source, entry, tar, buffer)
                    written += entry.size
            tar.write(bytes(2 * BLOCK))
            tar.write(bytes(-tar.size % _RECORD))
    except BaseException as error:
        out.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _cannot(error) from error
        raise
    digest = f"sha256:{tar.sha256.hexdigest()}"
    return Layer(digest, tar.size, len(names) - len(skipped), written, tuple(skipped), losses.doubts())


class _InheritedAcls:
    """A file that is unpacked into a directory with a default ACL inherits that ACL (acl(5), "Object creation
    and default ACLs"). An entry that has no ACL of its own therefore gets attributes that remove the inherited
    one."""

    _ACCESS, _DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
    _NONE = b"\2\0\0\0"  # the version and no entry, which removes an ACL (linux/posix_acl_xattr.h)

    def __init__(self) -> None:
        self._with_default_acl: set[str] = set()

    def cleared(self, entry: Entry, xattrs: dict[str, bytes]) -> dict[str, bytes]:
        """The extended attributes to be written for `entry`, which has `xattrs`."""
        if self._DEFAULT in xattrs:
            self._with_default_acl.add(entry.path)
        if entry.kind is Kind.LINK or paths.parent(entry.path) not in self._with_default_acl:
            return xattrs
        removals = {self._ACCESS: self._NONE} | ({self._DEFAULT: self._NONE} if entry.kind is Kind.DIR else {})
        return removals | xattrs


class _DigestWriter:
    """Writes to a file, and computes the SHA-256 and the size of what was written."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        self.sha256.update(data)
        self.size += len(data)
        unwritten = memoryview(data)
        while unwritten:
            unwritten = unwritten[self._target.write(unwritten) :]


def file_bytes(tree: FileTree, kept: Iterable[str]) -> tuple[int, Entry | None]:
    """The bytes of the files in `kept`, each hardlinked file once, and the largest file."""
    found: dict[int | str, Entry] = {}
    for path in kept:
        entry = tree[path]
        if entry.kind is Kind.FILE:
            found[entry.inode or path] = entry
    largest = max(found.values(), key=lambda entry: (entry.size, entry.path), default=None)
    return sum(entry.size for entry in found.values()), largest


def _with_parents(tree: FileTree, kept: Iterable[str]) -> set[str]:
    """`kept` and all directories above these paths. Raises SlimtraceError for a path that is not in the
    tree."""
    found: set[str] = {"/"}
    for path in kept:
        if path not in tree:
            raise SlimtraceError(f"cannot keep {paths.printable(path)}: the image has no such path")
        if path not in found:
            found.add(path)
            found.update(paths.parents(path))
    return found


def _copy(source: Source, entry: Entry, tar: _DigestWriter, buffer: memoryview) -> None:
    """Copy the content of a file: exactly as many bytes as its header says."""
    remaining = entry.size
    file = source.open(entry.path)
    try:
        while remaining:
            count = file.readinto(buffer[: min(remaining, _CHUNK)])
            if not count:
                raise SlimtraceError(f"cannot read {paths.printable(entry.path)}: it is shorter than it was")
            tar.write(buffer[:count])
            remaining -= count
    finally:
        file.close()
    tar.write(bytes(-entry.size % BLOCK))


def _cannot(error: OSError) -> SlimtraceError:
    where = paths.printable(os.fsdecode(error.filename)) if error.filename else "the layer"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SlimtraceError(
            "cannot write the slim image: no space left on device",
            "make room, or point SLIMTRACE_STATE at a larger disk",
            Exit.NO_SPACE,
        )
    return SlimtraceError(f"cannot write the slim image: {where}: {error.strerror}")
