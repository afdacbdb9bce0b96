"""PostgreSQL: libraries of functions that its catalogue names, such as those that convert between encodings.

``$libdir`` is a place that the server was built with; it shows itself by the libraries that were loaded from it
(dict_snowball when a database is made, plpgsql when it is used).
"""

from collections.abc import Iterator
from functools import cached_property

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.mentions import Language
from slimtrace.reason.keep.evidence import Claim, Depth
from slimtrace.reason.keep.system.capture_view import Sight

_ENDINGS = (".bki", ".sql", ".control")


class Postgres:
    """Asked of the catalogue and the scripts that were read."""

    def __init__(self, capture: Capture) -> None:
        self._contents = capture.contents
        self._sight = Sight(capture)

    def found(self, path: str) -> Iterator[Claim]:
        """The libraries that the file at `path` names."""
        if not path.endswith(_ENDINGS) or not self._libdirs:
            return
        for mention in self._contents.mentions(path, Language.POSTGRES):
            for place in self._libdirs:
                yield from self._sight.claim(f"{place}/{mention.name}.so", path, mention.name, Depth.LIBRARY)

    @cached_property
    def _libdirs(self) -> tuple[str, ...]:
        """Directories below one named postgresql (or pgsql) that a library was read from."""
        found = {paths.parent(path) for path in self._sight.read if path.endswith(".so")}
        return tuple(sorted(place for place in found if "/postgresql/" in place or "/pgsql" in place))
