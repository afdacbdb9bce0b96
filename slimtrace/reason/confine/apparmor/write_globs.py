"""Where a container writes freely: directories in which names come and go, so that a rule is for all."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from slimtrace.facts import paths
from slimtrace.facts.confinement import Confinement, Repairs
from slimtrace.facts.image import Image
from slimtrace.facts.tree import FileTree, Kind
from slimtrace.reason.confine.apparmor.pathnames import is_varying

# Where programs make files of names that nobody knows before (hier(7); mkstemp(3), tmpfile(3)).
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")
SYSTEM = ("/proc", "/sys", "/dev")
MANY = 3  # new names in one directory, from which on more are expected
# A rule over all of one of these would be one over nearly everything.
_TOO_BROAD = frozenset(
    ("/", "/bin", "/boot", "/etc", "/home", "/lib", "/lib64", "/opt", "/root", "/run", "/sbin", "/srv", "/usr",
     "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/local", "/usr/local/bin", "/usr/local/lib",
     "/usr/sbin", "/usr/share", "/var", "/var/lib", "/var/run")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Places:
    """The directories below which everything may be written (`free`), and whether all else is read-only."""

    free: tuple[str, ...] = ()
    read_only: bool = False

    def of(self, path: str) -> str:
        """The free directory that `path` lies in or is; "" for none."""
        return next((place for place in self.free if paths.below(path, place)), "")


def places(
    image: Image,
    tree: FileTree,
    written: Iterable[tuple[str, bool]],
    confinement: Confinement | None,
    repairs: Repairs,
) -> Places:
    """From what was `written`: each path, and whether it is on a file system of its own. A confinement with a
    read-only root says itself what can be written."""
    read_only = confinement is not None and confinement.read_only
    given = {
        *repairs.writable,
        *(() if confinement is None else (place.path for place in confinement.writable)),
    }
    found = {tree.resolve(path).path for path in {*given, *image.volumes} if path.startswith("/")}
    learned = [(path, foreign) for path, foreign in written if path not in tree and not _of_system(path)]
    found |= set(_learned(tree, (path for path, foreign in learned if foreign or not read_only)))
    return Places(tuple(_outermost(found - {"/"})), read_only)


def _of_system(path: str) -> bool:
    return any(paths.below(path, each) for each in SYSTEM)


def _learned(tree: FileTree, made: Iterable[str]) -> Iterator[str]:
    """The directories of `made` paths, none of which the image has."""
    names: dict[str, set[str]] = {}
    for path in made:
        names.setdefault(paths.parent(path), set()).add(paths.name(path))
        yield from (each for each in TEMPORARY if paths.below(path, each))
    for directory, found in names.items():
        entry = tree.get(directory)
        free = entry is None or len(found) >= MANY or any(map(is_varying, found)) or _beside(found)
        if free and directory not in _TOO_BROAD and (entry is None or entry.kind is Kind.DIR):
            yield directory


def _beside(names: set[str]) -> bool:
    """Whether one name is another with something behind it: a temporary file that will be renamed."""
    ordered = sorted(names)
    return any(longer.startswith(name) for name, longer in pairwise(ordered))


def _outermost(directories: Iterable[str]) -> Iterator[str]:
    """Those that lie in none of the others, sorted."""
    last = ""
    for directory in sorted(directories, key=lambda path: path.split("/")):
        if not last or not paths.below(directory, last):
            last = directory
            yield directory
