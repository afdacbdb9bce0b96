"""The directories in which a container writes under names that vary: a rule allows all writes below them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from slimtrace.facts import paths
from slimtrace.facts.confinement import Confinement, Repairs
from slimtrace.facts.image import Image
from slimtrace.facts.tree import FileTree, Kind
from slimtrace.reason.confine.apparmor.pathnames import is_volatile

# Directories for files with names that are not known beforehand (hier(7); mkstemp(3), tmpfile(3)).
TEMPORARY_DIRECTORIES = ("/tmp", "/var/tmp", "/dev/shm")
KERNEL_DIRECTORIES = ("/proc", "/sys", "/dev")
MANY_NEW_NAMES = 3  # from so many new names in one directory on more are expected
# A rule for all below one of these would be a rule for nearly everything.
_TOO_BROAD = frozenset(
    ("/", "/bin", "/boot", "/etc", "/home", "/lib", "/lib64", "/opt", "/root", "/run", "/sbin", "/srv", "/usr",
     "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/local", "/usr/local/bin", "/usr/local/lib",
     "/usr/sbin", "/usr/share", "/var", "/var/lib", "/var/run")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class WritableDirectories:
    """The `directories` below which everything may be written, and whether all else is read-only."""

    directories: tuple[str, ...] = ()
    read_only: bool = False

    def containing(self, path: str) -> str:
        """The one of the directories that `path` lies in or is; "" for none."""
        return next((place for place in self.directories if paths.below(path, place)), "")


def writable_directories(
    image: Image,
    tree: FileTree,
    written: Iterable[tuple[str, bool]],
    confinement: Confinement | None,
    repairs: Repairs,
) -> WritableDirectories:
    """The writable directories, learned from what was `written`: each path, and whether it is on another file
    system than the root's. A confinement with a read-only root names the writable directories of the root's."""
    read_only = confinement is not None and confinement.read_only
    configured = {
        *repairs.writable,
        *(() if confinement is None else (place.path for place in confinement.writable)),
    }
    found = {tree.resolve(path).path for path in {*configured, *image.volumes} if path.startswith("/")}
    new_paths = [(path, foreign) for path, foreign in written if path not in tree and not _is_of_kernel(path)]
    found |= set(_learned_directories(tree, (path for path, foreign in new_paths if foreign or not read_only)))
    return WritableDirectories(tuple(_outermost(found - {"/"})), read_only)


def _is_of_kernel(path: str) -> bool:
    return any(paths.below(path, each) for each in KERNEL_DIRECTORIES)


def _learned_directories(tree: FileTree, made: Iterable[str]) -> Iterator[str]:
    """The directories of the paths `made`, which the image does not have, in which names are expected to
    vary."""
    names: dict[str, set[str]] = {}
    for path in made:
        names.setdefault(paths.parent(path), set()).add(paths.name(path))
        yield from (each for each in TEMPORARY_DIRECTORIES if paths.below(path, each))
    for directory, found in names.items():
        entry = tree.get(directory)
        varies = (
            entry is None
            or len(found) >= MANY_NEW_NAMES
            or any(map(is_volatile, found))
            or _has_suffixed_name(found)
        )
        if varies and directory not in _TOO_BROAD and (entry is None or entry.kind is Kind.DIR):
            yield directory


def _has_suffixed_name(names: set[str]) -> bool:
    """Whether one name is another with a suffix: a temporary file that will be renamed."""
    ordered = sorted(names)
    return any(longer.startswith(name) for name, longer in pairwise(ordered))


def _outermost(directories: Iterable[str]) -> Iterator[str]:
    """The directories that lie in none of the others, sorted."""
    last = ""
    for directory in sorted(directories, key=lambda path: path.split("/")):
        if not last or not paths.below(directory, last):
            last = directory
            yield directory
