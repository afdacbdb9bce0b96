"""The live view: what goes on, while it goes on, in two dresses with one interface.

On a terminal a view that is redrawn in place; elsewhere one plain line per phase, without control characters.
Both write to stderr, so that stdout holds nothing but the result. rich is imported only by the first.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TextIO

from slimtrace.facts.paths import printable
from slimtrace.facts.progress import Tally
from slimtrace.present.page import many, seconds, size, write_line
from slimtrace.reason.explain.report import PhaseTime

if TYPE_CHECKING:
    from slimtrace.present.frame import Drawing

NAME_WIDTH = 12  # the column of phase names; a longer name pushes its own line only


@dataclass(slots=True)
class Step:
    """One phase of the work as the screen knows it. Its owner may set `detail`, a short result such as
    ``412 files``; left empty, a phase that watched a recording tells its figures."""

    name: str
    ours: bool = True
    state: Literal["pending", "running", "done", "failed"] = "pending"
    detail: str = ""
    started: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Remark:
    """A line of the log."""

    text: str
    warning: bool = False


class Screen:
    """The plain dress, and what both dresses have in common: a context manager around the whole work."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._source: Callable[[], Tally] | None = None
        self._tally = Tally()
        self.steps: list[Step] = []
        self.remarks: list[Remark] = []
        self.kept_text = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    @property
    def phases(self) -> tuple[PhaseTime, ...]:
        """The times of the phases that have ended, in order."""
        ended = [step for step in self.steps if step.state in ("done", "failed")]
        return tuple(PhaseTime(step.name, step.seconds, step.ours) for step in ended)

    def plan(self, *names: str) -> None:
        """Say which phases will come, so that the view can show them as pending."""
        self.steps.extend(Step(name) for name in names)

    @contextlib.contextmanager
    def phase(self, name: str, ours: bool = True) -> Iterator[Step]:
        """Time a piece of the work; left by an exception, it is shown as failed. `ours` tells slimtrace's own
        work from waiting for the application."""
        step = next((step for step in self.steps if step.name == name and step.state == "pending"), None)
        if step is None:
            step = Step(name)
            # Before what is pending: an unplanned phase is running now.
            place = next((i for i, other in enumerate(self.steps) if other.state == "pending"), len(self.steps))
            self.steps.insert(place, step)
        step.ours, step.started, step.state = ours, self._clock(), "running"
        try:
            yield step
        except BaseException:
            self._end(step, "failed")
            raise
        self._end(step, "done")

    def watch(self, source: Callable[[], Tally] | None) -> None:
        """Show the figures of a recording from now on (None: keep the last). `source` is called from the thread
        that draws, eight times a second."""
        if source is None:
            self.tally()
        self._source = source

    def tally(self) -> Tally:
        """The newest figures."""
        if self._source is not None:
            # A view must never end a build: a source caught in the middle of a change is asked again later.
            with contextlib.suppress(Exception):
                self._tally = self._source()
        return self._tally

    def kept(self, count: int, files: int) -> None:
        """Show how many bytes and files the slim image will hold."""
        self.kept_text = f"{size(count)} in {many(files, 'file')}"

    def note(self, text: str) -> None:
        """Tell a single fact: a port listens, a probe was answered."""
        self._remark(Remark(printable(text)))

    def warn(self, text: str) -> None:
        """Tell something that the user should look into; it stays on the screen to the end."""
        self._remark(Remark(printable(text), warning=True))

    def entered(self) -> None:
        """Say that the user pressed Enter: the terminal's echo of it has moved the cursor."""

    def elapsed(self, step: Step) -> float:
        """The seconds that a phase has taken so far, or took."""
        return self._clock() - step.started if step.state == "running" else step.seconds

    def _end(self, step: Step, state: Literal["done", "failed"]) -> None:
        step.seconds = self.elapsed(step)
        step.state = state
        if not step.detail and self._source is not None:
            tally = self.tally()
            step.detail = f"{many(tally.files, 'file')}, {many(tally.calls, 'call')}"
        self._told(step)

    def _told(self, step: Step) -> None:
        words = ["failed"] if step.state == "failed" else []
        words += [printable(step.detail)] if step.detail else []
        self._line(f"{printable(step.name):<{NAME_WIDTH}}  {seconds(step.seconds):>7}  {', '.join(words)}")

    def _remark(self, remark: Remark) -> None:
        self.remarks.append(remark)
        self._line(f"warning: {remark.text}" if remark.warning else f"  {remark.text}")

    def _line(self, text: str) -> None:
        # Nobody may be reading any more; that is no reason to end a build.
        with contextlib.suppress(OSError, ValueError):
            write_line(text.rstrip(), self._stream)


class LiveScreen(Screen):
    """The dress for terminals."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream, clock)
        self._drawing: Drawing | None = None

    def __enter__(self) -> Self:
        from slimtrace.present.frame import Drawing

        self._drawing = Drawing(self, self._stream)
        self._drawing.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawing is not None:
            drawing, self._drawing = self._drawing, None
            drawing.stop()

    def entered(self) -> None:
        if self._drawing is not None:
            self._drawing.step_up()

    def _line(self, text: str) -> None:
        # While the view is up, it shows steps and remarks itself.
        if self._drawing is None:
            super()._line(text)


def screen(json: bool = False, stream: TextIO | None = None) -> Screen:
    """The screen for this run, on `stream` (default stderr). With `json` a program is reading: plain."""
    where = stream or sys.stderr
    return LiveScreen(where) if not json and _lively(where, os.environ) else Screen(_own(where))


def _own(stream: TextIO) -> TextIO:
    """The stream by a descriptor of its own: while BPF programs are compiled, descriptor 2 is turned away to
    catch what bcc prints, and lines must not vanish with it."""
    try:
        return os.fdopen(os.dup(stream.fileno()), "w", encoding=stream.encoding, errors="backslashreplace")
    except (OSError, ValueError):
        return stream  # it is no file


def _lively(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a view that redraws itself is welcome: a terminal that can, and nobody asked for quiet."""
    if any(environment.get(name) for name in ("NO_COLOR", "CI")):
        return False
    return stream.isatty() and environment.get("TERM", "dumb") not in ("", "dumb", "unknown")


__all__ = ["LiveScreen", "Remark", "Screen", "Step", "screen"]
