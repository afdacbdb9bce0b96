"""Data files that Python code reads: package data, templates, time zones.

A path of which only the beginning is known (``os.path.join(here, "locale", name)``) stands for all data files
in that directory, unless they are too many; never for a whole site-packages.
"""

from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.tree import FileTree, Kind
from slimtrace.reason.keep.languages.python.search_path import SearchPath

MAX_DIRECTORY_FILES = 500  # of a directory that is kept whole, since the code may read any file in it
MAX_DIRECTORY_BYTES = 8 << 20  # of all files in such a directory
ZONEINFO = "/usr/share/zoneinfo"
_CODE_SUFFIXES = (".py", ".pyc", ".pyi", ".pyo", ".so", ".pyx", ".pxd", ".c", ".h")
_UNUSED_DIRECTORIES = ("__pycache__", "tests", "test")
_ZONEINFO_COPIES = ("posix", "right")  # directories with all zones once more (tzdata's README)
_FRAMEWORK_DIRECTORIES = ("templates", "static")  # where Flask and Django look up files by name


class PackageData:
    """The search for the data files that sources name; `base` is the working directory."""

    def __init__(self, tree: FileTree, search_path: SearchPath, base: str) -> None:
        self._tree = tree
        self._search_path = search_path
        self._base = base

    def named_by_path(self, source: str, name: str, computed: bool) -> tuple[tuple[str, ...], bool]:
        """The files that the ``data`` mention `name` of `source` means; False with it where they were too many
        to keep."""
        package, colon, path = name.rpartition(":")
        directory = paths.parent(source)
        if colon:
            module = self._search_path.find(package, source)
            directory = module.directory if module else ""
        if not directory:
            return (), True
        target = self._normalized(paths.join(directory, path))
        return self._files_at(source, target, directory, computed)

    def _files_at(
        self, source: str, target: str, directory: str, computed: bool
    ) -> tuple[tuple[str, ...], bool]:
        entry = self._tree.resolve(target).entry
        if entry is None:
            return (), True
        if entry.kind is not Kind.DIR:
            return (target,), True
        if not paths.below(target, directory) or any(target == root for root in self._search_path.directories):
            return (target,), True  # only the directory itself: all in it may be the whole application
        is_below = target != directory
        if not is_below and not computed:
            return (), True
        return self._data_files_in(target, deep=is_below)

    def _data_files_in(self, directory: str, deep: bool) -> tuple[tuple[str, ...], bool]:
        """The data files in a directory (below it with `deep`), and True; nothing and False for too many."""
        found: list[str] = []
        size = 0
        todo = [self._tree.resolve(directory).path]
        while todo:
            for path in self._tree.children(todo.pop()):
                entry = self._tree[path]
                if entry.kind is Kind.DIR:
                    if deep and paths.name(path) not in _UNUSED_DIRECTORIES:
                        todo.append(path)
                        found.append(path)
                elif not path.endswith(_CODE_SUFFIXES):
                    size += entry.size
                    found.append(path)
                if len(found) > MAX_DIRECTORY_FILES or size > MAX_DIRECTORY_BYTES:
                    return (), False
        return tuple(found), True

    def named_by_string(self, source: str, name: str) -> Iterator[str]:
        """The files that a string in application code names: an absolute path, or one in the source's
        directory, the working directory or a framework's directory."""
        if name.startswith("/"):
            if self._is_file(name) and not name.startswith(("/proc/", "/sys/", "/dev/")):
                yield name
            return
        source_directory = paths.parent(source)
        for directory in dict.fromkeys(
            (
                source_directory,
                self._base,
                *(f"{source_directory}/{subdirectory}" for subdirectory in _FRAMEWORK_DIRECTORIES),
            )
        ):
            path = self._normalized(paths.join(directory, name))
            if self._is_file(path) and not path.endswith(_CODE_SUFFIXES):
                yield path

    def framework_files(self, source: str) -> tuple[tuple[str, ...], bool]:
        """The files in the directories templates and static of a source, from which a web framework serves by
        name; False with it where they were too many to keep."""
        found: list[str] = []
        all_complete = True
        for name in _FRAMEWORK_DIRECTORIES:
            directory = f"{paths.parent(source)}/{name}"
            entry = self._tree.resolve(directory).entry
            if entry and entry.kind is Kind.DIR:
                files, complete = self._data_files_in(directory, deep=True)
                found += (directory, *files)
                all_complete = all_complete and complete
        return tuple(found), all_complete

    def time_zone(self, name: str, computed: bool) -> Iterator[str]:
        """The data of a time zone, from the system or the package tzdata; of all if it is computed."""
        directories = [ZONEINFO]
        if module := self._search_path.find("tzdata.zoneinfo", "/"):
            directories.append(module.directory)
        for directory in directories:
            if not computed:
                path = self._normalized(paths.join(directory, name))
                if paths.below(path, directory) and self._is_file(path):
                    yield path
                    return
                continue
            if self._tree.resolve(directory).entry:
                yield from self._all_zones(directory)
                return

    def _all_zones(self, directory: str) -> Iterator[str]:
        todo = [directory]
        while todo:
            for path in self._tree.children(todo.pop()):
                if self._tree[path].kind is not Kind.DIR:
                    yield path
                elif paths.name(path) not in _ZONEINFO_COPIES:
                    todo.append(path)

    def _is_file(self, path: str) -> bool:
        entry = self._tree.resolve(path).entry
        return entry is not None and entry.kind is Kind.FILE

    @staticmethod
    def _normalized(path: str) -> str:
        """`path` without ``..``, as os.path.normpath does it."""
        parts: list[str] = []
        for part in path.split("/"):
            if part == "..":
                del parts[-1:]
            elif part:
                parts.append(part)
        return "/" + "/".join(parts)


__all__ = ["PackageData"]
