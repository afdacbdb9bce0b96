"""Layers laid over each other in memory: what an engine does on disk when it unpacks an image, here as a table
of where each file's bytes lie. Nothing is written, so there is nowhere that a hostile path could lead to.

The rules are those of the OCI image-spec (layer.md): a later entry replaces an earlier one, except that a
directory over a directory keeps what is in it; ``.wh.NAME`` removes NAME of the layers below, ``.wh..wh..opq``
all that they have in its directory. Where the spec is silent, what docker and containerd do: a hardlink's
header changes the file that it names; the directories above an entry are made if no layer has them.
"""

import operator
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from slimtrace.errors import SlimtraceError
from slimtrace.facts import paths
from slimtrace.facts.tree import MAX_LINKS, Entry, FileTree, Kind

_XATTR = "SCHILY.xattr."
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_META = ".wh..wh."  # what aufs kept for itself: in no file system but its own
_PATH_MAX = 4096  # bytes, linux/limits.h: nobody can have a longer one on disk
_CHOWN_CLEARS = "security.capability"  # chown(2)


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes of a file: its `length` bytes from `start` on lie at `at` in a layer."""

    start: int
    length: int
    at: int


@dataclass(frozen=True, slots=True)
class Content:
    """Where a file's `size` bytes are: in the layer numbered `layer`, from `at` on, or for a sparse file in
    `extents`, with holes between them."""

    layer: int
    at: int
    size: int
    extents: tuple[Extent, ...] | None = None


@dataclass(slots=True, eq=False)
class _Node:
    """A file, link, device or directory, which may have several names. `fresh` are the names in a directory
    that the layer numbered `touched` has brought."""

    kind: Kind
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    target: str = ""
    major: int = 0
    minor: int = 0
    content: Content | None = None
    xattrs: dict[str, bytes] | None = None
    linked: bool = False
    children: "dict[str, _Node] | None" = None
    touched: int = -1
    fresh: set[str] = field(default_factory=set)


class Stack:
    """An image's layers, the lowest first."""

    def __init__(self) -> None:
        self._root = _directory()
        self._layer = -1

    def lay(self, archive: tarfile.TarFile) -> None:
        """Put the next layer on top; open it with `NoGlobals`. Raises SlimtraceError for one that no engine
        could have unpacked, and what tarfile raises."""
        self._layer += 1
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # or it remembers them all
            self._add(member)
        # tarfile takes a damaged header for the end.
        assert archive.fileobj is not None
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(512).strip(b"\0"):
            raise _broken("a layer has a damaged header")

    def _add(self, member: tarfile.TarInfo) -> None:
        parts = _parts(member.name)
        if not parts:
            if member.isdir():
                _describe(self._root, member)
            return
        *above, name = parts
        if any(part.startswith(_WHITEOUT) for part in above):
            return
        if name.startswith(_WHITEOUT):
            self._remove(above, name)
            return
        if member.islnk():
            self._link(above, name, member)
        elif (node := _node(member, self._layer)) is not None:
            self._put(above, name, node, member)

    def _put(self, above: list[str], name: str, node: _Node, member: tarfile.TarInfo) -> None:
        here = self._enter(above)
        there = _children(here).get(name)
        if there is not None and there.kind is Kind.DIR is node.kind:
            node = there
        _describe(node, member)
        self._name(here, name, node)

    def _link(self, above: list[str], name: str, member: tarfile.TarInfo) -> None:
        """link(2), then the owner, xattrs, mode and times of the header, as an engine sets them."""
        target = _parts(member.linkname)
        found = self._find(target)
        if found is None or found.kind is Kind.DIR:
            raise _broken(f"{_shown(member.name)} is a hardlink to {_shown(member.linkname)}, which is no file")
        kept = {key: value for key, value in (found.xattrs or {}).items() if key != _CHOWN_CLEARS}
        _describe(found, member)
        found.xattrs = {**kept, **(found.xattrs or {})} or None
        found.linked = True
        self._name(self._enter(above), name, found)

    def _name(self, here: _Node, name: str, node: _Node) -> None:
        _children(here)[name] = node
        if here.touched != self._layer:
            here.touched, here.fresh = self._layer, set()
        here.fresh.add(name)

    def _remove(self, above: list[str], name: str) -> None:
        """A whiteout: what this layer itself has brought stays (layer.md, "Whiteouts")."""
        if name.startswith(_META) and name != _OPAQUE:
            return
        here = self._walk(above, make=False)
        if here is None:
            return
        if name == _OPAQUE:
            self._prune(here)
            return
        gone = name.removeprefix(_WHITEOUT)
        if gone in ("", ".", ".."):
            raise _broken(f"the whiteout {_shown('/'.join((*above, name)))} names no file")
        there = here.children.get(gone)
        if there is None:
            return
        if not self._is_fresh(here, gone):
            del here.children[gone]
        elif there.kind is Kind.DIR:
            self._prune(there)

    def _is_fresh(self, here: _Node, name: str) -> bool:
        return here.touched == self._layer and name in here.fresh

    def _prune(self, top: _Node) -> None:
        """Remove from the directory what the layers below have in it."""
        todo = [top]
        while todo:
            here = todo.pop()
            children = _children(here)
            for name in list(children):
                if not self._is_fresh(here, name):
                    del children[name]
                elif children[name].kind is Kind.DIR:
                    todo.append(children[name])

    def _enter(self, parts: list[str]) -> _Node:
        """The directory, made where it is not there, along with those above it. Symlinks on the way are
        followed inside the tree, as they are by an engine that has it for its root directory."""
        return self._walk(parts, make=True) or self._root

    def _find(self, parts: list[str]) -> _Node | None:
        """What is there, the last part not followed."""
        if not parts:
            return self._root
        above = self._walk(parts[:-1], make=False)
        return None if above is None else _children(above).get(parts[-1])

    def _walk(self, parts: list[str], make: bool) -> _Node | None:
        here = [self._root]
        todo, links = parts[::-1], 0
        while todo:
            part = todo.pop()
            if part == "..":
                here = here[:-1] if len(here) > 1 else here
                continue
            child = _children(here[-1]).get(part)
            if child is not None and child.kind is Kind.LINK and links < MAX_LINKS:
                links += 1
                if child.target.startswith("/"):
                    here = [self._root]
                todo += [piece for piece in reversed(child.target.split("/")) if piece not in ("", ".")]
                continue
            if child is None or child.kind is not Kind.DIR:
                if not make:
                    return None
                child = _directory()
            if make:
                self._name(here[-1], part, child)
            here.append(child)
        return here[-1]

    def tree(self) -> tuple[FileTree, dict[str, Content], dict[str, dict[str, bytes]]]:
        """Every entry; where the regular files' bytes are; the xattrs of those that have any. By path."""
        found: dict[str, Entry] = {}
        contents: dict[str, Content] = {}
        xattrs: dict[str, dict[str, bytes]] = {}
        names: dict[int, list[str]] = {}
        self._root.mtime_ns = 0  # engines that keep the layers apart do not have it
        for path, node in sorted(self._all(), key=operator.itemgetter(0)):
            found[path] = _entry(path, node)
            if node.content is not None:
                contents[path] = node.content
            if node.xattrs:
                xattrs[path] = node.xattrs
            if node.linked:
                names.setdefault(id(node), []).append(path)
        shared = sorted(group for group in names.values() if len(group) > 1)
        for number, group in enumerate(shared, 1):
            for path in group:
                found[path] = replace(found[path], inode=number)
        return FileTree(found), contents, xattrs

    def _all(self) -> Iterator[tuple[str, _Node]]:
        yield "/", self._root
        todo = [("", self._root)]
        while todo:
            where, here = todo.pop()
            for name, child in _children(here).items():
                path = f"{where}/{name}"
                yield path, child
                if child.kind is Kind.DIR:
                    todo.append((path, child))


