"""The content of an image, summed up from its layers: bytes that are there twice, bytes that a later layer
hides, files that give privileges, the largest files and directories. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from io import BytesIO

from slimtrace.facts import manifests, paths
from slimtrace.facts.formats import file_capabilities
from slimtrace.facts.layers import Layer, LayerEntry
from slimtrace.facts.packages import Format
from slimtrace.facts.tree import Kind
from slimtrace.reason.image.layer_stack import LayerStack
from slimtrace.reason.keep.packages import PackageType

MAX_NAMED = 10  # files, directories and duplicates that are named
MAX_PATHS = 5  # names of one file that is there several times
_SETUID, _SETGID = 0o4000, 0o2000


@dataclass(frozen=True, slots=True)
class LayerSums:
    """The regular files of one layer and their bytes (several names of one file count once), and the files of
    lower layers that it hides: `replaced` files have another entry in their place, `removed` ones none; their
    bytes are in the image all the same."""

    files: int = 0
    size: int = 0
    entries: int = 0
    replaced: int = 0
    replaced_bytes: int = 0
    removed: int = 0
    removed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Copies:
    """Files of the same content: `size` bytes each, `count` of them, some of their paths."""

    size: int
    count: int
    paths: tuple[str, ...]

    @property
    def wasted(self) -> int:
        """Bytes that one file would save."""
        return self.size * (self.count - 1)


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Files that are there more than once: how many more than needed, their bytes, and the worst of them."""

    files: int = 0
    size: int = 0
    worst: tuple[Copies, ...] = ()


@dataclass(frozen=True, slots=True)
class PrivilegedFile:
    """A file whose execution gives privileges: setuid, setgid, or file `capabilities`."""

    path: str
    mode: int
    uid: int
    gid: int
    capabilities: str = ""


@dataclass(frozen=True, slots=True)
class SizedPath:
    """A path and its bytes."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Inventory:
    """All sums of an image: of its layers, and of the tree that they make. `duplicates` are those in the tree,
    `stored` those in all layers. A directory counts with all that is below it; one of which a single
    subdirectory has more than half is left out, since the subdirectory says more. `packages` counts by kind."""

    layers: tuple[LayerSums, ...] = ()
    files: int = 0
    directories: int = 0
    links: int = 0
    others: int = 0
    size: int = 0
    duplicates: Duplicates = field(default_factory=Duplicates)
    stored: Duplicates = field(default_factory=Duplicates)
    powerful: tuple[PrivilegedFile, ...] = ()
    largest_files: tuple[SizedPath, ...] = ()
    largest_directories: tuple[SizedPath, ...] = ()
    packages: Mapping[str, int] = field(default_factory=dict)

    @property
    def hidden(self) -> int:
        """Bytes of files that a later layer replaced or removed."""
        return sum(layer.replaced_bytes + layer.removed_bytes for layer in self.layers)


@dataclass(frozen=True, slots=True)
class _VisibleFile:
    """A regular file of the image's tree, by its first path there, with the entry that has its content."""

    path: str
    content: LayerEntry


def take_inventory(layers: Sequence[Layer]) -> Inventory:
    """The inventory of the image with these layers, lowest first."""
    stack = LayerStack(layers)
    counts = dict.fromkeys(Kind, 0)
    powerful: list[PrivilegedFile] = []
    # The layer and path of each entry whose content is visible in the tree -> the first path that it has there.
    content_entries: dict[tuple[int, str], str] = {}
    for number, layer in enumerate(layers):
        for path, entry in layer.entries.items():
            if not stack.is_visible(path, number):
                continue
            counts[entry.kind] += 1
            if entry.kind is not Kind.FILE:
                continue
            key = _content_entry(stack, path, number)
            content = layers[key[0]].entries[key[1]]
            content_entries[key] = min(path, content_entries.get(key, path))
            capability = content.capability or entry.capability
            if entry.mode & (_SETUID | _SETGID) or capability:
                capabilities = file_capabilities.read(capability) if capability else ""
                powerful.append(PrivilegedFile(path, entry.mode, entry.uid, entry.gid, capabilities))
    files = [
        _VisibleFile(path, layers[number].entries[where]) for (number, where), path in content_entries.items()
    ]
    stored = ((entry, path) for layer in layers for path, entry in layer.entries.items())
    return Inventory(
        layers=_sums(stack, content_entries.keys()),
        files=counts[Kind.FILE],
        directories=counts[Kind.DIR],
        links=counts[Kind.LINK],
        others=sum(counts.values()) - counts[Kind.FILE] - counts[Kind.DIR] - counts[Kind.LINK],
        size=sum(file.content.size for file in files),
        duplicates=_duplicates((file.content, file.path) for file in files),
        stored=_duplicates(stored),
        powerful=tuple(sorted(powerful, key=lambda file: file.path)),
        largest_files=_largest((file.path, file.content.size) for file in files),
        largest_directories=_largest_directories(files),
        packages=packages(_databases(stack)),
    )


