"""The frames of the live view: what a Screen knows, fitted to the size of the terminal; their redrawing."""

import contextlib
import os
import threading
from typing import TextIO

from rich.cells import cell_len, get_character_cell_size
from rich.console import Console, Group, RenderableType
from rich.control import Control
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from slimtrace.facts.paths import printable
from slimtrace.facts.progress import Tally
from slimtrace.present.page import seconds
from slimtrace.present.screen import NAME_WIDTH, Remark, Screen, Step

REDRAWS_PER_SECOND = 8
NEWEST_SHOWN = 10
REMARKS_SHOWN = 6
RECENT = 50  # newest remarks among which the shown ones are chosen
MAX_WIDTH = 100  # enough for a path; while a terminal is made narrower, down to this, no line wraps
_MARKS = {
    "pending": ("·", "dim"),
    "running": ("●", "cyan"),
    "done": ("✓", "green"),
    "failed": ("✗", "bold red"),
}
_PLAIN_MARKS = {"pending": ".", "running": ">", "done": "+", "failed": "x"}


class TerminalView:
    """The view on the terminal from `start` to `stop`. `stop` leaves the phases and the warnings on the
    terminal and the cursor visible, whatever happened."""

    def __init__(self, screen: Screen, stream: TextIO) -> None:
        self._screen = screen
        # A descriptor of its own: while BPF programs are compiled, descriptor 2 is redirected to catch what bcc
        # prints, and the view must not go there.
        self._file = os.fdopen(
            os.dup(stream.fileno()), "w", encoding=stream.encoding, errors="backslashreplace"
        )
        self._console = Console(file=self._file, highlight=False, emoji=False, markup=False)
        self._finished = threading.Event()
        self._live = Live(
            console=self._console,
            get_renderable=self._frame,
            refresh_per_second=REDRAWS_PER_SECOND,
            redirect_stdout=False,  # stdout belongs to the result
            redirect_stderr=True,
            vertical_overflow="crop",
        )

    def start(self) -> None:
        self._live.start(refresh=True)

    def stop(self) -> None:
        self._finished.set()
        try:
            self._live.stop()
        finally:
            # The terminal may be gone (a closed window): then no cursor needs to be restored.
            with contextlib.suppress(OSError, ValueError):
                self._file.close()

    def step_up(self) -> None:
        """Move the cursor back up one line, which the terminal's echo of Enter has moved it down."""
        self._console.control(Control.move(0, -1))

    def _frame(self) -> RenderableType:
        width, height = self._measure()
        return frame(self._screen, width, height, self._finished.is_set(), self._console)

    def _measure(self) -> tuple[int, int]:
        """The terminal's size now: width (at most MAX_WIDTH) and height. rich would ask other descriptors,
        which need not be terminals."""
        try:
            columns, lines = os.get_terminal_size(self._file.fileno())
        except OSError:
            columns = lines = 0
        self._console.size = (columns or 80, lines or 24)
        return min(columns or 80, MAX_WIDTH), lines or 24


