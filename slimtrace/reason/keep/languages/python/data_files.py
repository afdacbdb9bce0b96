"""Files that Python code reads beside its modules: package data, templates, time zones.

What is only partly known (``os.path.join(here, "locale", name)``) stands for all that may be meant, as far as
that is little: a directory of data files, never a whole site-packages.
"""

from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.tree import FileTree, Kind
from slimtrace.reason.keep.languages.python.search_path import Layout, Part

MAX_FILES = 500  # of a directory of which any file may be meant
MAX_BYTES = 8 << 20
ZONES = "/usr/share/zoneinfo"
_CODE = (".py", ".pyc", ".pyi", ".pyo", ".so", ".pyx", ".pxd", ".c", ".h")
_UNUSED = ("__pycache__", "tests", "test")
_COPIES = ("posix", "right")  # the same zones once more (tzdata's README)
_BESIDE = ("templates", "static")  # Flask's and Django's names for what a name is looked up in


class Data:
    """Looks for the data files that sources name."""

    def __init__(self, tree: FileTree, layout: Layout, base: str) -> None:
        self._tree = tree
        self._layout = layout
        self._base = base

    def beside(self, source: str, name: str, computed: bool) -> tuple[tuple[str, ...], bool]:
        """The files that the ``data`` mention `name` of a source means, and whether these are all."""
        package, colon, path = name.rpartition(":")
        place = paths.parent(source)
        if colon:
            module = self._layout.find(package, source)
            place = module.directory if module else ""
        if not place:
            return (), True
        target = self._normal(paths.join(place, path))
        return self._taken(source, target, place, computed)

    def _taken(self, source: str, target: str, place: str, computed: bool) -> tuple[tuple[str, ...], bool]:
        entry = self._tree.resolve(target).entry
        if entry is None:
            return (), True
        if entry.kind is not Kind.DIR:
            return (target,), True
        if not paths.below(target, place) or any(target == root for root in self._layout.search):
            return (target,), True  # only where to begin; the directory may be the whole application
        below = target != place
        if not below and not computed:
            return (), True
        return self._all(target, deep=below)

    def _all(self, directory: str, deep: bool) -> tuple[tuple[str, ...], bool]:
        """The data files in a directory; nothing where they are too many."""
        found: list[str] = []
        size = 0
        todo = [self._tree.resolve(directory).path]
        while todo:
            for path in self._tree.children(todo.pop()):
                entry = self._tree[path]
                if entry.kind is Kind.DIR:
                    if deep and paths.name(path) not in _UNUSED:
                        todo.append(path)
                        found.append(path)
                elif not path.endswith(_CODE):
                    size += entry.size
                    found.append(path)
                if len(found) > MAX_FILES or size > MAX_BYTES:
                    return (), False
        return tuple(found), True

    def literal(self, source: str, name: str) -> Iterator[str]:
        """The files that a string in application code names: absolute, or where applications look for them."""
        if name.startswith("/"):
            if self._is_file(name) and not name.startswith(("/proc/", "/sys/", "/dev/")):
                yield name
            return
        here = paths.parent(source)
        for place in dict.fromkeys((here, self._base, *(f"{here}/{one}" for one in _BESIDE))):
            path = self._normal(paths.join(place, name))
            if self._is_file(path) and not path.endswith(_CODE):
                yield path

    def folders(self, source: str) -> tuple[tuple[str, ...], bool]:
        """All that lies in the directories from which a web framework serves by name."""
        found: list[str] = []
        whole = True
        for name in _BESIDE:
            directory = f"{paths.parent(source)}/{name}"
            entry = self._tree.resolve(directory).entry
            if entry and entry.kind is Kind.DIR:
                files, all_of_them = self._all(directory, deep=True)
                found += (directory, *files)
                whole = whole and all_of_them
        return tuple(found), whole

    def zone(self, name: str, computed: bool) -> Iterator[str]:
        """The data of a time zone, of the system or of the package tzdata; of all where it is computed."""
        places = [ZONES]
        if module := self._layout.find("tzdata.zoneinfo", "/"):
            places.append(module.directory)
        for place in places:
            if not computed:
                path = self._normal(paths.join(place, name))
                if paths.below(path, place) and self._is_file(path):
                    yield path
                    return
                continue
            if self._tree.resolve(place).entry:
                yield from self._zones(place)
                return

    def _zones(self, place: str) -> Iterator[str]:
        todo = [place]
        while todo:
            for path in self._tree.children(todo.pop()):
                if self._tree[path].kind is not Kind.DIR:
                    yield path
                elif paths.name(path) not in _COPIES:
                    todo.append(path)

    def _is_file(self, path: str) -> bool:
        entry = self._tree.resolve(path).entry
        return entry is not None and entry.kind is Kind.FILE

    @staticmethod
    def _normal(path: str) -> str:
        """`path` without ``..``, as os.path.normpath does it."""
        parts: list[str] = []
        for part in path.split("/"):
            if part == "..":
                del parts[-1:]
            elif part:
                parts.append(part)
        return "/" + "/".join(parts)


__all__ = ["Data", "Part"]
