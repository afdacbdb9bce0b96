"""Readers: what a file in some language names, read without executing anything.

Each module has ``mentions(stream)``: a file, open at its beginning, to its Mentions, in the order of their
lines. A reader never raises but OSError, whatever the content, and takes time in proportion to the bytes it
reads: of a text at most SOURCE_LIMIT.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import BinaryIO

from slimtrace.facts.mentions import Language, Mention

SOURCE_LIMIT = 1 << 22  # bytes of a text
MAX_MENTIONS = 20_000  # of one file; more is a forged one


@cache
def reader(language: Language) -> Callable[[BinaryIO], tuple[Mention, ...]]:
    """The reader of `language`."""
    found: Callable[[BinaryIO], tuple[Mention, ...]] = import_module(f"{__name__}.{language}").mentions
    return found


def read(language: Language, stream: BinaryIO) -> tuple[Mention, ...]:
    """What the file open as `stream` names, as far as MAX_MENTIONS. Raises OSError where it cannot be read."""
    return reader(language)(stream)[:MAX_MENTIONS]