def frame(screen: Screen, width: int, height: int, finished: bool, console: Console) -> RenderableType:
    """One frame of at most `width` cells and, while the work goes on, `height` - 1 lines. Where not everything
    fits, this is left out first: newest files, then remarks, phases to come, phases that are done, the figures.
    When the work is `finished`, the phases and the warnings remain, in full."""
    if finished:
        begun = [step for step in screen.steps if step.state != "pending"]
        warnings = [remark for remark in screen.remarks if remark.warning]
        return Group(
            *(_step_line(screen, step, width, console) for step in begun),
            *(_remark_line(remark, 0) for remark in warnings),
        )
    tally = screen.tally()
    figures = _figures(tally, screen.kept_text, width - 4)
    panel_lines = len(figures) + 2 if screen.kept_text or tally.events else 0
    steps = _steps_that_fit(screen.steps, height - 1 - panel_lines)
    room = height - 1 - len(steps)
    if room < panel_lines:
        panel_lines = 0
    room -= panel_lines
    remarks = _remarks_to_show(screen.remarks, min(REMARKS_SHOWN, (room + 1) // 2))
    newest = tally.newest[-min(NEWEST_SHOWN, room - len(remarks)) :] if room > len(remarks) else ()
    parts: list[RenderableType] = [_step_line(screen, step, width, console) for step in steps]
    if panel_lines:
        lines = [*figures, *(Text(_tail(printable(path), width - 4), style="dim") for path in newest)]
        title = Text("traced")
        parts.append(Panel(Group(*lines), title=title, title_align="left", width=width, border_style="dim"))
    parts += [_remark_line(remark, width) for remark in remarks]
    return Group(*parts)


def _steps_that_fit(steps: list[Step], room: int) -> list[Step]:
    """The steps to show on `room` lines, the running one always. Left out are first the pending steps, from the
    last one, then the steps that are done, from the oldest."""
    shown = list(steps)
    while len(shown) > max(room, 1):
        if shown[-1].state == "pending":
            shown.pop()
        else:
            shown.pop(0)
    return shown


def _remarks_to_show(remarks: list[Remark], count: int) -> list[Remark]:
    """The newest remarks, at most `count`, in order; warnings outlive notes where there is no place for all."""
    recent = list(enumerate(remarks))[-RECENT:]
    recent.sort(key=lambda item: (item[1].warning, item[0]))
    return [remark for _, remark in sorted(recent[len(recent) - min(count, len(recent)) :], key=lambda i: i[0])]


def _step_line(screen: Screen, step: Step, width: int, console: Console) -> Text:
    mark, style = _MARKS[step.state]
    if not _can_show(mark, console):
        mark = _PLAIN_MARKS[step.state]
    line = Text(f"{mark} ", style=style)
    line.append(f"{printable(step.name):<{NAME_WIDTH}}", style="dim" if step.state == "pending" else "")
    if step.state != "pending":
        line.append(f" {seconds(screen.elapsed(step)):>7}")
        line.append(f"  {printable(step.detail)}" if step.detail else "", style="dim")
    line.rstrip()
    line.truncate(width, overflow="ellipsis")
    line.no_wrap = True
    return line


def _figures(tally: Tally, kept: str, width: int) -> list[Text]:
    """The figures on as few lines of `width` cells as they need; a label and its value stay together, for
    which rich's own wrapping has no means (it breaks at no-break spaces too)."""
    pairs = [
        ("events", f"{tally.events:,}", ""),
        ("lost", f"{tally.lost:,}", "bold red" if tally.lost else ""),
        ("files", f"{tally.files:,}", ""),
        ("calls", f"{tally.calls:,}", ""),
        ("processes", f"{tally.processes:,}", ""),
        ("ports", " ".join(map(str, tally.ports)), ""),
        ("kept", kept, ""),
    ]
    lines = [Text(no_wrap=True)]
    for label, value, style in pairs:
        if not value:
            continue
        pair = Text.assemble((f"{label} ", "dim"), (value, style or "bold"), no_wrap=True)
        if len(lines[-1]) and lines[-1].cell_len + 2 + pair.cell_len > width:
            lines.append(Text(no_wrap=True))
        elif len(lines[-1]):
            lines[-1].append("  ")
        lines[-1].append_text(pair)
    for line in lines:
        line.truncate(max(width, 1), overflow="ellipsis")
    return lines


def _remark_line(remark: Remark, width: int) -> Text:
    line = Text("warning: " if remark.warning else "  ", style="yellow" if remark.warning else "")
    line.append(remark.text, style="" if remark.warning else "dim")
    if width:
        line.truncate(width, overflow="ellipsis")
        line.no_wrap = True
    return line


def _tail(text: str, width: int) -> str:
    """The end of `text` in at most `width` cells: of a path the end is what tells it from its neighbours."""
    if cell_len(text) <= width:
        return text
    taken = 1  # the ellipsis
    start = len(text)
    while start > 0 and taken + get_character_cell_size(text[start - 1]) <= width:
        start -= 1
        taken += get_character_cell_size(text[start])
    return "…" + text[start:]


def _can_show(mark: str, console: Console) -> bool:
    try:
        mark.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
