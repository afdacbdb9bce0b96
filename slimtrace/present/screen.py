"""What a screen shows of the work: its steps, its remarks, and the figures of the current recording.

`Screen` is the plain screen, one line per step on a stream without control characters. The live view for
terminals (live.py) has the same interface; its frames (frame.py) are drawn from the data here.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self, TextIO

from slimtrace.facts.paths import printable
from slimtrace.facts.progress import Tally
from slimtrace.present.page import many, seconds, size, write_line
from slimtrace.reason.explain.report import PhaseTime

NAME_WIDTH = 12  # the column of phase names; a longer name pushes its own line only


@dataclass(slots=True)
class Step:
    """One phase of the work as the screen knows it. The code in the phase may set `detail`, a short result
    such as ``412 files``; if it is empty, a phase that watched a recording shows the recording's figures."""

    name: str
    ours: bool = True
    state: Literal["pending", "running", "done", "failed"] = "pending"
    detail: str = ""
    started: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Remark:
    """A note or a warning: one line."""

    text: str
    warning: bool = False


class Screen:
    """The plain screen, and what both screens have in common: a context manager around the whole work."""

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
        """Announce the phases, so that the live view can show them as pending."""
        self.steps.extend(Step(name) for name in names)

    @contextlib.contextmanager
    def phase(self, name: str, ours: bool = True) -> Iterator[Step]:
        """Time a piece of the work. A phase that an exception leaves is shown as failed. `ours` tells
        slimtrace's own work from waiting for the application."""
        step = next((step for step in self.steps if step.name == name and step.state == "pending"), None)
        if step is None:
            step = Step(name)
            # Before the pending phases: an unplanned phase is running now.
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
            # A view must never end a build: a source that fails during a change is called again later.
            with contextlib.suppress(Exception):
                self._tally = self._source()
        return self._tally

    def show_kept(self, count: int, files: int) -> None:
        """Show how many bytes and files the slim image will hold."""
        self.kept_text = f"{size(count)} in {many(files, 'file')}"

    def note(self, text: str) -> None:
        """Show a single fact: a port listens, a probe was answered."""
        self._remark(Remark(printable(text)))

    def warn(self, text: str) -> None:
        """Show something that the user should look into; it stays on the screen to the end."""
        self._remark(Remark(printable(text), warning=True))

    def enter_pressed(self) -> None:
        """To be called when the user has pressed Enter: the terminal's echo has moved the cursor."""

    def elapsed(self, step: Step) -> float:
        """The seconds that a phase has taken so far, or took."""
        return self._clock() - step.started if step.state == "running" else step.seconds

    def _end(self, step: Step, state: Literal["done", "failed"]) -> None:
        step.seconds = self.elapsed(step)
        step.state = state
        if not step.detail and self._source is not None:
            tally = self.tally()
            step.detail = f"{many(tally.files, 'file')}, {many(tally.calls, 'call')}"
        self._print_step(step)

    def _print_step(self, step: Step) -> None:
        words = ["failed"] if step.state == "failed" else []
        words += [printable(step.detail)] if step.detail else []
        self._line(f"{printable(step.name):<{NAME_WIDTH}}  {seconds(step.seconds):>7}  {', '.join(words)}")

    def _remark(self, remark: Remark) -> None:
        self.remarks.append(remark)
        self._line(f"warning: {remark.text}" if remark.warning else f"  {remark.text}")

    def _line(self, text: str) -> None:
        # The reader may be gone, which must not end a build.
        with contextlib.suppress(OSError, ValueError):
            write_line(text.rstrip(), self._stream)


__all__ = ["NAME_WIDTH", "Remark", "Screen", "Step"]
