"""One line that tells how far a long reading has come, on a terminal, gone when it is over."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from slimtrace.present.page import size

PATIENCE = 1.0  # seconds before there is anything to see
PERIOD = 0.2  # seconds between two changes of it


@contextmanager
def counting(
    doing: str, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int], None]]:
    """Inside, what is yielded takes the bytes read so far. `doing` is in slimtrace's own words."""
    where = stream or sys.stderr
    if not where.isatty():
        yield lambda _count: None
        return
    due = clock() + PATIENCE
    shown = False

    def count(done: int) -> None:
        nonlocal due, shown
        if clock() >= due:
            due, shown = clock() + PERIOD, True
            _put(where, f"\r{doing}: {size(done)}\x1b[K")

    try:
        yield count
    finally:
        if shown:
            _put(where, "\r\x1b[K")


def _put(stream: TextIO, text: str) -> None:
    with suppress(OSError, ValueError):  # nobody may be looking any more
        stream.write(text)
        stream.flush()


__all__ = ["counting"]
