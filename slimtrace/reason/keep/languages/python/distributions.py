"""The metadata of installed distributions: what importlib.metadata and pkg_resources read.

Sources: the PyPA specifications "Recording installed projects" (NAME-VERSION.dist-info with METADATA, RECORD,
entry_points.txt) and "Entry points"; setuptools' older NAME-VERSION.egg-info (PKG-INFO, top_level.txt).
"""

import re

from slimtrace.facts import paths
from slimtrace.facts.capture import Contents
from slimtrace.reason.keep.languages.python.search_path import Layout

_SUFFIXES = (".dist-info", ".egg-info")
_DESCRIPTIONS = ("METADATA", "PKG-INFO")
_RUN = re.compile(r"[-_.]+")
_SECTION = re.compile(r"\[\s*([^\]]+?)\s*\]")
_OBJECT = re.compile(r"[^=]*=\s*([\w.]+)")
MAX_LINES = 5000
MAX_LINE = 500
# Groups of entry points that are programs: what starts them is a file of its own.
_PROGRAMS = ("console_scripts", "gui_scripts")


class Distributions:
    """The distributions on a layout's search path."""

    def __init__(self, layout: Layout, contents: Contents) -> None:
        self._layout = layout
        self._contents = contents
        self._known: dict[str, list[str]] | None = None
        self._groups: dict[str, dict[str, list[str]]] | None = None

    def metadata(self, name: str) -> tuple[str, ...]:
        """The descriptions of the distribution `name`; of all of them for ""."""
        known = self._places()
        places = known.get(_normal(name), []) if name else [one for many in known.values() for one in many]
        return tuple(path for place in places if (path := self._description(place)))

    def owning(self, source: str) -> tuple[str, ...]:
        """The description of the distribution that a file belongs to, told by the name of its package."""
        top = self._layout.distribution(source).removesuffix(".py")
        return self.metadata(top) if top else ()

    def entry_points(self, group: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The files that asking for a group of entry points reads, and the modules that it leads to. For ""
        (a group that is not known) the files of all."""
        if self._groups is None:
            self._groups = {}
            for places in self._places().values():
                for place in places:
                    if path := self._layout.listing(place).get("entry_points.txt", ""):
                        self._groups[path] = self._read(path)
        files: list[str] = []
        modules: list[str] = []
        for path, groups in self._groups.items():
            if group in groups or not group:
                files += (path, self._description(paths.parent(path)))
                modules += groups.get(group, ())
        return tuple(file for file in files if file), tuple(dict.fromkeys(modules))

    def _read(self, path: str) -> dict[str, list[str]]:
        """The modules by group, but for those of programs."""
        found: dict[str, list[str]] = {}
        section = ""
        for line in (self._contents.text(path) or "").splitlines()[:MAX_LINES]:
            line = line.strip()[:MAX_LINE]
            if head := _SECTION.fullmatch(line):
                section = head[1]
            elif section not in _PROGRAMS and (entry := _OBJECT.match(line)):
                found.setdefault(section, []).append(entry[1])
        return found

    def _description(self, place: str) -> str:
        names = self._layout.listing(place)
        return next((names[name] for name in _DESCRIPTIONS if name in names), "")

    def _places(self) -> dict[str, list[str]]:
        """The directories with metadata by the distribution's normalized name."""
        if self._known is None:
            self._known = {}
            for site in (*self._layout.sites, *self._layout.roots):
                for name, path in sorted(self._layout.listing(site).items()):
                    if name.endswith(_SUFFIXES):
                        self._known.setdefault(_name(path), []).append(path)
        return self._known


def _normal(name: str) -> str:
    return _RUN.sub("-", name).lower()


def _name(place: str) -> str:
    """The normalized name of the distribution whose metadata lie at `place`."""
    return _normal(paths.name(place).rpartition(".")[0].partition("-")[0])
