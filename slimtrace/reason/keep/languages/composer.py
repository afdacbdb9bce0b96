"""Where Composer's autoloader finds a class.

Source: getcomposer.org/doc/04-schema.md#autoload, and what Composer's AutoloadGenerator writes into
vendor/composer: autoload_psr4.php, autoload_namespaces.php (PSR-0), autoload_classmap.php, autoload_files.php.
They are read as text; PHP is not run.
"""

import re
from collections.abc import Callable, Iterator, Mapping

from slimtrace.facts import paths
from slimtrace.facts.capture import Contents
from slimtrace.facts.tree import FileTree, Kind

_MAP_KEY = re.compile(r"\s*'([^'\n]{1,400})' => ")
_MAP_PATH = re.compile(r"\$(vendorDir|baseDir)(?: \. '([^'\n]*)')?|__DIR__ \. '([^'\n]*)'")
_BASE_DIR = re.compile(r"\$baseDir = ([^;\n]{0,200});")
_RelativePath = Callable[[str, str], str]
MAX_LINE = 10_000
MAX_ENTRIES = 200_000


class Autoloader:
    """The autoloader of one vendor/composer directory."""

    def __init__(self, tree: FileTree, contents: Contents, directory: str) -> None:
        self._tree = tree
        self._contents = contents
        self._directory = directory
        self._class_map = {name: found[0] for name, found in self._read_map("autoload_classmap.php") if found}
        self._psr4 = dict(self._read_map("autoload_psr4.php"))
        self._psr0 = dict(self._read_map("autoload_namespaces.php"))

    def files(self) -> Iterator[str]:
        """The files that requiring the autoloader loads at once (Composer's autoload "files")."""
        for _, found in self._read_map("autoload_files.php"):
            yield from filter(self._is_file, found)

    def find_class(self, name: str) -> Iterator[str]:
        """The file that the autoloader would load for the class of this fully qualified name; nothing where no
        map leads to a file."""
        if mapped := self._class_map.get(name):
            yield from (mapped,) if self._is_file(mapped) else ()
            return
        yield from self._find_by_prefix(self._psr4, name, lambda rest, _: rest.replace("\\", "/"))
        yield from self._find_by_prefix(self._psr0, name, lambda _, whole: _psr0(whole))

    def _find_by_prefix(
        self, prefixes: Mapping[str, tuple[str, ...]], name: str, relative_path: _RelativePath
    ) -> Iterator[str]:
        """The first file of that class below the directories of a prefix; longer prefixes go first.
        `relative_path` makes the path, without its ending, from the rest of the name and the whole name."""
        end = len(name)
        while end >= 0:
            prefix = name[:end]
            for directory in prefixes.get(prefix, ()):
                path = paths.join(directory, f"{relative_path(name[end:], name)}.php")
                if self._is_file(path):
                    yield path
                    return
            end -= 1

    def _is_file(self, path: str) -> bool:
        entry = self._tree.resolve(path).entry
        return entry is not None and entry.kind is Kind.FILE

    def _read_map(self, name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The entries of the map in the file `name`: key and paths."""
        path = self._tree.resolve(f"{self._directory}/{name}").path
        entry = self._tree.get(path)
        text = self._contents.text(path) if entry and entry.kind is Kind.FILE else None
        vendor = paths.parent(self._directory)
        base = paths.parent(vendor)
        if text and (base_setting := _BASE_DIR.search(text)):
            for _ in range(min(base_setting[1].count("dirname("), 20) - 1):
                base = paths.parent(base)
        for count, line in enumerate((text or "").split("\n")):
            key = _MAP_KEY.match(line[:MAX_LINE])
            if key and count < MAX_ENTRIES:
                found_paths = tuple(
                    paths.join(vendor if match[1] == "vendorDir" else base, (match[2] or "").lstrip("/"))
                    if match[1]
                    else paths.join(self._directory, match[3].lstrip("/"))
                    for match in _MAP_PATH.finditer(line[key.end() : MAX_LINE])
                )
                yield key[1].replace("\\\\", "\\"), found_paths


def _psr0(name: str) -> str:
    """The path of a class by PSR-0: underscores in the last part of its name separate directories too."""
    namespace, _, last = name.rpartition("\\")
    return (namespace.replace("\\", "/") + "/" if namespace else "") + last.replace("_", "/")
