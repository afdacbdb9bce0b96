"""The image's file tree, as facts: every entry with its metadata, no content."""

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from slimtrace.facts import paths

MAX_LINKS = 40  # path_resolution(7): the kernel gives up with ELOOP after 40 symlinks


class Kind(StrEnum):
    """What an entry is."""

    FILE = "file"
    DIR = "dir"
    LINK = "link"
    FIFO = "fifo"
    SOCKET = "socket"
    CHAR = "char"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of the tree.

    `mode` holds the 12 permission bits, `size` bytes, `mtime_ns` nanoseconds since 1970. `inode` is the
    number that hardlinks of one file share, 0 for an entry with a single name. `target` is a symlink's text.
    """

    path: str
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    target: str = ""
    inode: int = 0
    major: int = 0
    minor: int = 0


@dataclass(frozen=True, slots=True)
class Resolution:
    """Where a path leads: the `path` at its end, the `links` that were followed on the way (each a symlink of
    the tree, in order), and the `entry` at the end, None where there is none."""

    path: str
    links: tuple[str, ...]
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class FileTree:
    """All entries of an image by path; the root is always there."""

    entries: Mapping[str, Entry]
    _children: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)
    _siblings: dict[int, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)

    def __contains__(self, path: str) -> bool:
        return path in self.entries

    def __getitem__(self, path: str) -> Entry:
        return self.entries[path]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def __len__(self) -> int:
        return len(self.entries)

    def get(self, path: str) -> Entry | None:
        return self.entries.get(path)

    def resolve(self, path: str, follow_last: bool = True) -> Resolution:
        """Walk `path` as the kernel would, inside this tree: symlinks are followed (the last one only with
        `follow_last`), ``..`` at the root stays at the root, nothing leads out. A part that is missing, is no
        directory, or a loop of more than MAX_LINKS links ends the walk with `entry` None; `path` then is
        the place the walk was heading for."""
        todo = [part for part in path.split("/") if part not in ("", ".")][::-1]
        here = ""
        links: list[str] = []
        while todo:
            part = todo.pop()
            if part == ".":
                continue
            if part == "..":
                here = here.rpartition("/")[0]
                continue
            step = f"{here}/{part}"
            entry = self.entries.get(step)
            if entry is not None and entry.kind is Kind.LINK and (todo or follow_last):
                links.append(step)
                if len(links) > MAX_LINKS:
                    return Resolution(step, tuple(links), None)
                if entry.target.startswith("/"):
                    here = ""
                todo.extend(piece for piece in reversed(entry.target.split("/")) if piece)
                continue
            if todo and (entry is None or entry.kind is not Kind.DIR):
                rest = "/".join(reversed(todo))
                return Resolution(paths.clean(f"{step}/{rest}"), tuple(links), None)
            here = step
        end = here or "/"
        found = self.entries.get(end)
        if found is not None and found.kind is not Kind.DIR and path.endswith(("/", "/.")):
            found = None  # only a directory may be named so
        return Resolution(end, tuple(links), found)

    def children(self, directory: str) -> tuple[str, ...]:
        """The paths directly in `directory`, sorted; built once for the whole tree."""
        if not self._children:
            found: dict[str, list[str]] = {}
            for path in self.entries:
                if path != "/":
                    found.setdefault(paths.parent(path), []).append(path)
            self._children.update({key: tuple(sorted(value)) for key, value in found.items()})
        return self._children.get(directory, ())

    def subtree(self, top: str) -> list[str]:
        """`top` and every path below it; nothing is followed."""
        found = [top]
        for path in found:
            found.extend(self.children(path))
        return found

    def hardlinks(self, path: str) -> tuple[str, ...]:
        """All names of the file at `path`, itself among them, sorted; just itself for a single name."""
        inode = self.entries[path].inode
        if not inode:
            return (path,)
        if not self._siblings:
            found: dict[int, list[str]] = {}
            for entry in self.entries.values():
                if entry.inode:
                    found.setdefault(entry.inode, []).append(entry.path)
            self._siblings.update({key: tuple(sorted(value)) for key, value in found.items()})
        return self._siblings[inode]

    def changed(self, entries: Mapping[str, Entry]) -> "FileTree":
        """This tree with other `entries` at some of its paths. The rest is not copied: there may be half a
        million."""
        if not entries:
            return self
        below: Any = self.entries  # a ChainMap does not write to its second mapping
        return FileTree(ChainMap(dict(entries), below))

    def size(self) -> int:
        """Bytes of all regular files, each hardlinked file once."""
        seen: set[int] = set()
        total = 0
        for entry in self.entries.values():
            if entry.kind is not Kind.FILE or (entry.inode and entry.inode in seen):
                continue
            seen.add(entry.inode)
            total += entry.size
        return total
