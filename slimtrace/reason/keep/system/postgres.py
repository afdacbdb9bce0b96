"""PostgreSQL: libraries of functions that its catalogue names, such as those that convert between encodings.

``$libdir`` is a directory that is compiled into the server; the libraries that were loaded from it show which
one (dict_snowball when a database is made, plpgsql when it is used).
"""

from collections.abc import Iterator
from functools import cached_property

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.mentions import Language
from slimtrace.reason.keep.evidence import Claim, Depth
from slimtrace.reason.keep.system.capture_view import CaptureView

_ENDINGS = (".bki", ".sql", ".control")


class Postgres:
    """For the catalogue, scripts and control files of extensions that were read."""

    def __init__(self, capture: Capture) -> None:
        self._contents = capture.contents
        self._view = CaptureView(capture)

    def found(self, path: str) -> Iterator[Claim]:
        """Claims of the libraries that the file at `path` names."""
        if not path.endswith(_ENDINGS) or not self._libdirs:
            return
        for mention in self._contents.mentions(path, Language.POSTGRES):
            for place in self._libdirs:
                yield from self._view.claim(f"{place}/{mention.name}.so", path, mention.name, Depth.LIBRARY)

    @cached_property
    def _libdirs(self) -> tuple[str, ...]:
        """Directories below one named postgresql (or pgsql) that a library was read from."""
        found = {paths.parent(path) for path in self._view.read if path.endswith(".so")}
        return tuple(sorted(place for place in found if "/postgresql/" in place or "/pgsql" in place))
