"""The metadata of installed distributions: what importlib.metadata and pkg_resources read.

Sources: the PyPA specifications "Recording installed projects" (NAME-VERSION.dist-info with METADATA, RECORD,
entry_points.txt) and "Entry points"; setuptools' older NAME-VERSION.egg-info (PKG-INFO, top_level.txt).
"""

import re

from slimtrace.facts import paths
from slimtrace.facts.capture import Contents
from slimtrace.reason.keep.languages.python.search_path import SearchPath

_METADATA_SUFFIXES = (".dist-info", ".egg-info")
_METADATA_FILES = ("METADATA", "PKG-INFO")
_SEPARATORS = re.compile(r"[-_.]+")
_SECTION = re.compile(r"\[\s*([^\]]+?)\s*\]")
_ENTRY_POINT = re.compile(r"[^=]*=\s*([\w.]+)")
MAX_LINES = 5000
MAX_LINE = 500
# Groups of entry points that are programs: each has a script of its own that imports it.
_SCRIPT_GROUPS = ("console_scripts", "gui_scripts")


class Distributions:
    """The distributions in the directories of a search path."""

    def __init__(self, search_path: SearchPath, contents: Contents) -> None:
        self._search_path = search_path
        self._contents = contents
        self._directories_by_name: dict[str, list[str]] | None = None
        self._entry_points: dict[str, dict[str, list[str]]] | None = None

    def metadata(self, name: str) -> tuple[str, ...]:
        """The METADATA or PKG-INFO of the distribution `name`; for "" those of all distributions."""
        by_name = self._metadata_directories()
        directories = (
            by_name.get(_normalized(name), [])
            if name
            else [directory for group in by_name.values() for directory in group]
        )
        return tuple(path for directory in directories if (path := self._metadata_file(directory)))

    def owning(self, source: str) -> tuple[str, ...]:
        """The METADATA or PKG-INFO of the distribution with the name of the top package of a file."""
        top = self._search_path.distribution(source).removesuffix(".py")
        return self.metadata(top) if top else ()

    def entry_points(self, group: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The files that looking up a group of entry points reads, and the modules of its entry points. For ""
        (the group is not known) the files of all groups."""
        if self._entry_points is None:
            self._entry_points = {}
            for directories in self._metadata_directories().values():
                for directory in directories:
                    if path := self._search_path.listing(directory).get("entry_points.txt", ""):
                        self._entry_points[path] = self._read_entry_points(path)
        files: list[str] = []
        modules: list[str] = []
        for path, groups in self._entry_points.items():
            if group in groups or not group:
                files += (path, self._metadata_file(paths.parent(path)))
                modules += groups.get(group, ())
        return tuple(file for file in files if file), tuple(dict.fromkeys(modules))

    def _read_entry_points(self, path: str) -> dict[str, list[str]]:
        """The modules of the entry points in a file by group, without the groups of programs."""
        found: dict[str, list[str]] = {}
        section = ""
        for line in (self._contents.text(path) or "").splitlines()[:MAX_LINES]:
            line = line.strip()[:MAX_LINE]
            if head := _SECTION.fullmatch(line):
                section = head[1]
            elif section not in _SCRIPT_GROUPS and (entry := _ENTRY_POINT.match(line)):
                found.setdefault(section, []).append(entry[1])
        return found

    def _metadata_file(self, directory: str) -> str:
        names = self._search_path.listing(directory)
        return next((names[name] for name in _METADATA_FILES if name in names), "")

    def _metadata_directories(self) -> dict[str, list[str]]:
        """The .dist-info and .egg-info directories by the normalized name of their distribution."""
        if self._directories_by_name is None:
            self._directories_by_name = {}
            for site in (*self._search_path.sites, *self._search_path.roots):
                for name, path in sorted(self._search_path.listing(site).items()):
                    if name.endswith(_METADATA_SUFFIXES):
                        self._directories_by_name.setdefault(_distribution_name(path), []).append(path)
        return self._directories_by_name


def _normalized(name: str) -> str:
    """The name by the PyPA specification "Names and normalization"."""
    return _SEPARATORS.sub("-", name).lower()


def _distribution_name(directory: str) -> str:
    """The normalized name of the distribution with that metadata directory."""
    return _normalized(paths.name(directory).rpartition(".")[0].partition("-")[0])
