"""The layers of an image from the overlay directories that hold them: faster than an archive, where they can be
read.

A file's content is only read where another file has the same size, since no other file can be its copy.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path

from slimtrace.facts import paths
from slimtrace.facts.layers import DATABASE_LIMIT, Layer, LayerEntry, is_database
from slimtrace.facts.tree import FileTree, Kind
from slimtrace.observe.image.resolve_beneath import open_beneath
from slimtrace.observe.image.rootfs import Rootfs

DIGEST_BYTES = 16
_CAPABILITY = "security.capability"
# Documentation/filesystems/overlayfs.rst: the xattr of an opaque directory; the xattrs of a directory or file
# whose content is that of another path or layer.
_OPAQUE, _REDIRECTS = "trusted.overlay.opaque", ("trusted.overlay.redirect", "trusted.overlay.metacopy")


class RedirectedContent(Exception):
    """A file or directory of a layer refers to content in another place, so that the directories alone do not
    say what the layers are."""


def layers_of_directories(directories: Sequence[str], progress: Callable[[int], None]) -> tuple[Layer, ...]:
    """The layers in overlay directories, lowest first. `progress` is called with the number of bytes read so
    far. Raises OSError where a file cannot be read, and RedirectedContent."""
    with ExitStack() as stack:
        opened = [stack.enter_context(Rootfs.at(Path(directory))) for directory in directories]
        trees = [files.scan() for files in opened]
        sizes = Counter(entry.size for tree in trees for entry in tree if entry.kind is Kind.FILE)
        read = 0

        def digest(files: Rootfs, path: str, size: int) -> bytes:
            nonlocal read
            if not size or sizes[size] < 2:
                return b""
            state = blake2b(digest_size=DIGEST_BYTES)
            with files.open(path) as file:
                while piece := file.read(1 << 20):
                    state.update(piece)
            read += size
            progress(read)
            return state.digest()

        found = []
        for directory, files, tree in zip(directories, opened, trees, strict=True):
            root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, root)
            found.append(_layer(root, files, tree, digest))
        return tuple(found)


def _layer(root: int, files: Rootfs, tree: FileTree, digest: Callable[[Rootfs, str, int], bytes]) -> Layer:
    """The layer in the directory that is open as `root`. `digest` is called with a file's path and size."""
    entries: dict[str, LayerEntry] = {}
    whiteouts: set[str] = set()
    opaques: set[str] = set()
    databases: dict[str, bytes] = {}
    for entry in tree:
        path, kind = entry.path, entry.kind
        if kind is Kind.CHAR and (entry.major, entry.minor) == (0, 0):
            whiteouts.add(path)
            continue
        xattrs = _xattrs(root, path) if kind in (Kind.FILE, Kind.DIR) else {}
        if xattrs.get(_OPAQUE) == b"y":
            opaques.add(path)
        first = tree.hardlinks(path)[0] if kind is Kind.FILE else path
        same_as = "" if first == path else first
        if path == "/":
            continue
        entries[path] = LayerEntry(
            path,
            kind,
            entry.mode,
            entry.uid,
            entry.gid,
            0 if same_as else entry.size,
            b"" if same_as or kind is not Kind.FILE else digest(files, path, entry.size),
            same_as,
            xattrs.get(_CAPABILITY, b""),
        )
        if kind is Kind.FILE and is_database(path) and entry.size <= DATABASE_LIMIT:
            with files.open(path) as file:
                databases[path] = file.read(DATABASE_LIMIT)
    return Layer(entries, frozenset(whiteouts), frozenset(opaques), databases)


def _xattrs(root: int, path: str) -> dict[str, bytes]:
    """The overlay and capability xattrs of a file or directory of the layer open as `root`. Raises
    RedirectedContent."""
    at = open_beneath(root, paths.encode(path), os.O_PATH | os.O_NOFOLLOW)
    try:
        link = f"/proc/self/fd/{at}"
        names = os.listxattr(link)
        if any(name in names for name in _REDIRECTS):
            raise RedirectedContent(path)
        return {name: os.getxattr(link, name) for name in (_OPAQUE, _CAPABILITY) if name in names}
    finally:
        os.close(at)


__all__ = ["RedirectedContent", "layers_of_directories"]
