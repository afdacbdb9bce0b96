"""Readers, one for each language: what a file in that language names, found without executing anything.

Each module or package here has a function ``mentions(stream)``: from a file, open at its beginning, to its
Mentions, in the order of their lines. Whatever the content, a reader raises nothing but OSError, and takes time
in proportion to the bytes that it reads: of a text at most SOURCE_LIMIT.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import BinaryIO

from slimtrace.facts.mentions import Language, Mention

SOURCE_LIMIT = 1 << 22  # bytes that are read of a text
MAX_MENTIONS = 20_000  # of one file; a file with more is a forged one


@cache
def reader(language: Language) -> Callable[[BinaryIO], tuple[Mention, ...]]:
    """The reader of `language`."""
    found: Callable[[BinaryIO], tuple[Mention, ...]] = import_module(f"{__name__}.{language}").mentions
    return found


def read(language: Language, stream: BinaryIO) -> tuple[Mention, ...]:
    """What the file open as `stream` names: its first MAX_MENTIONS mentions. Raises OSError where it cannot be
    read."""
    return reader(language)(stream)[:MAX_MENTIONS]
