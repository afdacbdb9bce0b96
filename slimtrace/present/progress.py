"""One line on a terminal that shows how many bytes a long read has read; it is erased at the end."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from slimtrace.present.page import size

DELAY = 1.0  # seconds before the line appears
PERIOD = 0.2  # seconds between two updates of the line


@contextmanager
def counting(
    doing: str, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int], None]]:
    """Yields the function to call with the number of bytes read so far. `doing` is the line's label: text of
    slimtrace's own, printed as it is."""
    where = stream or sys.stderr
    if not where.isatty():
        yield lambda _count: None
        return
    due = clock() + DELAY
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
    with suppress(OSError, ValueError):  # the terminal may be gone
        stream.write(text)
        stream.flush()


__all__ = ["counting"]
