#!/usr/bin/env python3
"""How `slimtrace build` grows with the image: one application in images of 1, 5, 10 GB, and of 500,000 files.

    sudo .venv/bin/python benchmarks/scale.py [--app NAME] [--runs N] [--gigabytes N ...] [--files N]

The images are made FROM slimtrace-test/NAME:1 (`make images`) with additional files that nothing uses, and are
removed at the end; twice their size must be free where the engine keeps its images. README.md says how to
read the table.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from machine import exit_on_sigterm, output

BUILD = (sys.executable, "-m", "slimtrace", "build", "--json")
FILE_BYTES = 512 << 20  # size of one additional file
FOLDER_FILES = 1000  # number of small files in one folder
AFTER = ("decide", "describe", "assemble")  # the phases from the end of tracing to the loaded image


@dataclass(frozen=True)
class Build:
    """One build: seconds by phase, the process's maximum resident memory, and figures of the report."""

    phases: dict[str, float]
    peak_bytes: int
    fat_bytes: int
    slim_bytes: int
    fat_files: int

    @property
    def after(self) -> float:
        return sum(self.phases[name] for name in AFTER)


def gigabytes(app: str, size: float) -> str:
    """The RUN line that fills the image up to `size` GB."""
    have = int(output("docker", "image", "inspect", "--format", "{{.Size}}", source(app)))
    files, rest = divmod(max(0, int(size * 10**9) - have), FILE_BYTES)
    whole = f"for n in $(seq {files}); do head -c {FILE_BYTES} /dev/urandom >/ballast/$n; done"
    return f"mkdir /ballast && {whole} && head -c {rest} /dev/urandom >/ballast/rest"


def many_files(count: int) -> str:
    """The RUN line that adds `count` files of 4 bytes."""
    folders = max(1, count // FOLDER_FILES)
    folder = "/ballast/modules/package-number-$n/dist/internal"  # as long as paths usually are
    each = f"head -c {4 * FOLDER_FILES} /dev/urandom | split -a 3 -b 4 - {folder}/some-file-"
    return f"for n in $(seq {folders}); do mkdir -p {folder} && {each} || exit; done"


def source(app: str) -> str:
    return f"slimtrace-test/{app}:1"


@contextmanager
def image(app: str, name: str, line: str) -> Iterator[str]:
    """An image of the application with the files that the RUN line `line` adds; removed afterwards."""
    tag = f"slimtrace-benchmark/{app}:{name}-{os.getpid()}"
    recipe = f'FROM {source(app)}\nUSER 0\nSHELL ["/bin/sh", "-c"]\nRUN {line}\n'
    try:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "Dockerfile").write_text(recipe)
            words = ("--quiet", "--force-rm", "--network=none", "--tag", tag, folder)
            output("docker", "build", *words, timeout=1800)
        yield tag
    finally:
        subprocess.run(["docker", "rmi", "--force", tag], capture_output=True, check=False)


def build(tag: str) -> Build:
    """Run `slimtrace build` on the image once, in a process of its own."""
    slim = f"{tag}-slim"
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryFile() as said,
        tempfile.TemporaryFile() as complaints,
    ):
        process = subprocess.Popen(
            [*BUILD, "--tag", slim, "--artifacts", f"{folder}/artifacts", tag],
            stdout=said,
            stderr=complaints,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        report = json.load(said) if process.returncode == 0 else {}
        complaints.seek(0)
        error = complaints.read().decode(errors="replace")
    subprocess.run(["docker", "rmi", "--force", slim], capture_output=True, check=False)
    if not report:
        sys.exit(f"cannot build {tag}: {error}")
    phases = {phase["name"]: phase["seconds"] for phase in report["phases"]}
    fat = report["fat"]
    return Build(phases, used.ru_maxrss * 1024, fat["size"], report["slim"]["size"], fat["files"])


def row(name: str, builds: Sequence[Build], least: float) -> tuple[list[str], float]:
    """A row of the table, and the seconds from the end of tracing to the image: medians, but the maximum of
    memory. The ratio is to `least`, the seconds of the first row, if that is not 0."""
    after = statistics.median(each.after for each in builds)
    phases = ("read files", *AFTER)
    first = builds[0]
    return [
        name,
        f"{first.fat_bytes / 1e6:.0f}",
        f"{first.fat_files}",
        f"{first.slim_bytes / 1e6:.1f}",
        *(f"{statistics.median(each.phases[phase] for each in builds):.2f}" for phase in phases),
        f"{after:.2f}",
        f"{after / (least or after):.2f}",
        f"{max(each.peak_bytes for each in builds) / 1e6:.0f}",
    ], after


def main() -> None:
    parser = argparse.ArgumentParser(description="Time `slimtrace build` on images of many sizes.")
    parser.add_argument("--app", default="jq", metavar="NAME", help="a sample image, default: %(default)s")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of each, default: %(default)s")
    parser.add_argument("--gigabytes", type=float, nargs="*", default=(1, 5, 10), metavar="N")
    parser.add_argument("--files", type=int, default=500_000, metavar="N", help="default: %(default)s")
    wanted = parser.parse_args()
    exit_on_sigterm()
    head = ["image", "fat MB", "files", "slim MB", "read files", *AFTER, "after tracing", "ratio", "peak MB"]
    print(f"| {' | '.join(head)} |\n|---{'|--:' * (len(head) - 1)}|")
    images = [(f"{size:g} GB", f"{size:g}gb", gigabytes(wanted.app, size)) for size in wanted.gigabytes]
    if wanted.files:
        images.append((f"{wanted.files:,} files", f"{wanted.files}-files", many_files(wanted.files)))
    least = 0.0
    for title, name, line in images:
        with image(wanted.app, name, line) as tag:
            cells, after = row(title, [build(tag) for _ in range(wanted.runs)], least)
        least = least or after
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
