"""Finders: what kept files say that they need beyond what was seen, one finder a language or system facility.

Everything here is static: a file is read, never run. What a finder cannot resolve is a doubt with its place.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt
from slimtrace.reason.evidence import Claim


class Finder(Protocol):
    """Asked once for each regular file that the graph keeps for its content: executed, opened, mapped,
    imported, needed; not for one that was only looked at. `path` is resolved. It answers with the claims of
    that file (their `source` is `path`; each names what is there), and with doubts."""

    def found(self, path: str) -> Iterable[Claim | Doubt]: ...


Maker = Callable[[Capture], Finder]

# In the order in which they are asked.
MAKERS: Mapping[str, Maker] = {}


def finders(capture: Capture) -> tuple[Finder, ...]:
    """A finder of every kind for one capture."""
    return tuple(make(capture) for make in MAKERS.values())
