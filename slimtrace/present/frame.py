"""The picture of the live view: one frame of what a Screen knows, fitted to the terminal; its redrawing."""

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
from slimtrace.present.live import NAME_WIDTH, Remark, Screen, Step
from slimtrace.present.page import seconds

REDRAWS_PER_SECOND = 8
NEWEST_SHOWN = 10
REMARKS_SHOWN = 6
RECENT = 50  # older remarks have had their time
WIDEST = 100  # a path needs no more, and a terminal made narrower, down to this, leaves nothing torn
_MARKS = {
    "pending": ("·", "dim"),
    "running": ("●", "cyan"),
    "done": ("✓", "green"),
    "failed": ("✗", "bold red"),
}
_PLAIN_MARKS = {"pending": ".", "running": ">", "done": "+", "failed": "x"}


class Drawing:
    """The view on the terminal from `start` to `stop`. `stop` leaves the phases and the warnings standing and
    the cursor shown, whatever happened."""

    def __init__(self, screen: Screen, stream: TextIO) -> None:
        self._screen = screen
        # A descriptor of our own: while BPF programs are compiled, descriptor 2 is turned away to catch what
        # bcc prints, and the view must not vanish with it.
        self._file = os.fdopen(
            os.dup(stream.fileno()), "w", encoding=stream.encoding, errors="backslashreplace"
        )
        self._console = Console(file=self._file, highlight=False, emoji=False, markup=False)
        self._over = threading.Event()
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
        self._over.set()
        try:
            self._live.stop()
        finally:
            # The terminal may be gone (a closed window): then there is no cursor to care for.
            with contextlib.suppress(OSError, ValueError):
                self._file.close()

    def step_up(self) -> None:
        """Put the cursor back where the terminal's echo of a line break took it from."""
        self._console.control(Control.move(0, -1))

    def _frame(self) -> RenderableType:
        width, height = self._measure()
        return frame(self._screen, width, height, self._over.is_set(), self._console)

    def _measure(self) -> tuple[int, int]:
        """The terminal's size now; rich would ask other descriptors, which may be no terminals."""
        try:
            columns, lines = os.get_terminal_size(self._file.fileno())
        except OSError:
            columns = lines = 0
        self._console.size = (columns or 80, lines or 24)
        return min(columns or 80, WIDEST), lines or 24


def frame(screen: Screen, width: int, height: int, over: bool, console: Console) -> RenderableType:
    """One picture of at most `width` cells and, while the work goes on, `height` - 1 lines. What does not fit
    goes in this order: newest files, remarks, phases to come, phases that are done, the figures. When it is
    `over`, the phases and the warnings remain, in full."""
    if over:
        begun = [step for step in screen.steps if step.state != "pending"]
        warnings = [remark for remark in screen.remarks if remark.warning]
        return Group(
            *(_step_line(screen, step, width, console) for step in begun),
            *(_remark_line(remark, 0) for remark in warnings),
        )
    tally = screen.tally()
    figures = _figures(tally, screen.kept_text, width - 4)
    panel_lines = len(figures) + 2 if screen.kept_text or tally.events else 0
    steps = _fitting(screen.steps, height - 1 - panel_lines)
    room = height - 1 - len(steps)
    if room < panel_lines:
        panel_lines = 0
    room -= panel_lines
    remarks = _chosen(screen.remarks, min(REMARKS_SHOWN, (room + 1) // 2))
    newest = tally.newest[-min(NEWEST_SHOWN, room - len(remarks)) :] if room > len(remarks) else ()
    parts: list[RenderableType] = [_step_line(screen, step, width, console) for step in steps]
    if panel_lines:
        lines = [*figures, *(Text(_tail(printable(path), width - 4), style="dim") for path in newest)]
        title = Text("traced")
        parts.append(Panel(Group(*lines), title=title, title_align="left", width=width, border_style="dim"))
    parts += [_remark_line(remark, width) for remark in remarks]
    return Group(*parts)


def _fitting(steps: list[Step], room: int) -> list[Step]:
    """The steps to show on `room` lines, the running one always: first those to come are left out, the last
    first, then those that are done, the oldest first."""
    shown = list(steps)
    while len(shown) > max(room, 1):
        if shown[-1].state == "pending":
            shown.pop()
        else:
            shown.pop(0)
    return shown


def _chosen(remarks: list[Remark], count: int) -> list[Remark]:
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
