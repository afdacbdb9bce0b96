"""The metadata of installed distributions: what importlib.metadata and pkg_resources read.

Sources: the PyPA specifications "Recording installed projects" (NAME-VERSION.dist-info with METADATA, RECORD,
entry_points.txt) and "Entry points"; setuptools' older NAME-VERSION.egg-info (PKG-INFO, top_level.txt).
"""

import re
from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Contents
from slimtrace.reason.languages.pythonlayout import Layout

_SUFFIXES = (".dist-info", ".egg-info")
_DESCRIPTIONS = ("METADATA", "PKG-INFO")
_RUN = re.compile(r"[-_.]+")
_SECTION = re.compile(r"\[\s*([^\]]+?)\s*\]")
_OBJECT = re.compile(r"[^=]*=\s*([\w.]+)")
MAX_LINES = 5000
# Groups of entry points that are programs: what starts them is a file of its own.
_PROGRAMS = ("console_scripts", "gui_scripts")


class Distributions:
    """The distributions on a layout's search path."""

    def __init__(self, layout: Layout, contents: Contents) -> None:
        self._layout = layout
        self._contents = contents

    def metadata(self, name: str) -> tuple[str, ...]:
        """The descriptions of the distribution `name`; of all of them for ""."""
        wanted = _normal(name)
        found = (self._description(place) for place in self._places() if not name or _name(place) == wanted)
        return tuple(path for path in found if path)

    def owning(self, source: str) -> tuple[str, ...]:
        """The description of the distribution that a file belongs to, told by the name of its package."""
        site = next((site for site in self._layout.sites if paths.below(source, site)), "")
        top = source[len(site) + 1 :].partition("/")[0].removesuffix(".py") if site else ""
        return self.metadata(top) if top else ()

    def entry_points(self, group: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The files that asking for a group of entry points reads, and the modules that it leads to. For ""
        (a group that is not known) the files of all."""
        files: list[str] = []
        modules: list[str] = []
        for place in self._places():
            path = self._layout.listing(place).get("entry_points.txt", "")
            if not path:
                continue
            names = list(self._modules(path, group))
            if names or not group:
                files += (path, self._description(place))
                modules += names
        return tuple(file for file in files if file), tuple(dict.fromkeys(modules))

    def _modules(self, path: str, group: str) -> Iterator[str]:
        section = ""
        for line in (self._contents.text(path) or "").splitlines()[:MAX_LINES]:
            line = line.strip()
            if head := _SECTION.fullmatch(line):
                section = head[1]
            elif section == group and section not in _PROGRAMS and (entry := _OBJECT.match(line)):
                yield entry[1]

    def _description(self, place: str) -> str:
        names = self._layout.listing(place)
        return next((names[name] for name in _DESCRIPTIONS if name in names), "")

    def _places(self) -> Iterator[str]:
        for site in (*self._layout.sites, *self._layout.roots):
            for name, path in sorted(self._layout.listing(site).items()):
                if name.endswith(_SUFFIXES):
                    yield path


def _normal(name: str) -> str:
    return _RUN.sub("-", name).lower()


def _name(place: str) -> str:
    """The normalized name of the distribution whose metadata lie at `place`."""
    return _normal(paths.name(place).rpartition(".")[0].partition("-")[0])
