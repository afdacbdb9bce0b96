"""A page of sections: the layout of all that is printed once, coloured on a terminal, plain elsewhere.

Callers hand in plain text, hostile or not; it is made printable here and shown as rich Text or plain lines, so
that no data is ever read as markup or reaches the terminal as a control sequence. rich is imported only when
the output goes to a terminal.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TextIO

from slimtrace.facts.paths import printable

Tone = Literal["", "good", "bad", "warn", "dim", "bold"]

STYLES: dict[Tone, str] = {
    "": "",
    "good": "green",
    "bad": "bold red",
    "warn": "yellow",
    "dim": "dim",
    "bold": "bold",
}
_UNITS = ("kB", "MB", "GB", "TB")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a section; `tone` colours its first cell on a terminal. A row of a single cell is a line to
    be copied: it is never broken or aligned."""

    cells: tuple[str, ...]
    tone: Tone = ""


def row(*cells: str, tone: Tone = "") -> Row:
    """A row of these cells."""
    return Row(cells, tone)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading (may be empty) and its rows; `right` are the columns aligned to the right, as numbers are."""

    title: str
    rows: Sequence[Row]
    right: frozenset[int] = frozenset()


def size(count: int) -> str:
    """A number of bytes in decimal units with three digits: ``28.1 MB``."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in _UNITS:
        value /= 1000
        if value < 999.5 or unit == _UNITS[-1]:
            break
    return f"{value:.0f} {unit}" if value >= 99.95 else f"{value:.{1 if value >= 9.995 else 2}f} {unit}"


def seconds(value: float) -> str:
    """Seconds with one decimal: ``1.8 s``."""
    return f"{value:.1f} s"


def many(count: int, noun: str, plural: str = "") -> str:
    """``1 file``, ``412 files``."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def write(sections: Iterable[Section], stream: TextIO) -> None:
    """Print the sections that have rows: coloured and fitted to the width on a terminal, else plain."""
    shown = [section for section in sections if section.rows]
    if stream.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        _write_rich(shown, stream)
    else:
        write_line("\n".join(_plain(shown)), stream)


def write_line(text: str, stream: TextIO) -> None:
    """Print one text as it is. A character that the stream's encoding lacks is printed as an escape and raises
    no error."""
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def _plain(sections: Sequence[Section]) -> list[str]:
    lines: list[str] = []
    for section in sections:
        if lines:
            lines.append("")
        if section.title:
            lines.append(printable(section.title))
        indent = "  " if section.title else ""
        rows = [[printable(cell) for cell in item.cells] for item in section.rows]
        widths: dict[int, int] = {}
        for cells in rows:
            for column, cell in enumerate(cells[:-1]):
                widths[column] = max(widths.get(column, 0), len(cell))
        # The last column is not padded on its right, but one aligned to the right needs its own width.
        for column in section.right:
            widths[column] = max((len(cells[column]) for cells in rows if len(cells) > column), default=0)
        for cells in rows:
            padded = [
                cell.rjust(widths[column]) if column in section.right else cell.ljust(widths.get(column, 0))
                for column, cell in enumerate(cells)
            ]
            lines.append((indent + ("  ".join(padded) if len(cells) > 1 else cells[0])).rstrip())
    return lines


def _write_rich(sections: Sequence[Section], stream: TextIO) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream, highlight=False, emoji=False, markup=False)
    for index, section in enumerate(sections):
        if index:
            console.print()
        if section.title:
            console.print(Text(printable(section.title), style="bold"))
        indent = 2 if section.title else 0
        columns = max(len(item.cells) for item in section.rows)
        if columns == 1:
            for item in section.rows:
                line = Text(" " * indent + printable(item.cells[0]), style=STYLES[item.tone])
                console.print(line, soft_wrap=True)
            continue
        table = Table.grid(padding=(0, 2, 0, 0))
        for column in range(columns):
            justify: Literal["left", "right"] = "right" if column in section.right else "left"
            table.add_column(justify=justify, overflow="fold")
        for item in section.rows:
            cells = [Text(printable(cell)) for cell in item.cells]
            cells[0].stylize(STYLES[item.tone])
            table.add_row(*cells)
        console.print(Padding(table, (0, 0, 0, indent), expand=False))


__all__ = ["STYLES", "Row", "Section", "Tone", "many", "row", "seconds", "size", "write", "write_line"]