class NoGlobals(dict[str, str]):
    """PAX global headers change nothing: engines pass over them (moby pkg/archive, TypeXGlobalHeader)."""

    def __setitem__(self, key: str, value: str) -> None:
        return


def _directory() -> _Node:
    return _Node(Kind.DIR, children={})


def _children(node: _Node) -> dict[str, _Node]:
    assert node.children is not None  # it is a directory
    return node.children


def _parts(name: str) -> list[str]:
    """A name in a layer, cleaned as text (Go's path.Clean), as the parts below the root."""
    found: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not found:
                raise _broken(f"the path {_shown(name)} leads out of it")
            found.pop()
        elif part not in ("", "."):
            found.append(part)
    raw = paths.encode(name)
    if b"\0" in raw or len(raw) > _PATH_MAX:
        raise _broken(f"no file can be called {_shown(name)}")
    return found


def _node(member: tarfile.TarInfo, layer: int) -> _Node | None:
    """Not yet described; None for what is no file."""
    if member.isdir():
        return _directory()
    if member.issym():
        return _Node(Kind.LINK, target=member.linkname)
    if member.isfifo():
        return _Node(Kind.FIFO)
    if member.ischr() or member.isblk():
        kind = Kind.CHAR if member.ischr() else Kind.BLOCK
        return _Node(kind, major=member.devmajor, minor=member.devminor)
    if member.isfile():
        return _Node(Kind.FILE, content=_content(member, layer))
    return None


