"""The union of an image's layers, in memory: what an engine unpacks to disk is here a table of where each
file's bytes are. Nothing is written, so a hostile path cannot lead out of the image.

The rules are those of the OCI image-spec (layer.md): a later entry replaces an earlier one, except that a
directory over a directory keeps what is in it; ``.wh.NAME`` removes NAME of the layers below, ``.wh..wh..opq``
all that they have in its directory. Where the spec is silent, the rules are those of docker and containerd: a
hardlink's header changes the file that it names; the directories above an entry are made if no layer has them.
"""

import operator
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from slimtrace.facts.tree import MAX_LINKS, Entry, FileTree, Kind
from slimtrace.observe.image.tar_members import (
    Content,
    broken_layers,
    components_of,
    content_of,
    mtime_ns,
    shown,
    xattrs_of,
)

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_AUFS_META = ".wh..wh."  # names of aufs' own files, which mean nothing to other file systems
_CHOWN_CLEARS = "security.capability"  # chown(2)


@dataclass(slots=True, eq=False)
class _Node:
    """A file, link, device or directory; all but a directory may have several names. `added` are the names that
    the layer numbered `added_by` has added to a directory."""

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
    added_by: int = -1
    added: set[str] = field(default_factory=set)


class LayerUnion:
    """The union of layers, which are added from the lowest to the topmost one."""

    def __init__(self) -> None:
        self._root = _directory()
        self._layer = -1

    def add_layer(self, archive: tarfile.TarFile) -> None:
        """Put the next layer on top; `archive` must be opened with `IgnoredPaxGlobals`. Raises SlimtraceError
        for a layer that no engine could have unpacked, and tarfile's own exceptions."""
        self._layer += 1
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # else tarfile keeps all members in memory
            self._add(member)
        # tarfile takes a damaged header for the end of the archive.
        assert archive.fileobj is not None
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(512).strip(b"\0"):
            raise broken_layers("a layer has a damaged header")

    def _add(self, member: tarfile.TarInfo) -> None:
        parts = components_of(member.name)
        if not parts:
            if member.isdir():
                _describe(self._root, member)
            return
        *above, name = parts
        if any(part.startswith(_WHITEOUT) for part in above):
            return
        if name.startswith(_WHITEOUT):
            self._apply_whiteout(above, name)
            return
        if member.islnk():
            self._link(above, name, member)
        elif (node := _node(member, self._layer)) is not None:
            self._put(above, name, node, member)

    def _put(self, above: list[str], name: str, node: _Node, member: tarfile.TarInfo) -> None:
        """Add an entry in the directory `above`, or describe anew the directory that has its name."""
        here = self._make_directories(above)
        existing = _children(here).get(name)
        if existing is not None and existing.kind is Kind.DIR is node.kind:
            node = existing
        _describe(node, member)
        self._add_name(here, name, node)

    def _link(self, above: list[str], name: str, member: tarfile.TarInfo) -> None:
        """Add a hardlink: link(2), then the owner, xattrs, mode and times of its header, as an engine sets
        them."""
        target = components_of(member.linkname)
        found = self._find(target)
        if found is None or found.kind is Kind.DIR:
            raise broken_layers(
                f"{shown(member.name)} is a hardlink to {shown(member.linkname)}, which is no file"
            )
        xattrs = {key: value for key, value in (found.xattrs or {}).items() if key != _CHOWN_CLEARS}
        _describe(found, member)
        found.xattrs = {**xattrs, **(found.xattrs or {})} or None
        found.linked = True
        self._add_name(self._make_directories(above), name, found)

    def _add_name(self, here: _Node, name: str, node: _Node) -> None:
        """Give `node` a name in the directory `here`, and note that the present layer has added the name."""
        _children(here)[name] = node
        if here.added_by != self._layer:
            here.added_by, here.added = self._layer, set()
        here.added.add(name)

    def _apply_whiteout(self, above: list[str], name: str) -> None:
        """Apply a whiteout: entries that this layer itself has added stay (layer.md, "Whiteouts")."""
        if name.startswith(_AUFS_META) and name != _OPAQUE:
            return
        here = self._walk(above, make=False)
        if here is None:
            return
        if name == _OPAQUE:
            self._remove_lower(here)
            return
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in ("", ".", ".."):
            raise broken_layers(f"the whiteout {shown('/'.join((*above, name)))} names no file")
        existing = _children(here).get(hidden)
        if existing is None:
            return
        if not self._is_added(here, hidden):
            del _children(here)[hidden]
        elif existing.kind is Kind.DIR:
            self._remove_lower(existing)

    def _is_added(self, here: _Node, name: str) -> bool:
        return here.added_by == self._layer and name in here.added

    def _remove_lower(self, top: _Node) -> None:
        """Remove from the directory `top` and those in it the entries of the layers below."""
        todo = [top]
        while todo:
            here = todo.pop()
            children = _children(here)
            for name in list(children):
                if not self._is_added(here, name):
                    del children[name]
                elif children[name].kind is Kind.DIR:
                    todo.append(children[name])

    def _make_directories(self, parts: list[str]) -> _Node:
        """The directory at a path, which is made if need be, with those above it. Symlinks on the way are
        followed inside the tree, as an engine does that has changed its root directory to the tree."""
        return self._walk(parts, make=True) or self._root

    def _find(self, parts: list[str]) -> _Node | None:
        """The node at a path, None where there is none; a symlink in the last component is not followed."""
        if not parts:
            return self._root
        above = self._walk(parts[:-1], make=False)
        return None if above is None else _children(above).get(parts[-1])

    def _walk(self, parts: list[str], make: bool) -> _Node | None:
        """The directory at a path, with symlinks followed. Where it does not exist it is made, or None is
        given."""
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
                self._add_name(here[-1], part, child)
            here.append(child)
        return here[-1]

    def tree(self) -> tuple[FileTree, dict[str, Content], dict[str, dict[str, bytes]]]:
        """Every entry; where the regular files' bytes are; the xattrs of the entries that have any. The last
        two by path."""
        found: dict[str, Entry] = {}
        contents: dict[str, Content] = {}
        xattrs: dict[str, dict[str, bytes]] = {}
        names_by_node: dict[int, list[str]] = {}
        self._root.mtime_ns = 0  # engines that keep the layers in separate directories do not have this time
        for path, node in self._nodes():
            found[path] = _entry(path, node)
            if node.content is not None:
                contents[path] = node.content
            if node.xattrs:
                xattrs[path] = node.xattrs
            if node.linked:
                names_by_node.setdefault(id(node), []).append(path)
        shared = sorted(sorted(group) for group in names_by_node.values() if len(group) > 1)
        for number, group in enumerate(shared, 1):
            for path in group:
                found[path] = replace(found[path], inode=number)
        return FileTree(found), contents, xattrs

    def _nodes(self) -> Iterator[tuple[str, _Node]]:
        """Every path and node, in the order of Rootfs.scan: a directory's own entries are consecutive and
        sorted."""
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
    assert node.children is not None  # the node is a directory
    return node.children


def _node(member: tarfile.TarInfo, layer: int) -> _Node | None:
    """A node of the member's kind, without owner, mode, time and xattrs; None for a member that is no file."""
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
    """Set the owner, mode, time and xattrs of `node` to those of the header."""
    node.uid, node.gid, node.mtime_ns = member.uid, member.gid, mtime_ns(member)
    # A symlink's own mode cannot be changed and has no effect.
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
