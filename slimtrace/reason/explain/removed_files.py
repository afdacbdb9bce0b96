"""The files that a slim image lacks: by package, and those that no package owns by directory."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.packages import Owners, installed

SCHEMA = 1
GROUP_DEPTH = 3  # directories of a path by which files of no package are grouped


@dataclass(frozen=True, slots=True)
class PackageLoss:
    """A package of which something was removed: `gone` of its `files` files and links, and the bytes of
    those."""

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
    """The removed files below a directory that belong to no package."""

    path: str
    gone: int
    bytes: int


@dataclass(frozen=True, slots=True)
class RemovedPath:
    """A removed path; `bytes` are 0 where the file has another name that stayed, or under which it was
    counted."""

    path: str
    bytes: int
    package: str = ""


@dataclass(frozen=True, slots=True)
class RemovedFiles:
    """The files of the image `fat` that `slim` lacks, the largest first. `gone` counts files, links and the
    like, out of `files`; directories are not counted. `cut_bytes` are those of files that were kept in part."""

    fat: str
    slim: str
    files: int
    bytes: int
    gone: int
    gone_bytes: int
    cut_bytes: int
    packages: tuple[PackageLoss, ...]
    directories: tuple[DirectoryLoss, ...]
    paths: tuple[RemovedPath, ...]

    def to_json(self, with_paths: bool) -> dict[str, Any]:
        """As plain JSON values, the schema number first; paths printable."""
        body = asdict(self)
        body["packages"] = [{**asdict(one), "whole": one.whole} for one in self.packages]
        if not with_paths:
            del body["paths"]
        return {"schema": SCHEMA, **_printable(body)}


def find_removed(capture: Capture, slim: str, kept: Collection[str], cut_bytes: int = 0) -> RemovedFiles:
    """The files of the tree of `capture` that are not among the paths `kept` of the image `slim`. A file of two
    packages counts for the first of them, one with two names for the first that was removed."""
    tree = capture.tree
    owners = Owners(installed(capture))
    kept_inodes = {tree[path].inode for path in kept if path in tree} - {0}
    seen = set(kept_inodes)
    total: dict[int, int] = {}
    gone: dict[int, list[int]] = {}
    by_directory: dict[str, list[int]] = {}
    removed: list[RemovedPath] = []
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
        is_counted = entry.kind is Kind.FILE and entry.inode not in seen
        seen |= {entry.inode} - {0}
        size = entry.size if is_counted else 0
        tally = (
            gone.setdefault(id(owner), [0, 0]) if owner else by_directory.setdefault(_group(entry.path), [0, 0])
        )
        tally[0] += 1
        tally[1] += size
        removed.append(RemovedPath(entry.path, size, owner.label if owner else ""))
    packages = [
        PackageLoss(one.kind, one.name, one.version, gone[id(one)][0], total[id(one)], gone[id(one)][1])
        for one in owners.packages
        if id(one) in gone
    ]
    directories = [DirectoryLoss(path, *tally) for path, tally in by_directory.items()]
    return RemovedFiles(
        fat=capture.image.reference,
        slim=slim,
        files=files,
        bytes=tree.size(),
        gone=len(removed),
        gone_bytes=sum(path.bytes for path in removed),
        cut_bytes=cut_bytes,
        packages=tuple(
            sorted(packages, key=lambda one: (-one.bytes, -one.gone, one.kind, one.name, one.version))
        ),
        directories=tuple(sorted(directories, key=lambda one: (-one.bytes, -one.gone, one.path))),
        paths=tuple(sorted(removed, key=lambda one: one.path)),
    )


def _group(path: str) -> str:
    """The directory by which `path` is grouped."""
    above = paths.parent(path).split("/")
    return "/".join(above[: GROUP_DEPTH + 1]) or "/"


def kept_paths(capture: Capture, listed: Mapping[str, int]) -> tuple[frozenset[str], int]:
    """The paths of the tree that a report lists, which has their sizes by printable path, and by how many bytes
    their files are smaller than in the fat image."""
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


__all__ = ["RemovedFiles", "find_removed", "kept_paths"]
