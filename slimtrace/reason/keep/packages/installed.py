"""All packages of an image, and who owns a path."""

from collections.abc import Iterable, Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt
from slimtrace.facts.tree import FileTree, Kind
from slimtrace.reason.keep.packages import apk, dpkg, gem, maven, npm, python, rpm
from slimtrace.reason.keep.packages.package import DISTRIBUTION, Package, Places

MAX_OWNERS = 64  # of one path; more are forged
MAX_PLACES = 20_000  # of one language's packages; more is a forged image


def installed(capture: Capture, used: Iterable[str] | None = None) -> tuple[Package, ...]:
    """The packages of the image: all of its distribution's; of languages those that may own one of the paths
    `used`, or without that all. What is asked of the contents grows with what is used."""
    places = Places(capture.tree)
    found = [
        *dpkg.installed(capture, places),
        *apk.installed(capture, places),
        *rpm.installed(capture, places),
    ]
    distributed = {path for one in found for path in one.files}
    near = _Near(capture.tree, used, distributed)
    found += [
        *python.installed(capture, places, near.sites),
        *npm.installed(capture, near.npm),
        *gem.installed(capture, places, near.gems),
        *maven.installed(capture, near.jars),
    ]
    return tuple(one for one in found if one.kind in DISTRIBUTION or one.database not in distributed)


def unreadable(capture: Capture) -> tuple[Doubt, ...]:
    """What is doubtful about `installed`: the databases that cannot be read."""
    return tuple(rpm.unreadable(capture))


class Owners:
    """Who owns a path."""

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
        for a directory, which has no one owner."""
        return self._of.get(path, ())

    def owning(self, used: Iterable[str]) -> tuple[Package, ...]:
        """The packages that own one of these paths, in the order of `packages`."""
        owning = {id(one) for path in used for one in self.of(path)}
        return tuple(one for one in self.packages if id(one) in owning)


class _Near:
    """The places of languages' packages that may own used paths. What a distribution's package brought is
    passed over here, so that nothing of it is read."""

    def __init__(self, tree: FileTree, used: Iterable[str] | None, distributed: set[str]) -> None:
        wanted = (entry.path for entry in tree) if used is None else used
        sites: set[str] = set()
        homes: set[str] = set()
        gems: set[str] = set()
        jars: set[str] = set()
        seen: set[str] = set()
        for path in wanted:
            entry = tree.get(path)
            if entry is None or entry.kind is Kind.DIR or path in distributed:
                continue
            if path.endswith(maven.SUFFIXES) and entry.kind is Kind.FILE:
                jars.add(path)
            if (home := npm.home(path)) and f"{home}/{npm.FILE}" not in distributed:
                homes.add(home)
            for above in paths.parents(path):
                if above in seen:
                    break
                seen.add(above)
                if any(child.endswith(python.SUFFIXES) for child in tree.children(above)):
                    sites.add(above)
                gems.update(_gem_homes(tree, above))
        self.sites, self.npm = _some(sites), _some(homes)
        self.gems, self.jars = _some(gems), _some(jars)


def _gem_homes(tree: FileTree, above: str) -> Iterator[str]:
    """A gem directory that is `above`, or whose default gems are in the library directory `above`."""
    version = paths.name(above)
    for home in (above, f"{paths.parent(above)}/gems/{version}"):
        if f"{home}/specifications" in tree:
            yield home


def _some(found: set[str]) -> list[str]:
    return sorted(found)[:MAX_PLACES]
