"""Files that a program opens by a name which it makes by a printf(3) format: ``"%s/tsearch_data/%s.%s"``.

Where a string of an ELF file is such a format, the directory in it is looked for below each directory that a
file was read from. The files in it that match the format are kept, if the directory is at least three names
deep and so the program's own.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cached_property

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.evidence import Claim
from slimtrace.reason.keep.system.capture_view import CaptureView

MAX_FILES = 500  # of one directory: one with more is a database, of which a part is of no use
MIN_DEPTH = 3  # names in the path of a directory that is one program's own: /usr/share/postgresql
_CONVERSION = re.compile(r"%[-+ #0-9.]*l{0,2}[a-zA-Z]")  # printf(3)
_GLOB = re.compile(r"([\[*?])")


class DataFiles:
    """For each ELF file: the files that its formats make the names of."""

    def __init__(self, capture: Capture) -> None:
        self._view = CaptureView(capture)

    def found(self, path: str) -> Iterator[Claim]:
        """Claims of the files that match the formats in the ELF file at `path`."""
        for text in self._view.named(path, "files"):
            directory, _, name = text.lstrip("%s").lstrip("/").rpartition("/")
            pattern = _CONVERSION.sub("*", _GLOB.sub(r"[\1]", name))
            for parent in self._read_directories:
                yield from self._matching(f"{parent}/{directory}", pattern, path, text)

    def _matching(self, directory: str, pattern: str, by: str, of: str) -> Iterator[Claim]:
        tree = self._view.tree
        found = tree.resolve(directory)
        if found.entry is None or found.entry.kind is not Kind.DIR or found.path.count("/") < MIN_DEPTH:
            return
        files = [path for path in tree.children(found.path) if tree[path].kind in (Kind.FILE, Kind.LINK)]
        if len(files) <= MAX_FILES:
            for path in files:
                if fnmatchcase(paths.name(path), pattern):
                    yield from self._view.claim(path, by, of)

    @cached_property
    def _read_directories(self) -> tuple[str, ...]:
        """The directories that a file was read from and that are deep enough."""
        above = {paths.parent(path) for path in self._view.read}
        return tuple(sorted(directory for directory in above if directory.count("/") >= MIN_DEPTH))
