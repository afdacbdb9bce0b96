"""What ``slimtrace why`` prints."""

import sys
from collections.abc import Sequence
from typing import TextIO

from slimtrace.present.page import Row, Section, Tone, many, row, size, write
from slimtrace.reason.explain.why import DirectoryTotals, Explanation, Link, Step, Verdict

_TONES: dict[Verdict, Tone] = {Verdict.KEPT: "good", Verdict.DROPPED: "warn", Verdict.ABSENT: "bad"}


def print_explanation(
    explanation: Explanation, slim: str, cautions: Sequence[str], stream: TextIO | None = None
) -> None:
    """Print why a path is in the image named `slim` ("" for one that is not built), or why not."""
    sections = [
        *_explanation_sections(explanation, slim or "the slim image"),
        Section("Beware", [row("-", text, tone="warn") for text in cautions]),
    ]
    write(sections, stream or sys.stdout)


def _explanation_sections(explanation: Explanation, slim: str, begin: str = "") -> list[Section]:
    sections = [
        Section("", [row(_verdict(explanation, slim, begin), tone=_TONES[explanation.verdict])]),
        Section("On the way", [_link(link) for link in explanation.links]),
        Section("From the container's start", [_step(step) for step in explanation.chain]),
        Section("All reasons", [row("-", text) for text in explanation.reasons]),
        Section("Why not", [row("-", each.text) for each in explanation.because]),
        Section("It", _facts(explanation)),
    ]
    if explanation.verdict is Verdict.DROPPED:
        command = f"--include-path {explanation.path} keeps it"
        sections.append(Section("To keep it", [row("-", command)]))
    return sections + (
        _explanation_sections(explanation.end, slim, "where it leads: ") if explanation.end else []
    )


def _verdict(explanation: Explanation, slim: str, begin: str) -> str:
    what = f"{begin}{explanation.path}"
    if explanation.target:
        what = f"{what}, a link to {explanation.target},"
    if explanation.verdict is Verdict.KEPT:
        return f"{what} is in {slim}"
    return f"{what} is not in {slim}"


def _link(link: Link) -> Row:
    dropped = "" if link.kept else " (dropped)"
    return row(link.path, f"leads to {link.target}{dropped}", tone="" if link.kept else "warn")


def _step(step: Step) -> Row:
    owned = f" ({step.package})" if step.package else ""
    return row(f"{step.path}{owned}", step.words)


def _facts(explanation: Explanation) -> list[Row]:
    rows = []
    if explanation.kind and explanation.kind != "link":
        rows.append(row("kind", explanation.kind))
    if explanation.kind == "file":
        rows.append(row("size", size(explanation.size)))
    if explanation.package:
        rows.append(row("package", explanation.package))
    rows += [row("also named", name) for name in explanation.names]
    if explanation.below:
        rows += _below(explanation.below)
    return rows


def _below(below: DirectoryTotals) -> list[Row]:
    return [
        row("kept below", f"{many(below.kept, 'file')}, {size(below.kept_bytes)}"),
        row("dropped below", f"{many(below.dropped, 'file')}, {size(below.dropped_bytes)}"),
    ]


__all__ = ["print_explanation"]
