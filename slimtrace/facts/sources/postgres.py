"""PostgreSQL's catalogue files and SQL scripts: the libraries that functions are in.

One kind of mention: ``library``, the NAME of ``$libdir/NAME`` (PostgreSQL manual, Dynamic Loading).
"""

import re
from typing import BinaryIO

from slimtrace.facts.mentions import Mention
from slimtrace.facts.sources import SOURCE_LIMIT

_LIBRARY = re.compile(rb"\$libdir/([A-Za-z_][\w-]{0,62})")


def mentions(stream: BinaryIO) -> tuple[Mention, ...]:
    """The libraries that the file in `stream` names, each once, sorted."""
    names = {match[1].decode("ascii", "replace") for match in _LIBRARY.finditer(stream.read(SOURCE_LIMIT))}
    return tuple(Mention("library", name) for name in sorted(names))
