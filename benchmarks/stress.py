"""Stress test of the recorder: floods that cause a known number of facts, to see whether each is recorded or
its loss counted, and at what cost.

stress.py [NAME…]
stress.py --same RUNS IMAGE     record IMAGE RUNS times: are the sets of facts equal?
"""

import argparse
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machine import Container, Recording, compiled, describe, exit_on_sigterm

from slimtrace import store
from slimtrace.engine import Engine
from slimtrace.facts.events import Trace, Use
from slimtrace.observe.container.plan import Plan
from slimtrace.observe.recorder import Recorder

BASE = "slimtrace-test/base:bookworm"
PROCESSES, FILES, OPENS = 64, 50_000, 2_000_000
FORKS = 20_000
FLOOD_SECONDS = 5
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Result:
    """A description of a flood, the number of facts that it must cause (`least`: or more), and a function that
    counts them in a trace."""

    said: str
    expected: int
    found: Callable[[Trace], int]
    least: bool = False


def opens(box: Container) -> Result:
    rate = float(box.run(f"/bench/opens /tmp/many {PROCESSES} {FILES} {OPENS}"))

    def found(trace: Trace) -> int:
        return len({(use.use, use.asked) for use in trace.uses if use.asked.startswith("/tmp/many/")})

    folders = -(-FILES // 500)
    said = f"{OPENS:,} opens of {FILES:,} files by {PROCESSES} processes, {rate:,.0f} opens/s"
    return Result(said, 2 * FILES + folders, found)  # each file was created (WRITE), then opened (READ)


def forks(box: Container) -> Result:
    rate = float(box.run(f"/bench/forks {FORKS}"))
    return Result(f"{FORKS:,} forks, {rate:,.0f} forks/s", FORKS, lambda trace: len(trace.parents), least=True)


def find(box: Container) -> Result:
    """Each directory of the root's file system is opened once."""
    seconds = box.time("find / -xdev")
    folders = int(box.run(r"find / -xdev -type d -printf '%D\n' | grep -cx $(stat -c %d /)"))

    def found(trace: Trace) -> int:
        return len({use.resolved for use in trace.uses if use.use is Use.LIST})

    return Result(f"find / -xdev in {seconds:.2f} s", folders, found, least=True)


def missing(box: Container) -> Result:
    count = int(box.run(f"/bench/opens /tmp missing {FLOOD_SECONDS}"))

    def found(trace: Trace) -> int:
        return len({use.asked for use in trace.uses if use.asked.startswith("/tmp/missing-")})

    rate = count / FLOOD_SECONDS
    return Result(f"{count:,} names that are not there in {FLOOD_SECONDS} s, {rate:,.0f}/s", count, found)


def unread(box: Container) -> Result:
    """As `missing`, while the recorder is stopped (SIGSTOP): the ring buffer fills, losses must be counted."""
    return missing(box)


FLOODS: tuple[Callable[[Container], Result], ...] = (opens, forks, find, missing, unread)


def dropped(trace: Trace) -> int:
    """The number of facts that were received but dropped, from the text of the doubt `flood`."""
    texts = [doubt.text for doubt in trace.doubts if doubt.code == "flood"]
    return sum(int(number) for text in texts for number in re.findall(r": (\d+) of them", text))


def measure(flood: Callable[[Container], Result], programs: Path) -> bool:
    """Run one flood under the recorder, print the result; whether each fact was recorded or counted as lost."""
    with Container(BASE, "-v", f"{programs}:/bench:ro", shell=True) as box:
        box.run("mkdir /tmp/many; echo made")
        with Recording(box) as recording:
            idle, maps = recording.peak_bytes_so_far(), recording.map_bytes()
            if flood is unread:
                recording.process.send_signal(signal.SIGSTOP)
            try:
                result = flood(box)
            finally:
                recording.process.send_signal(signal.SIGCONT)
            begun = time.monotonic()
            recording.stop()
            seconds = time.monotonic() - begun
            packed = sum(file.stat().st_size for file in recording.capture.iterdir())
            trace = store.load(recording.capture).trace
    found, lost, cut = result.found(trace), trace.lost, dropped(trace)
    complete = found >= result.expected if result.least else found == result.expected
    accounted = complete or found + lost + cut >= result.expected
    print(f"{flood.__name__}: {result.said}")
    verdict = "ok" if accounted else "UNACCOUNTED"
    print(f"    facts    {found:,} of {result.expected:,}, lost {lost:,}, cut {cut:,}: {verdict}")
    records = len(trace.uses) + len(trace.execs) + len(trace.parents)
    print(f"    records  {records:,}, of them {len(trace.uses):,} file uses")
    peak = recording.peak_bytes / MIB
    print(f"    memory   {idle / MIB:.0f} MiB idle, {peak:.0f} MiB at most; {maps / MIB:.0f} MiB of maps")
    print(f"    capture  {packed / MIB:.1f} MiB, {seconds:.1f} s after the end of the flood", flush=True)
    return accounted


Fact = tuple[object, ...]


def facts(reference: str) -> set[Fact]:
    """The facts of one recording of an image, without process ids, counts and order."""
    recorder = Recorder()
    try:
        with Engine.connect() as engine:
            trace = recorder.record(engine, engine.image(reference), Plan(), lambda _: None).trace
    finally:
        recorder.close()
    if trace.lost:
        print(f"lost {trace.lost}")
    uses: set[Fact] = {(use.use.value, use.asked, use.base, use.resolved, use.error) for use in trace.uses}
    execs = {("exec", exe.asked, exe.base, exe.binary, 0) for exe in trace.execs}
    made = {
        ("call", calls.origin.name, calls.phase.name, name) for calls in trace.calls for name in calls.calls
    }
    return uses | execs | made


def same(runs: int, reference: str) -> bool:
    """Record an image `runs` times and print the facts that some lack; whether all are equal."""
    seen: Counter[Fact] = Counter()
    sets: Counter[frozenset[Fact]] = Counter()
    for _ in range(runs):
        found = facts(reference)
        seen.update(found)
        sets[frozenset(found)] += 1
    print(f"{reference}: {runs} recordings gave {len(sets)} different sets; {len(seen)} facts in all")
    for fact, times in sorted(seen.items(), key=lambda item: (item[1], repr(item[0]))):
        if times < runs:
            print(f"    {times:4} of {runs}  {fact}")
    return len(sets) == 1


def main() -> int:
    parser = argparse.ArgumentParser(description="Flood the recorder, and count what it tells.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=" ".join(flood.__name__ for flood in FLOODS))
    parser.add_argument("--same", nargs=2, metavar=("RUNS", "IMAGE"))
    options = parser.parse_args()
    exit_on_sigterm()
    print(describe(), flush=True)
    if options.same:
        return 0 if same(int(options.same[0]), options.same[1]) else 1
    with compiled("opens", "forks") as programs:
        chosen = [flood for flood in FLOODS if not options.names or flood.__name__ in options.names]
        failed = [flood for flood in chosen if not measure(flood, programs)]
        return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