def _content_entry(stack: LayerStack, path: str, number: int) -> tuple[int, str]:
    """The layer and path of the entry that has the content of the file at `path`: its own, or the entry to
    which it is a hard link, which may lie in a lower layer."""
    for _ in range(8):
        same_as = stack.layers[number].entries[path].same_as
        if not same_as:
            break
        lower = (at for at in range(number, -1, -1) if same_as in stack.layers[at].entries)
        found = next(lower, -1)
        if found < 0 or (found, same_as) == (number, path):
            break
        if stack.layers[found].entries[same_as].kind is not Kind.FILE:
            break
        path, number = same_as, found
    return number, path


def _sums(stack: LayerStack, content_entries: Iterable[tuple[int, str]]) -> tuple[LayerSums, ...]:
    visible = set(content_entries)
    layers = stack.layers
    added = [[0, 0] for _ in layers]
    replaced = [[0, 0] for _ in layers]
    removed = [[0, 0] for _ in layers]
    for number, layer in enumerate(layers):
        for path, entry in layer.entries.items():
            if entry.kind is not Kind.FILE or entry.same_as:
                continue
            _count(added[number], entry.size)
            # A file whose first name is hidden may have another name that is not.
            if (number, path) not in visible and not stack.is_visible(path, number):
                layer_above, in_place = stack.hidden_by(path, number)
                _count((replaced if in_place else removed)[layer_above], entry.size)
    sums = zip(added, layers, replaced, removed, strict=True)
    return tuple(
        LayerSums(new[0], new[1], len(layer.entries), over[0], over[1], gone[0], gone[1])
        for new, layer, over, gone in sums
    )


def _count(pair: list[int], size: int) -> None:
    pair[0] += 1
    pair[1] += size


def _duplicates(files: Iterable[tuple[LayerEntry, str]]) -> Duplicates:
    first: dict[tuple[int, bytes], str] = {}
    more: dict[tuple[int, bytes], list[str]] = {}
    for entry, path in files:
        if entry.digest and entry.size:
            key = (entry.size, entry.digest)
            if key in first:
                more.setdefault(key, [first[key]]).append(path)
            else:
                first[key] = path
    copies = [Copies(key[0], len(names), tuple(nsmallest(MAX_PATHS, names))) for key, names in more.items()]
    worst = nsmallest(MAX_NAMED, copies, key=lambda each: (-each.wasted, each.paths))
    return Duplicates(sum(each.count - 1 for each in copies), sum(each.wasted for each in copies), tuple(worst))


def _largest(files: Iterable[tuple[str, int]]) -> tuple[SizedPath, ...]:
    found = nsmallest(MAX_NAMED, files, key=lambda file: (-file[1], file[0]))
    return tuple(SizedPath(path, size) for path, size in found)


def _largest_directories(files: Iterable[_VisibleFile]) -> tuple[SizedPath, ...]:
    sizes: dict[str, int] = {"/": 0}
    for file in files:
        directory = paths.parent(file.path)
        sizes[directory] = sizes.get(directory, 0) + file.content.size
    for directory in list(sizes):
        for above in paths.parents(directory):
            if above in sizes:
                break
            sizes[above] = 0
    largest_child: dict[str, int] = {}  # the largest subdirectory
    for directory in sorted(sizes, key=lambda path: -path.count("/") if path != "/" else 1):
        if directory != "/":
            above = paths.parent(directory)
            sizes[above] += sizes[directory]
            largest_child[above] = max(largest_child.get(above, 0), sizes[directory])
    return _largest(
        (path, size) for path, size in sizes.items() if largest_child.get(path, 0) * 2 <= size and size
    )


def _databases(stack: LayerStack) -> dict[str, bytes]:
    """The package databases of the tree."""
    return {
        path: data
        for number, layer in enumerate(stack.layers)
        for path, data in layer.databases.items()
        if stack.is_visible(path, number)
    }


def packages(databases: Mapping[str, bytes]) -> dict[str, int]:
    """How many packages of each kind are installed, by the distributions' `databases`, which are by path."""
    found: dict[str, int] = {}
    for path, data in databases.items():
        kind, form = _database_format(path)
        count = len(manifests.read(form, BytesIO(data)))
        found[kind] = found.get(kind, 0) + count
    return {kind: count for kind, count in sorted(found.items()) if count}


def _database_format(path: str) -> tuple[PackageType, Format]:
    if path.endswith("apk/db/installed"):
        return PackageType.APK, Format.APK
    return (PackageType.RPM, Format.RPM) if path.endswith(".sqlite") else (PackageType.DEB, Format.DPKG)


__all__ = [
    "Copies",
    "Duplicates",
    "Inventory",
    "LayerSums",
    "PrivilegedFile",
    "SizedPath",
    "packages",
    "take_inventory",
]
