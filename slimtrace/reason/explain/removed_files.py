"""What a slim image is without: by package, and where no package owns it by directory."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.packages import Owners, installed

SCHEMA = 1
DEPTH = 3  # names of a path by which what nobody owns is grouped


@dataclass(frozen=True, slots=True)
class PackageLoss:
    """A package of which something went: `gone` of its `files` files and links, and their bytes."""

    kind: str
    name: str
    version: str
    gone: int
    files: int
    bytes: int

    @property
    def whole(self) -> bool:
        """Whether nothing of it stayed."""
        return self.gone == self.files


@dataclass(frozen=True, slots=True)
class DirectoryLoss:
    """What went below a directory and belongs to no package."""

    path: str
    gone: int
    bytes: int


@dataclass(frozen=True, slots=True)
class GonePath:
    """A path that went; `bytes` are 0 where the file has another name that stayed, or was counted by."""

    path: str
    bytes: int
    package: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """What went from the image `fat` on the way to `slim`, the largest first. `gone` counts files, links and
    the like, of `files`; directories are not counted. `cut` are bytes of files that were kept in part."""

    fat: str
    slim: str
    files: int
    bytes: int
    gone: int
    gone_bytes: int
    cut_bytes: int
    packages: tuple[PackageLoss, ...]
    directories: tuple[DirectoryLoss, ...]
    paths: tuple[GonePath, ...]

    def to_json(self, with_paths: bool) -> dict[str, Any]:
        """As plain JSON values, the schema number first; paths printable."""
        body = asdict(self)
        body["packages"] = [{**asdict(one), "whole": one.whole} for one in self.packages]
        if not with_paths:
            del body["paths"]
        return {"schema": SCHEMA, **_printable(body)}


def difference(capture: Capture, slim: str, kept: Collection[str], cut_bytes: int = 0) -> Difference:
    """Compare the tree of `capture` with the paths `kept` of the image `slim`. A file of two packages counts
    for the first of them, one with two names at the first that went."""
    tree = capture.tree
    owners = Owners(installed(capture))
    kept_inodes = {tree[path].inode for path in kept if path in tree} - {0}
    seen = set(kept_inodes)
    total: dict[int, int] = {}
    gone: dict[int, list[int]] = {}
    loose: dict[str, list[int]] = {}
    went: list[GonePath] = []
    files = 0
    for entry in tree:
        if entry.kind is Kind.DIR:
            continue
        files += 1
        owner = next(iter(owners.of(entry.path)), None)
        if owner:
            total[id(owner)] = total.get(id(owner), 0) + 1
        if entry.path in kept:
            continue
        counted = entry.kind is Kind.FILE and entry.inode not in seen
        seen |= {entry.inode} - {0}
        size = entry.size if counted else 0
        tally = gone.setdefault(id(owner), [0, 0]) if owner else loose.setdefault(_group(entry.path), [0, 0])
        tally[0] += 1
        tally[1] += size
        went.append(GonePath(entry.path, size, owner.label if owner else ""))
    packages = [
        PackageLoss(one.kind, one.name, one.version, gone[id(one)][0], total[id(one)], gone[id(one)][1])
        for one in owners.packages
        if id(one) in gone
    ]
    directories = [DirectoryLoss(path, *tally) for path, tally in loose.items()]
    return Difference(
        fat=capture.image.reference,
        slim=slim,
        files=files,
        bytes=tree.size(),
        gone=len(went),
        gone_bytes=sum(path.bytes for path in went),
        cut_bytes=cut_bytes,
        packages=tuple(
            sorted(packages, key=lambda one: (-one.bytes, -one.gone, one.kind, one.name, one.version))
        ),
        directories=tuple(sorted(directories, key=lambda one: (-one.bytes, -one.gone, one.path))),
        paths=tuple(sorted(went, key=lambda one: one.path)),
    )


def _group(path: str) -> str:
    """The directory by which `path` is grouped."""
    above = paths.parent(path).split("/")
    return "/".join(above[: DEPTH + 1]) or "/"


def kept_in(capture: Capture, listed: Mapping[str, int]) -> tuple[frozenset[str], int]:
    """The paths of the tree that a report lists, by their printable names and with their sizes, and how many
    bytes those are smaller than they were."""
    kept = {entry.path: entry for entry in capture.tree if paths.printable(entry.path) in listed}
    cut = 0
    for path, entry in kept.items():
        size = listed[paths.printable(path)]
        # A further name of a file is listed with no bytes.
        if entry.kind is Kind.FILE and not entry.inode:
            cut += max(0, entry.size - size)
    return frozenset(kept), cut


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return paths.printable(value)
    if isinstance(value, dict):
        return {key: _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(item) for item in value]
    return value


__all__ = ["Difference", "difference", "kept_in"]
