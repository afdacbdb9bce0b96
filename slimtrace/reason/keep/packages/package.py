"""One installed package, and where in the tree the paths are that its metadata lists."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from slimtrace.facts import paths
from slimtrace.facts.packages import Manifest
from slimtrace.facts.tree import FileTree, Kind


class PackageType(StrEnum):
    """What kind of package it is; the words are the types of package URLs
    (https://github.com/package-url/purl-spec, PURL-TYPES)."""

    DEB = "deb"
    APK = "apk"
    RPM = "rpm"
    PYPI = "pypi"
    NPM = "npm"
    GEM = "gem"
    MAVEN = "maven"


DISTRIBUTION = frozenset((PackageType.DEB, PackageType.APK, PackageType.RPM))


@dataclass(frozen=True, slots=True)
class Package:
    """One installed package.

    `version` is whole, with epoch and release; `source` and `source_version` name the source package that it
    was built from where that has another name or version; `licenses` are as the metadata writes them. `files`
    are the paths in the tree of all its files and links, sorted; `directories` those of the directories in
    which it installed nothing. `database` is the (resolved) path of the file that lists the package, `key` its
    name in there, `metadata` the further files that are about this package alone.
    """

    kind: PackageType
    name: str
    version: str = ""
    architecture: str = ""
    licenses: tuple[str, ...] = ()
    source: str = ""
    source_version: str = ""
    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    database: str = ""
    key: str = ""
    metadata: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The text for a reason: ``deb libc6``."""
        return f"{self.kind} {self.name}"

    @property
    def node(self) -> str:
        """The package's node in the artifact graph: ``package deb libc6 2.36-9``."""
        return " ".join(filter(None, ("package", self.kind, self.name, self.version)))


def package_from_manifest(
    kind: PackageType, manifest: Manifest, resolved: "ResolvedPaths", database: str, metadata: Iterable[str]
) -> Package:
    """The Package that `manifest` describes, with the `resolved` paths of its files."""
    return Package(
        kind,
        manifest.name,
        manifest.version,
        manifest.architecture,
        manifest.licenses,
        manifest.source,
        manifest.source_version,
        resolved.files,
        resolved.directories,
        database,
        manifest.key,
        tuple(metadata),
    )


@dataclass(frozen=True, slots=True)
class ResolvedPaths:
    """The paths in the tree of what a package lists."""

    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()


class PathResolver:
    """Finds listed paths in the tree. A distribution lists a path as its package was built with it; the tree
    may have a link on the way, such as of merged directories (``/lib`` -> ``usr/lib``), which is followed."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree
        self._directories: dict[str, str] = {}

    def resolve_from(self, base: str, listed: str) -> str:
        """The path in the tree of `listed`, which is absolute or relative to `base`."""
        return self.resolve(paths.join(base, listed))

    def resolve(self, listed: str) -> str:
        """The absolute path `listed` with the links above it followed, whether or not the tree has it."""
        above, _, name = listed.rpartition("/")
        found = self._directories.get(above)
        if found is None:
            found = self._directories[above] = self._tree.resolve(above).path.rstrip("/")
        return f"{found}/{name}"

    def locate(self, listed: Iterable[str]) -> ResolvedPaths:
        """Those of the `listed` absolute paths that are in the tree. Where the package has a directory and the
        tree a link, the link is not the package's: that is a path with listed paths below it, or, of merged
        directories, one at the top (``/lib``)."""
        wanted = [path for path in listed if path[:1] == "/" and path[-1:] not in ("/", ".")]
        above = {paths.parent(path) for path in wanted}
        files: set[str] = set()
        directories: set[str] = set()
        for path in wanted:
            if path in above:
                continue
            entry = self._tree.get(self.resolve(path))
            if entry is None or (entry.kind is Kind.LINK and self._is_merged(entry.path)):
                continue
            # The entry's own string saves a second copy of each path, which counts for a large image.
            (directories if entry.kind is Kind.DIR else files).add(entry.path)
        return ResolvedPaths(tuple(sorted(files)), tuple(sorted(directories)))

    def _is_merged(self, path: str) -> bool:
        if paths.parent(path) != "/":
            return False
        end = self._tree.resolve(path).entry
        return end is not None and end.kind is Kind.DIR
