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

from slimtrace.facts.tree import MAX_LINKS, Entry, FileTree, Kind
from slimtrace.observe.image.tar_members import (
    Content,
    broken,
    content_of,
    mtime_ns,
    parts_of,
    shown,
    xattrs_of,
)

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_META = ".wh..wh."  # what aufs kept for itself: in no file system but its own
_CHOWN_CLEARS = "security.capability"  # chown(2)


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
            raise broken("a layer has a damaged header")

    def _add(self, member: tarfile.TarInfo) -> None:
        parts = parts_of(member.name)
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
        target = parts_of(member.linkname)
        found = self._find(target)
        if found is None or found.kind is Kind.DIR:
            raise broken(f"{shown(member.name)} is a hardlink to {shown(member.linkname)}, which is no file")
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
            raise broken(f"the whiteout {shown('/'.join((*above, name)))} names no file")
        there = _children(here).get(gone)
        if there is None:
            return
        if not self._is_fresh(here, gone):
            del _children(here)[gone]
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
        for path, node in self._all():
            found[path] = _entry(path, node)
            if node.content is not None:
                contents[path] = node.content
            if node.xattrs:
                xattrs[path] = node.xattrs
            if node.linked:
                names.setdefault(id(node), []).append(path)
        shared = sorted(sorted(group) for group in names.values() if len(group) > 1)
        for number, group in enumerate(shared, 1):
            for path in group:
                found[path] = replace(found[path], inode=number)
        return FileTree(found), contents, xattrs

    def _all(self) -> Iterator[tuple[str, _Node]]:
        """In the order of Rootfs.scan: a directory's own entries all together, sorted within it."""
        yield "/", self._root
        todo = [("", self._root)]
        while todo:
            where, here = todo.pop()
            children = [
                (f"{where}/{name}", child)
                for name, child in sorted(_children(here).items(), key=operator.itemgetter(0))
            ]
            yield from children
            todo += [pair for pair in reversed(children) if pair[1].kind is Kind.DIR]


def _directory() -> _Node:
    return _Node(Kind.DIR, children={})


def _children(node: _Node) -> dict[str, _Node]:
    assert node.children is not None  # it is a directory
    return node.children


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
        return _Node(Kind.FILE, content=content_of(member, layer))
    return None


def _describe(node: _Node, member: tarfile.TarInfo) -> None:
    node.uid, node.gid, node.mtime_ns = member.uid, member.gid, mtime_ns(member)
    # A link's own mode cannot be changed and is never asked for.
    node.mode = 0o777 if node.kind is Kind.LINK else member.mode & 0o7777
    node.xattrs = xattrs_of(member) or None


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
