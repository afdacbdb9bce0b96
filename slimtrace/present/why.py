"""``slimtrace why`` on the screen."""

import sys
from collections.abc import Sequence
from typing import TextIO

from slimtrace.present.page import Row, Section, Tone, many, row, size, write
from slimtrace.reason.explain.why import Account, Below, Link, Step, Verdict

_TONES: dict[Verdict, Tone] = {Verdict.KEPT: "good", Verdict.DROPPED: "warn", Verdict.ABSENT: "bad"}


def explained(account: Account, slim: str, cautions: Sequence[str], stream: TextIO | None = None) -> None:
    """Print why a path is in the image named `slim` ("" for one that is not built), or why not."""
    sections = [
        *_account(account, slim or "the slim image"),
        Section("Beware", [row("-", text, tone="warn") for text in cautions]),
    ]
    write(sections, stream or sys.stdout)


def _account(account: Account, slim: str, begin: str = "") -> list[Section]:
    sections = [
        Section("", [row(_verdict(account, slim, begin), tone=_TONES[account.verdict])]),
        Section("On the way", [_link(link) for link in account.links]),
        Section("From the container's start", [_step(step) for step in account.chain]),
        Section("All reasons", [row("-", text) for text in account.reasons]),
        Section("Why not", [row("-", each.text) for each in account.because]),
        Section("It", _facts(account)),
    ]
    if account.verdict is Verdict.DROPPED:
        command = f"--include-path {account.path} keeps it"
        sections.append(Section("To keep it", [row("-", command)]))
    return sections + (_account(account.end, slim, "where it leads: ") if account.end else [])


def _verdict(account: Account, slim: str, begin: str) -> str:
    what = f"{begin}{account.path}"
    if account.target:
        what = f"{what}, a link to {account.target},"
    if account.verdict is Verdict.KEPT:
        return f"{what} is in {slim}"
    return f"{what} is not in {slim}"


def _link(link: Link) -> Row:
    dropped = "" if link.kept else " (dropped)"
    return row(link.path, f"leads to {link.target}{dropped}", tone="" if link.kept else "warn")


def _step(step: Step) -> Row:
    owned = f" ({step.package})" if step.package else ""
    return row(f"{step.path}{owned}", step.words)


def _facts(account: Account) -> list[Row]:
    rows = []
    if account.kind and account.kind != "link":
        rows.append(row("kind", account.kind))
    if account.kind == "file":
        rows.append(row("size", size(account.size)))
    if account.package:
        rows.append(row("package", account.package))
    rows += [row("also named", name) for name in account.names]
    if account.below:
        rows += _below(account.below)
    return rows


def _below(below: Below) -> list[Row]:
    return [
        row("kept below", f"{many(below.kept, 'file')}, {size(below.kept_bytes)}"),
        row("dropped below", f"{many(below.dropped, 'file')}, {size(below.dropped_bytes)}"),
    ]


__all__ = ["explained"]
