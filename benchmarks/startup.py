#!/usr/bin/env python3
"""Start-up times: `slimtrace --help`, the imports, and loading and attaching the BPF programs, with and without
compiled programs in the cache.

    sudo .venv/bin/python benchmarks/startup.py [--runs N]

Every figure is the median of N runs, each in a process of its own, in seconds.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROGRAM = Path(sys.executable).parent / "slimtrace"

# A program that prints the seconds that `timed` takes; `before` is not counted.
TIMED = """
import time
{before}
begun = time.perf_counter()
{timed}
print(time.perf_counter() - begun)
"""
IMPORTS = (
    "typer", "bcc", "docker", "networkx", "elftools.elf.elffile", "pyroute2", "httpx", "rich.console",
    "slimtrace.pipeline",
)  # fmt: skip
LOAD = "loaded = load()"
EMPTY_CACHE = (
    "import os, tempfile\nplace = tempfile.TemporaryDirectory()\nos.environ['SLIMTRACE_CACHE'] = place.name"
)


def timed(statements: str, before: str = "") -> Callable[[], float]:
    """A fresh interpreter's time for `statements`."""
    program = TIMED.format(before=before, timed=statements)

    def once() -> float:
        command = [sys.executable, "-c", program]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    return once


def command(*words: str) -> Callable[[], float]:
    """The wall time of a slimtrace command, including the start of the interpreter."""

    def once() -> float:
        begun = time.perf_counter()
        subprocess.run([PROGRAM, *words], capture_output=True, check=True)
        return time.perf_counter() - begun

    return once


def main() -> None:
    parser = argparse.ArgumentParser(description="Time what slimtrace needs to start.")
    parser.add_argument("--runs", type=int, default=9, metavar="N", help="default: %(default)s")
    runs = parser.parse_args().runs
    figures = {
        "slimtrace --help": command("--help"),
        "slimtrace build --help": command("build", "--help"),
        "python -c pass": timed("import subprocess, sys; subprocess.run([sys.executable, '-c', 'pass'])"),
        **{f"import {name}": timed(f"import {name}") for name in IMPORTS},
    }
    if os.geteuid() == 0:
        before = (
            "from slimtrace.observe.kernel.bcc_compiler import import_bcc\n"
            "from slimtrace.observe.kernel.programs import constants, load, running_kernel\n"
            "import_bcc()\n"
        )
        figures |= {
            "BTF offsets": timed("constants(running_kernel.read_btf())", before),
            "BPF compile, load and attach": timed(LOAD, before + EMPTY_CACHE),
            "BPF load and attach, compiled before": timed(LOAD, before),
        }
    else:
        print("not root: BPF is left out", file=sys.stderr)
    print("| what | median | least | most |\n|---|--:|--:|--:|")
    for name, once in figures.items():
        once()  # fills the page cache
        times = [once() for _ in range(runs)]
        spread = (statistics.median(times), min(times), max(times))
        print(f"| {name} | {' | '.join(f'{seconds:.3f}' for seconds in spread)} |", flush=True)


if __name__ == "__main__":
    main()
