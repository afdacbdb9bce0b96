"""All packages of an image, and which of them own a path."""

from collections.abc import Iterable, Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt
from slimtrace.facts.tree import FileTree, Kind
from slimtrace.reason.keep.packages import apk, dpkg, gem, maven, npm, python, rpm
from slimtrace.reason.keep.packages.package import DISTRIBUTION, Package, PathResolver

MAX_OWNERS = 64  # of one path; an image with more is forged
MAX_CANDIDATES = 20_000  # for packages of one language; an image with more is forged


def installed(capture: Capture, used: Iterable[str] | None = None) -> tuple[Package, ...]:
    """The packages of the image: all of its distribution's, and those of languages that may own one of the
    paths `used`, or all of them for None. The fewer paths are used, the fewer files are read for it."""
    resolver = PathResolver(capture.tree)
    found = [
        *dpkg.installed(capture, resolver),
        *apk.installed(capture, resolver),
        *rpm.installed(capture, resolver),
    ]
    distribution_paths = {path for one in found for path in one.files}
    candidates = _Candidates(capture.tree, used, distribution_paths)
    found += [
        *python.installed(capture, resolver, candidates.sites),
        *npm.installed(capture, candidates.npm),
        *gem.installed(capture, resolver, candidates.gems),
        *maven.installed(capture, candidates.jars),
    ]
    return tuple(one for one in found if one.kind in DISTRIBUTION or one.database not in distribution_paths)


def unreadable(capture: Capture) -> tuple[Doubt, ...]:
    """A doubt for each package database that cannot be read: `installed` lacks its packages."""
    return tuple(rpm.unreadable(capture))


class Owners:
    """Which packages own a path."""

    def __init__(self, packages: Iterable[Package]) -> None:
        self.packages = tuple(packages)
        self._of: dict[str, tuple[Package, ...]] = {}
        for one in self.packages:
            for path in one.files:
                before = self._of.get(path, ())
                if len(before) < MAX_OWNERS:
                    self._of[path] = (*before, one)

    def of(self, path: str) -> tuple[Package, ...]:
        """The packages that installed the file or link at the (resolved) `path`, a distribution's first; none
        for a directory, which packages share."""
        return self._of.get(path, ())

    def owning(self, used: Iterable[str]) -> tuple[Package, ...]:
        """The packages that own one of these paths, in the order of `packages`."""
        owning = {id(one) for path in used for one in self.of(path)}
        return tuple(one for one in self.packages if id(one) in owning)


class _Candidates:
    """Where packages of languages are that may own used paths: directories for Python, npm and RubyGems, jars
    for Maven. Files that a distribution's package installed are skipped, so that none of them is read."""

    def __init__(self, tree: FileTree, used: Iterable[str] | None, distribution_paths: set[str]) -> None:
        wanted = (entry.path for entry in tree) if used is None else used
        sites: set[str] = set()
        npm_packages: set[str] = set()
        gems: set[str] = set()
        jars: set[str] = set()
        seen: set[str] = set()
        for path in wanted:
            entry = tree.get(path)
            if entry is None or entry.kind is Kind.DIR or path in distribution_paths:
                continue
            if path.endswith(maven.SUFFIXES) and entry.kind is Kind.FILE:
                jars.add(path)
            if (root := npm.package_directory(path)) and f"{root}/{npm.MANIFEST}" not in distribution_paths:
                npm_packages.add(root)
            for above in paths.parents(path):
                if above in seen:
                    break
                seen.add(above)
                if any(child.endswith(python.SUFFIXES) for child in tree.children(above)):
                    sites.add(above)
                gems.update(_gem_directories(tree, above))
        self.sites, self.npm = _limited(sites), _limited(npm_packages)
        self.gems, self.jars = _limited(gems), _limited(jars)


def _gem_directories(tree: FileTree, above: str) -> Iterator[str]:
    """The gem directories among `above` itself and the one whose default gems are in the library directory
    `above`."""
    version = paths.name(above)
    for directory in (above, f"{paths.parent(above)}/gems/{version}"):
        if f"{directory}/specifications" in tree:
            yield directory


def _limited(found: set[str]) -> list[str]:
    return sorted(found)[:MAX_CANDIDATES]
