"""What is printed once: the summary of a build, the summary of a capture, what doctor found, and an error."""

import shlex
import sys
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path, PurePath
from typing import TextIO

from slimtrace.errors import SlimtraceError
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Abi, Doubt, Phase, Trace
from slimtrace.facts.feature import FeatureResult, missing
from slimtrace.facts.paths import printable
from slimtrace.facts.runs import Probe
from slimtrace.present.page import Row, Section, Tone, many, row, seconds, size, write, write_line
from slimtrace.present.verify import confinement_rows, trial_rows
from slimtrace.reason.confine.docker_run import options
from slimtrace.reason.explain.report import Report

SUBJECTS_SHOWN = 3  # of one kind of doubt
PROBES_SHOWN = 10
ADDRESSES_SHOWN = 5
_STATE_TONES: dict[str, Tone] = {"yes": "good", "no": "bad", "unknown": "warn"}


def print_build(report: Report, stream: TextIO | None = None) -> None:
    """Print the result of a build, and the command that runs the slim image."""
    write(_build_sections(report), stream or sys.stdout)


def print_capture(capture: Capture, folder: Path, stream: TextIO | None = None) -> None:
    """Print what a recording, or a merge of several, holds, and what can be done with it."""
    write(_capture_sections(capture, folder), stream or sys.stdout)


def print_doctor(results: Sequence[FeatureResult], stream: TextIO | None = None) -> None:
    """Print which features this machine has, and for each missing one what is lost and how to mend it."""
    write(_doctor_sections(results), stream or sys.stdout)


def print_error(problem: SlimtraceError, stream: TextIO | None = None) -> None:
    """Print a failure to stderr, in the form that all of slimtrace's failures have."""
    where = stream or sys.stderr
    write_line(f"slimtrace: {printable(problem.message)}", where)
    if problem.hint:
        write_line(f"hint: {printable(problem.hint)}", where)
    if problem.log:
        write_line("its last lines:", where)
    for line in problem.log:
        write_line(f"  {printable(line)}", where)


def _build_sections(report: Report) -> list[Section]:
    fat, slim = report.fat, report.slim
    head = f"{slim.reference}: {size(fat.size)} -> {size(slim.size)}, {report.ratio:.1f} times smaller"
    images = [
        row("fat", size(fat.size), many(fat.files, "file"), fat.reference),
        row("slim", size(slim.size), many(slim.files, "file"), slim.reference),
    ]
    times = [
        row(item.name, seconds(item.seconds), "" if item.ours else "application") for item in report.phases
    ]
    own = f"{seconds(report.own_seconds)} of it slimtrace's own"
    times.append(row("whole", seconds(report.seconds), own, tone="bold"))
    return [
        Section("", [row(head, tone="bold")]),
        Section("Images", images, frozenset({1, 2})),
        Section("Time", times, frozenset({1})),
        Section("Probes", _probes(report.probes)),
        Section("Traced", _traced(report)),
        Section("Confined", confinement_rows(report)),
        Section("Tried", trial_rows(report.trial)),
        Section("Doubts", _doubts(report.doubts)),
        Section("Artifacts", [row(kind, where) for kind, where in report.artifacts.items()]),
        Section("Run it", [row(_run_command(report))]),
    ]


def _probes(probes: Sequence[Probe]) -> list[Row]:
    # Failed probes first: the reader must not miss them where the list is cut.
    ordered = sorted(probes, key=lambda probe: probe.ok)
    rows = []
    for probe in ordered[:PROBES_SHOWN]:
        facts = [str(probe.status)] if probe.status else []
        facts += [size(probe.bytes)] if probe.bytes else []
        facts += [probe.detail] if probe.detail else []
        mark = row("ok", tone="good") if probe.ok else row("failed", tone="bad")
        rows.append(Row((*mark.cells, probe.target, ", ".join(facts)), mark.tone))
    if more := len(ordered) - len(rows):
        rows.append(row("", f"and {more} more", ""))
    return rows


def _traced(report: Report) -> list[Row]:
    rows = [
        row("events", f"{report.events}"),
        row("lost events", f"{report.lost}", tone="bad" if report.lost else ""),
    ]
    if report.processes:
        rows.append(row("programs", ", ".join(report.processes)))
    if report.ports:
        rows.append(row("ports", ", ".join(map(str, report.ports))))
    code = report.exit_code
    ended = "stopped by slimtrace" if code is None else f"ended by itself with code {code}"
    rows.append(row("container", ended, tone="bad" if code else ""))
    return rows


