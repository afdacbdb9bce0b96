#!/usr/bin/env python3
"""Wall time of `slimtrace build` on the sample images, by phase, and the sizes of the images.

    sudo .venv/bin/python benchmarks/wall.py [--runs N] [NAME...]

The images must be there (`make images`). Times are medians in seconds; README.md says how to read them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SAMPLES = ("node", "python", "ruby", "java", "nginx", "redis", "jq")
PROGRAM = Path(sys.executable).parent / "slimtrace"

Report = dict[str, Any]


def build(name: str) -> Report:
    """The report of one build; its image and artifacts are removed."""
    tag = f"slimtrace-benchmark/{name}:{os.getpid()}"
    with tempfile.TemporaryDirectory() as folder:
        words = ["build", "--json", "--remove-file-artifacts", "--tag", tag, f"slimtrace-test/{name}:1"]
        done = subprocess.run([PROGRAM, *words], cwd=folder, capture_output=True, text=True, check=False)
    subprocess.run(["docker", "rmi", "--force", tag], capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr}")
    report: Report = json.loads(done.stdout)
    return report


def phases(report: Report) -> dict[str, float]:
    return {phase["name"]: phase["seconds"] for phase in report["phases"]}


def median(reports: Sequence[Report], key: str) -> float:
    return float(statistics.median(report[key] for report in reports))


def row(name: str, reports: Sequence[Report]) -> list[str]:
    """A row of the table: medians, but the maxima of lost events and doubts."""
    times = [phases(report) for report in reports]
    return [
        name,
        f"{reports[0]['fat']['size'] / 1e6:.0f}",
        f"{median([report['slim'] for report in reports], 'size') / 1e6:.1f}",
        f"{median(reports, 'seconds'):.1f}",
        f"{median(reports, 'own_seconds'):.1f}",
        *(f"{statistics.median(time[phase] for time in times):.2f}" for phase in times[0]),
        f"{median(reports, 'events'):.0f}",
        str(max(report["lost"] for report in reports)),
        str(max(len(report["doubts"]) for report in reports)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Time `slimtrace build` on the sample images.")
    parser.add_argument("names", nargs="*", metavar="NAME", default=SAMPLES, help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="default: %(default)s")
    wanted = parser.parse_args()
    head: list[str] = []
    for name in wanted.names:
        reports = [build(name) for _ in range(wanted.runs)]
        if not head:
            head = [
                "image",
                "fat MB",
                "slim MB",
                "wall",
                "own",
                *phases(reports[0]),
                "events",
                "lost",
                "doubts",
            ]
            print(f"| {' | '.join(head)} |\n|---{'|--:' * (len(head) - 1)}|")
        print(f"| {' | '.join(row(name, reports))} |", flush=True)


if __name__ == "__main__":
    main()
