"""Where Composer's autoloader finds a class.

Source: getcomposer.org/doc/04-schema.md#autoload, and what Composer's AutoloadGenerator writes into
vendor/composer: autoload_psr4.php, autoload_namespaces.php (PSR-0), autoload_classmap.php, autoload_files.php.
All are read as text.
"""

import re
from collections.abc import Callable, Iterator, Mapping

from slimtrace.facts import paths
from slimtrace.facts.capture import Contents
from slimtrace.facts.tree import FileTree, Kind

_KEY = re.compile(r"\s*'([^'\n]{1,400})' => ")
_PLACE = re.compile(r"\$(vendorDir|baseDir)(?: \. '([^'\n]*)')?|__DIR__ \. '([^'\n]*)'")
_BASE = re.compile(r"\$baseDir = ([^;\n]{0,200});")
_PathOf = Callable[[str, str], str]
MAX_LINE = 10_000
MAX_ENTRIES = 200_000


class Composer:
    """The autoloader of one vendor/composer directory."""

    def __init__(self, tree: FileTree, contents: Contents, directory: str) -> None:
        self._tree = tree
        self._contents = contents
        self._directory = directory
        self._classes = {name: places[0] for name, places in self._table("autoload_classmap.php") if places}
        self._psr4 = dict(self._table("autoload_psr4.php"))
        self._psr0 = dict(self._table("autoload_namespaces.php"))

    def files(self) -> Iterator[str]:
        """The files that are loaded at once."""
        for _, places in self._table("autoload_files.php"):
            yield from filter(self._is_file, places)

    def find(self, name: str) -> Iterator[str]:
        """The file that would be loaded for a class, by its whole name; none where there is none."""
        if mapped := self._classes.get(name):
            yield from (mapped,) if self._is_file(mapped) else ()
            return
        yield from self._by_prefix(self._psr4, name, lambda rest, _: rest.replace("\\", "/"))
        yield from self._by_prefix(self._psr0, name, lambda _, whole: _psr0(whole))

    def _by_prefix(self, table: Mapping[str, tuple[str, ...]], name: str, path_of: _PathOf) -> Iterator[str]:
        """The first file below the directories of the longest prefix that has one."""
        end = len(name)
        while end >= 0:
            prefix = name[:end]
            for place in table.get(prefix, ()):
                path = paths.join(place, f"{path_of(name[end:], name)}.php")
                if self._is_file(path):
                    yield path
                    return
            end -= 1

    def _is_file(self, path: str) -> bool:
        entry = self._tree.resolve(path).entry
        return entry is not None and entry.kind is Kind.FILE

    def _table(self, name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        path = self._tree.resolve(f"{self._directory}/{name}").path
        entry = self._tree.get(path)
        text = self._contents.text(path) if entry and entry.kind is Kind.FILE else None
        vendor = paths.parent(self._directory)
        base = paths.parent(vendor)
        if text and (found := _BASE.search(text)):
            for _ in range(min(found[1].count("dirname("), 20) - 1):
                base = paths.parent(base)
        for count, line in enumerate((text or "").split("\n")):
            key = _KEY.match(line[:MAX_LINE])
            if key and count < MAX_ENTRIES:
                places = tuple(
                    paths.join(vendor if place[1] == "vendorDir" else base, (place[2] or "").lstrip("/"))
                    if place[1]
                    else paths.join(self._directory, place[3].lstrip("/"))
                    for place in _PLACE.finditer(line[key.end() : MAX_LINE])
                )
                yield key[1].replace("\\\\", "\\"), places


def _psr0(name: str) -> str:
    """PSR-0: underscores in the last part are directories too."""
    space, _, last = name.rpartition("\\")
    return (space.replace("\\", "/") + "/" if space else "") + last.replace("_", "/")
