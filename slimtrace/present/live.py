"""The live view: the progress of the work, redrawn in place on a terminal; elsewhere the plain screen.

Both write to stderr, so that stdout holds nothing but the result. rich is imported only by the live view.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from slimtrace.present.screen import Screen

if TYPE_CHECKING:
    from slimtrace.present.frame import TerminalView


class LiveScreen(Screen):
    """The screen for terminals, redrawn in place."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream, clock)
        self._view: TerminalView | None = None

    def __enter__(self) -> Self:
        from slimtrace.present.frame import TerminalView

        self._view = TerminalView(self, self._stream)
        self._view.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._view is not None:
            view, self._view = self._view, None
            view.stop()

    def enter_pressed(self) -> None:
        if self._view is not None:
            self._view.step_up()

    def _line(self, text: str) -> None:
        # While the view is up, it shows steps and remarks itself.
        if self._view is None:
            super()._line(text)


def make_screen(json: bool = False, stream: TextIO | None = None) -> Screen:
    """The screen for this run, on `stream` (default stderr). With `json`, for a program: plain."""
    where = stream or sys.stderr
    return LiveScreen(where) if not json and _can_redraw(where, os.environ) else Screen(_duplicate(where))


def _duplicate(stream: TextIO) -> TextIO:
    """The stream on a descriptor of its own: while BPF programs are compiled, descriptor 2 is redirected to
    catch what bcc prints, and the screen's lines must not go there."""
    try:
        return os.fdopen(os.dup(stream.fileno()), "w", encoding=stream.encoding, errors="backslashreplace")
    except (OSError, ValueError):
        return stream  # it has no descriptor


def _can_redraw(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether to redraw in place: on a terminal that can, unless NO_COLOR or CI asks for plain output."""
    if any(environment.get(name) for name in ("NO_COLOR", "CI")):
        return False
    return stream.isatty() and environment.get("TERM", "dumb") not in ("", "dumb", "unknown")


__all__ = ["LiveScreen", "make_screen"]