def _doubts(doubts: Iterable[Doubt]) -> list[Row]:
    groups: dict[str, list[Doubt]] = {}
    for doubt in doubts:
        groups.setdefault(doubt.code, []).append(doubt)
    return [
        row(code if len(group) == 1 else f"{code} ({len(group)})", _doubt_text(group), tone="warn")
        for code, group in groups.items()
    ]


def _doubt_text(group: Sequence[Doubt]) -> str:
    """The sentence of the first doubt in a group, and the subjects of the others."""
    text = group[0].text
    subjects = list(dict.fromkeys(doubt.subject for doubt in group if doubt.subject))
    # Many sentences name their subject themselves.
    named = [subject for subject in subjects if subject in text or printable(subject) in text]
    others = [subject for subject in subjects if subject not in named]
    shown = others[:SUBJECTS_SHOWN]
    if len(others) > len(shown):
        shown.append(f"and {len(others) - len(shown)} more")
    return f"{text}{'; also ' if named else ': '}{', '.join(shown)}" if shown else text


def _run_command(report: Report) -> str:
    words = ["docker", "run", "--rm"]
    for port in report.ports:
        words += ["-p", f"{port}:{port}"]
    profile = next((where for where in report.artifacts.values() if PurePath(where).name == "seccomp.json"), "")
    if report.confinement:
        words += chain.from_iterable(options(report.confinement, profile))
    return shlex.join([*words, report.slim.reference])


def _capture_sections(capture: Capture, folder: Path) -> list[Section]:
    trace = capture.trace
    program = (group for group in trace.calls if group.phase is Phase.APP and group.abi is not Abi.IO_URING)
    calls = {name for group in program for name in group.calls}
    programs = dict.fromkeys(execution.asked for execution in trace.execs)
    rows = [
        row("image", capture.image.reference),
        row("files", f"{len({use.resolved or use.asked for use in trace.uses})}"),
        row("programs", ", ".join(programs)),
        row("system calls", f"{len(calls)}"),
        row("ports", ", ".join(str(port) for port in sorted({listen.port for listen in trace.listens}))),
        row("sockets", ", ".join(sorted({f"{one.family} {one.kind}" for one in trace.sockets}))),
        row("connects to", _addresses(trace)),
        row("lost events", f"{trace.lost}", tone="bad" if trace.lost else ""),
    ]
    sections = [Section(f"Capture {folder}", rows), Section("Doubts", _doubts(trace.doubts))]
    if capture.image.id:
        command = shlex.join(["slimtrace", "build", "--from", str(folder)])
        sections.append(Section("Build from it", [row(command)]))
    return sections


def _addresses(trace: Trace) -> str:
    """The addresses that the container connected to or sent to; of many the first ADDRESSES_SHOWN."""
    calls = ("connect", "sendto", "sendmsg")
    reached = sorted({(one.address, one.port) for one in trace.sockets if one.call in calls and one.address})
    shown = [f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address, port in reached]
    more = len(shown) - ADDRESSES_SHOWN
    return ", ".join(shown[:ADDRESSES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _doctor_sections(results: Sequence[FeatureResult]) -> list[Section]:
    rows = [
        row(found.state, found.feature.title, found.detail, tone=_STATE_TONES[found.state]) for found in results
    ]
    remedies: list[Row] = []
    for found in results:
        # A feature that was not tried because another one is missing needs only that one mended.
        untried = found.state == "unknown" and found.feature.required and not found.feature.needs
        if found.state == "no" or untried:
            need = "required" if found.feature.required else "optional"
            tone: Tone = "bad" if found.feature.required else "warn"
            remedies += [
                row(found.feature.id, need, f"lost: {found.feature.lost}", tone=tone),
                row("", "", f"mend: {found.feature.mend}"),
            ]
    lacking = missing(results)
    verdict = (
        row(f"slimtrace build cannot work here: {', '.join(item.feature.id for item in lacking)}", tone="bad")
        if lacking
        else row("slimtrace build can work here", tone="good")
    )
    return [Section("This machine", rows), Section("Missing", remedies), Section("", [verdict])]


__all__ = ["print_build", "print_capture", "print_doctor", "print_error"]
