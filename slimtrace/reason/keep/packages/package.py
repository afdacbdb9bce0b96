"""One installed package, and the placing of the paths that its metadata lists."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from slimtrace.facts import paths
from slimtrace.facts.packages import Manifest
from slimtrace.facts.tree import FileTree, Kind


class System(StrEnum):
    """Who installed a package; the words are the types of package URLs
    (https://github.com/package-url/purl-spec, PURL-TYPES)."""

    DEB = "deb"
    APK = "apk"
    RPM = "rpm"
    PYPI = "pypi"
    NPM = "npm"
    GEM = "gem"
    MAVEN = "maven"


DISTRIBUTION = frozenset((System.DEB, System.APK, System.RPM))


@dataclass(frozen=True, slots=True)
class Package:
    """One installed package.

    `version` is whole, with epoch and release; `source` and `source_version` name the package that it was
    built from where that has another name or version; `licenses` are as the metadata writes them. `files` are
    the tree's own paths of all its files and links, sorted; `directories` those directories in which it
    installed nothing. `database` is the (resolved) path of the file that tells of it, `key` its name in there,
    `metadata` the further files that are about it alone.
    """

    kind: System
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
        """The words of a reason: ``deb libc6``."""
        return f"{self.kind} {self.name}"

    @property
    def node(self) -> str:
        """The package's node in the artifact graph: ``package deb libc6 2.36-9``."""
        return " ".join(filter(None, ("package", self.kind, self.name, self.version)))


def package(kind: System, told: Manifest, placed: "Placed", database: str, metadata: Iterable[str]) -> Package:
    """The Package of which the manifest `told` and whose files are `placed`."""
    return Package(
        kind,
        told.name,
        told.version,
        told.architecture,
        told.licenses,
        told.source,
        told.source_version,
        placed.files,
        placed.directories,
        database,
        told.key,
        tuple(metadata),
    )


@dataclass(frozen=True, slots=True)
class Placed:
    """Where listed paths are in the tree."""

    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()


class Places:
    """Finds listed paths in the tree. A distribution lists the path that its package was built with: of merged
    directories (``/lib`` -> ``usr/lib``), and of any other link on the way, the tree knows better."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree
        self._directories: dict[str, str] = {}

    def leads(self, base: str, listed: str) -> str:
        """Where the path `listed`, absolute or as seen from `base`, is in the tree."""
        return self.path(paths.join(base, listed))

    def path(self, listed: str) -> str:
        """The absolute path `listed` with the links above it followed, whether or not it is there."""
        above, _, name = listed.rpartition("/")
        found = self._directories.get(above)
        if found is None:
            found = self._directories[above] = self._tree.resolve(above).path.rstrip("/")
        return f"{found}/{name}"

    def place(self, listed: Iterable[str]) -> Placed:
        """What of the `listed` absolute paths is in the tree. A link is not the package's where the package has
        a directory: one with others below it, or, of merged directories, one at the top (``/lib``)."""
        wanted = [path for path in listed if path[:1] == "/" and path[-1:] not in ("/", ".")]
        above = {paths.parent(path) for path in wanted}
        files: set[str] = set()
        directories: set[str] = set()
        for path in wanted:
            if path in above:
                continue
            entry = self._tree.get(self.path(path))
            if entry is None or (entry.kind is Kind.LINK and self._is_merged(entry.path)):
                continue
            # the tree's own text: a second copy of each path of a large image is worth sparing
            (directories if entry.kind is Kind.DIR else files).add(entry.path)
        return Placed(tuple(sorted(files)), tuple(sorted(directories)))

    def _is_merged(self, path: str) -> bool:
        if paths.parent(path) != "/":
            return False
        end = self._tree.resolve(path).entry
        return end is not None and end.kind is Kind.DIR
