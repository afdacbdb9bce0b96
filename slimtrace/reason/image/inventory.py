"""What an image consists of, summed up from its layers: bytes that are there twice, bytes that nobody sees any
more, files with special powers, the largest. Pure.
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
from slimtrace.reason.image.layer_stack import Stack
from slimtrace.reason.keep.packages import System

LARGEST = 10  # files, directories and duplicates that are named
NAMED = 5  # names of one file that is there several times
_SETUID, _SETGID = 0o4000, 0o2000


@dataclass(frozen=True, slots=True)
class LayerSums:
    """What one layer brings, in regular files and their bytes (several names of one file count once), and what
    it does to those below: `replaced` files have another entry in their place, `removed` ones none; their bytes
    are in the image, and nobody sees them."""

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
class Powerful:
    """A file that gives rights to who executes it: setuid, setgid, or `capabilities` (filecaps)."""

    path: str
    mode: int
    uid: int
    gid: int
    capabilities: str = ""


@dataclass(frozen=True, slots=True)
class Sized:
    """A path and its bytes."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Inventory:
    """All sums of an image: of its layers, and of the tree that they make. `duplicates` are those in the tree,
    `stored` those in all layers. Of the directories with all that is below them, one of which a single
    subdirectory has more than half is left out: that one tells more. `packages` counts by kind."""

    layers: tuple[LayerSums, ...] = ()
    files: int = 0
    directories: int = 0
    links: int = 0
    others: int = 0
    size: int = 0
    duplicates: Duplicates = field(default_factory=Duplicates)
    stored: Duplicates = field(default_factory=Duplicates)
    powerful: tuple[Powerful, ...] = ()
    largest_files: tuple[Sized, ...] = ()
    largest_directories: tuple[Sized, ...] = ()
    packages: Mapping[str, int] = field(default_factory=dict)

    @property
    def hidden(self) -> int:
        """Bytes of files that a later layer replaced or removed."""
        return sum(layer.replaced_bytes + layer.removed_bytes for layer in self.layers)


@dataclass(frozen=True, slots=True)
class _File:
    """A regular file of the tree under its first name there, with the entry that has its content."""

    path: str
    body: LayerEntry


def take(layers: Sequence[Layer]) -> Inventory:
    """The inventory of the image with these layers, lowest first."""
    stack = Stack(layers)
    counts = dict.fromkeys(Kind, 0)
    powerful: list[Powerful] = []
    bodies: dict[
        tuple[int, str], str
    ] = {}  # what has a name in the tree, by layer and path, and the first name
    for number, layer in enumerate(layers):
        for path, entry in layer.entries.items():
            if not stack.seen(path, number):
                continue
            counts[entry.kind] += 1
            if entry.kind is not Kind.FILE:
                continue
            key = _body(stack, path, number)
            body = layers[key[0]].entries[key[1]]
            bodies[key] = min(path, bodies.get(key, path))
            capability = body.capability or entry.capability
            if entry.mode & (_SETUID | _SETGID) or capability:
                told = file_capabilities.read(capability) if capability else ""
                powerful.append(Powerful(path, entry.mode, entry.uid, entry.gid, told))
    files = [_File(path, layers[number].entries[where]) for (number, where), path in bodies.items()]
    stored = ((entry, path) for layer in layers for path, entry in layer.entries.items())
    return Inventory(
        layers=_sums(stack, bodies.keys()),
        files=counts[Kind.FILE],
        directories=counts[Kind.DIR],
        links=counts[Kind.LINK],
        others=sum(counts.values()) - counts[Kind.FILE] - counts[Kind.DIR] - counts[Kind.LINK],
        size=sum(file.body.size for file in files),
        duplicates=_duplicates((file.body, file.path) for file in files),
        stored=_duplicates(stored),
        powerful=tuple(sorted(powerful, key=lambda file: file.path)),
        largest_files=_largest((file.path, file.body.size) for file in files),
        largest_directories=_directories(files),
        packages=packages(_databases(stack)),
    )


def _body(stack: Stack, path: str, number: int) -> tuple[int, str]:
    """The layer and path of the entry that has the content of the file at `path`: its own, or that whose
    further name it is, which may lie in a lower layer."""
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


def _sums(stack: Stack, bodies: Iterable[tuple[int, str]]) -> tuple[LayerSums, ...]:
    alive = set(bodies)
    layers = stack.layers
    brought = [[0, 0] for _ in layers]
    replaced = [[0, 0] for _ in layers]
    removed = [[0, 0] for _ in layers]
    for number, layer in enumerate(layers):
        for path, entry in layer.entries.items():
            if entry.kind is not Kind.FILE or entry.same_as:
                continue
            _add(brought[number], entry.size)
            # A file whose first name is gone may have another one that is not.
            if (number, path) not in alive and not stack.seen(path, number):
                by, in_place = stack.hidden_by(path, number)
                _add((replaced if in_place else removed)[by], entry.size)
    sums = zip(brought, layers, replaced, removed, strict=True)
    return tuple(
        LayerSums(new[0], new[1], len(layer.entries), over[0], over[1], gone[0], gone[1])
        for new, layer, over, gone in sums
    )


def _add(pair: list[int], size: int) -> None:
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
    copies = [Copies(key[0], len(names), tuple(nsmallest(NAMED, names))) for key, names in more.items()]
    worst = nsmallest(LARGEST, copies, key=lambda each: (-each.wasted, each.paths))
    return Duplicates(sum(each.count - 1 for each in copies), sum(each.wasted for each in copies), tuple(worst))


def _largest(files: Iterable[tuple[str, int]]) -> tuple[Sized, ...]:
    found = nsmallest(LARGEST, files, key=lambda file: (-file[1], file[0]))
    return tuple(Sized(path, size) for path, size in found)


def _directories(files: Iterable[_File]) -> tuple[Sized, ...]:
    sizes: dict[str, int] = {"/": 0}
    for file in files:
        directory = paths.parent(file.path)
        sizes[directory] = sizes.get(directory, 0) + file.body.size
    for directory in list(sizes):
        for above in paths.parents(directory):
            if above in sizes:
                break
            sizes[above] = 0
    half: dict[str, int] = {}  # the largest subdirectory
    for directory in sorted(sizes, key=lambda path: -path.count("/") if path != "/" else 1):
        if directory != "/":
            above = paths.parent(directory)
            sizes[above] += sizes[directory]
            half[above] = max(half.get(above, 0), sizes[directory])
    return _largest((path, size) for path, size in sizes.items() if half.get(path, 0) * 2 <= size and size)


def _databases(stack: Stack) -> dict[str, bytes]:
    """The package databases of the tree."""
    return {
        path: data
        for number, layer in enumerate(stack.layers)
        for path, data in layer.databases.items()
        if stack.seen(path, number)
    }


def packages(databases: Mapping[str, bytes]) -> dict[str, int]:
    """How many packages of each kind are installed, by the distributions' databases: these by path."""
    found: dict[str, int] = {}
    for path, data in databases.items():
        kind, form = _form(path)
        count = len(manifests.read(form, BytesIO(data)))
        found[kind] = found.get(kind, 0) + count
    return {kind: count for kind, count in sorted(found.items()) if count}


def _form(path: str) -> tuple[System, Format]:
    if path.endswith("apk/db/installed"):
        return System.APK, Format.APK
    return (System.RPM, Format.RPM) if path.endswith(".sqlite") else (System.DEB, Format.DPKG)


__all__ = ["Copies", "Duplicates", "Inventory", "LayerSums", "Powerful", "Sized", "packages", "take"]