def _content(member: tarfile.TarInfo, layer: int) -> Content:
    size, at = member.size, member.offset_data
    segments: list[tuple[int, int]] | None = getattr(member, "sparse", None)
    if size < 0:
        raise _broken(f"{_shown(member.name)} is shorter than nothing")
    if segments is None:
        return Content(layer, at, size)
    extents, end = [], 0
    for start, length in segments:
        if start < end or length < 0 or start + length > size:
            raise _broken(f"{_shown(member.name)} has a damaged map of holes")
        if length:
            extents.append(Extent(start, length, at))
        at, end = at + length, start + length
    return Content(layer, 0, size, tuple(extents))


def _describe(node: _Node, member: tarfile.TarInfo) -> None:
    node.uid, node.gid, node.mtime_ns = member.uid, member.gid, mtime_ns(member)
    # A link's own mode cannot be changed and is never asked for.
    node.mode = 0o777 if node.kind is Kind.LINK else member.mode & 0o7777
    found = {
        key.removeprefix(_XATTR): paths.encode(value)
        for key, value in member.pax_headers.items()
        if key.startswith(_XATTR)
    }
    node.xattrs = found or None


def mtime_ns(member: tarfile.TarInfo) -> int:
    """The modification time in nanoseconds, not by way of tarfile's float, which is 100 ns off; 0 for
    one that is no number."""
    text = member.pax_headers.get("mtime")
    if text is None:
        return int(member.mtime) * 10**9
    whole, _, rest = text.partition(".")
    digits = whole.removeprefix("-")
    if not (f"{digits}{rest}".isascii() and f"{digits}{rest}".isdigit()) or len(digits) > 18:
        return 0
    found = int(digits or 0) * 10**9 + int(rest[:9].ljust(9, "0"))
    return -found if whole.startswith("-") else found


def _entry(path: str, node: _Node) -> Entry:
    return Entry(
        path,
        node.kind,
        node.mode,
        node.uid,
        node.gid,
        node.content.size if node.content is not None else 0,
        node.mtime_ns,
        node.target,
        0,
        node.major,
        node.minor,
    )


def _shown(name: str) -> str:
    return repr(paths.printable(name[:200]))


def _broken(why: str) -> SlimtraceError:
    return SlimtraceError(f"cannot read the image's layers: {why}")
