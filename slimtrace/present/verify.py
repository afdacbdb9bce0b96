"""What is printed about trials of an image: its confinement, how it was tried, what differed."""

import sys
from collections.abc import Iterable
from typing import TextIO

from slimtrace.facts.confinement import Confinement
from slimtrace.facts.runs import Difference
from slimtrace.present.page import Row, Section, many, row, write
from slimtrace.reason.explain.report import Comparison, Report, Trial

SHOWN = 12  # repairs, or differences


def confinement_rows(report: Report) -> list[Row]:
    """How the container is confined, one row for each measure."""
    calls = f"{report.calls} system calls"
    if report.calls_default:
        calls += f", {report.calls_denied} of Docker's {report.calls_default} denied"
    rows = [row("seccomp", calls)]
    confinement = report.confinement
    if confinement is None:
        return rows
    rows.append(row("capabilities", ", ".join(confinement.cap_add) or "none"))
    yes = confinement.no_new_privileges
    rows.append(row("new privileges", "none" if yes else "allowed", tone="" if yes else "warn"))
    if confinement.read_only:
        rows.append(row("read-only", f"but for {_writable(confinement)}" if confinement.writable else "all"))
    else:
        rows.append(row("read-only", "no", tone="warn"))
    rows += [row("", note, tone="warn") for note in confinement.notes]
    return rows


def trial_rows(trial: Trial | None) -> list[Row]:
    """How the image was tried, and what was repaired."""
    if trial is None:
        return [row("not tried", "--no-verify", tone="warn")]
    under = ", ".join(trial.measures) or "no measure"
    rows = [
        row("verified", f"comes out as the fat image does, under {under}", tone="good"),
        row("trials", many(trial.attempts, "run")),
    ]
    repairs = trial.repairs
    groups = (
        ("path", repairs.paths),
        ("system call", (*repairs.calls, *dict.fromkeys(each.call for each in repairs.arguments))),
        ("capability", repairs.capabilities),
        ("writable", repairs.writable),
    )
    for kind, pieces in groups:
        if pieces:
            rows.append(row("repaired", f"{kind} {_abridged(pieces)}"))
    return rows


def print_profiles(report: Report, stream: TextIO | None = None) -> None:
    """Print the result of `slimtrace profile`."""
    sections = [
        Section("", [row(f"profiles of {report.fat.reference}", tone="bold")]),
        Section("Confined", confinement_rows(report)),
        Section("Tried", trial_rows(report.trial)),
        Section("Doubts", [row(doubt.code, doubt.text, tone="warn") for doubt in report.doubts]),
        Section("Artifacts", [row(kind, where) for kind, where in report.artifacts.items()]),
    ]
    write(sections, stream or sys.stdout)


def print_comparison(found: Comparison, stream: TextIO | None = None) -> None:
    """Print what `slimtrace verify` found."""
    if found.same:
        head = row(f"{found.slim} comes out as {found.fat} does", tone="good")
    else:
        head = row(f"{found.slim} does not come out as {found.fat} does", tone="bad")
    under = [row("under", where) for where in found.profiles]
    if not under:
        under = [row("unconfined", "there are no artifacts of a build", tone="warn")]
    sections = [
        Section("", [head]),
        Section("Profiles", under),
        Section("Differences", _differences(found.differences)),
        Section("It lacked", [row("-", piece) for piece in found.missing[:SHOWN]]),
        Section("It listed a directory without", [row("-", path) for path in found.suspects[:SHOWN]]),
        Section("The fat image does not repeat", _differences(found.unsteady)),
    ]
    write(sections, stream or sys.stdout)


def _differences(differences: Iterable[Difference]) -> list[Row]:
    return [row(each.code, each.text) for each in tuple(differences)[:SHOWN]]


def _writable(confinement: Confinement) -> str:
    kinds = {True: "volume", False: "tmpfs"}
    return ", ".join(f"{place.path} ({kinds[place.volume]})" for place in confinement.writable)


def _abridged(pieces: Iterable[str]) -> str:
    found = tuple(pieces)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


__all__ = ["confinement_rows", "print_comparison", "print_profiles", "trial_rows"]
