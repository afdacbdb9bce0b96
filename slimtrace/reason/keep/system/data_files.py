"""Files that a program opens by a name which it puts together: ``"%s/tsearch_data/%s.%s"``.

Where a string of an ELF file is such a format, the directory in it stands beside files that were read, and is
nobody's but the program's (three names deep at least), the files in it that fit are kept.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cached_property

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.evidence import Claim
from slimtrace.reason.keep.system.capture_view import Sight

MAX_FILES = 500  # of one directory: more is a database, of which a part would be no use
DEEP = 3  # names in the path of a directory that is one program's own: /usr/share/postgresql
_CONVERSION = re.compile(r"%[-+ #0-9.]*l{0,2}[a-zA-Z]")  # printf(3)
_GLOB = re.compile(r"([\[*?])")


class DataFiles:
    """Asked of each ELF file."""

    def __init__(self, capture: Capture) -> None:
        self._sight = Sight(capture)

    def found(self, path: str) -> Iterator[Claim]:
        """The files in directories that the formats in the ELF file at `path` name."""
        for text in self._sight.named(path, "files"):
            directory, _, name = text.lstrip("%s").lstrip("/").rpartition("/")
            pattern = _CONVERSION.sub("*", _GLOB.sub(r"[\1]", name))
            for place in self._places:
                yield from self._fitting(f"{place}/{directory}", pattern, path, text)

    def _fitting(self, directory: str, pattern: str, by: str, of: str) -> Iterator[Claim]:
        tree = self._sight.tree
        found = tree.resolve(directory)
        if found.entry is None or found.entry.kind is not Kind.DIR or found.path.count("/") < DEEP:
            return
        files = [path for path in tree.children(found.path) if tree[path].kind in (Kind.FILE, Kind.LINK)]
        if len(files) <= MAX_FILES:
            for path in files:
                if fnmatchcase(paths.name(path), pattern):
                    yield from self._sight.claim(path, by, of)

    @cached_property
    def _places(self) -> tuple[str, ...]:
        """The directories of which a file was read."""
        above = {paths.parent(path) for path in self._sight.read}
        return tuple(sorted(place for place in above if place.count("/") >= DEEP))
