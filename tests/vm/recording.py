"""What the probes reported in a virtual machine, read back on the host."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vm.guest import Case
from vm.machine import Machine, Outcome
from workloads.harness import Seen

from slimtrace import codec
from slimtrace.engine import Launch
from slimtrace.observe.kernel import program_cache

CHECKOUT = Path(__file__).parents[2]
SECONDS = 600.0  # limit for a machine that runs all cases; it takes 35 s where nothing else runs


@dataclass(frozen=True, slots=True)
class Recording:
    """The output of tests/vm/guest.py: the kernel's features, each case's exit code and what was seen."""

    kernel: str
    features: dict[str, bool]
    cases: dict[Case, tuple[int, Seen]]
    recursion_misses: int  # runs of BPF programs that the kernel skipped
    kernel_warnings: tuple[str, ...]  # WARNING, BUG and Oops lines of the kernel's console

    def trace(self, _: object, __: object, *command: str, launch: Launch | None = None, code: int = 0) -> Seen:
        """In place of workloads.harness.trace: the result is taken from the recording."""
        launch = launch or Launch()
        case = Case(command, launch.user, cap_add=launch.cap_add)
        assert case in self.cases, f"{case} has to be added to tests/vm/cases.py"
        ended, seen = self.cases[case]
        assert ended == code, f"{command} ended with {ended}: {seen.output}"
        return seen


def guest(python: str, checkout: Path, image: Path, cases: Sequence[Case]) -> list[str]:
    """The command that runs tests/vm/guest.py; the paths are as the guest sees them."""
    script = checkout / "tests/vm/guest.py"
    return [python, str(script), str(image), json.dumps(codec.encode(cases))]


def run(machine: Machine, command: Sequence[str]) -> Outcome:
    """Run `command` in the machine, which finds the programs that earlier machines with its kernel compiled,
    and keep those that it adds. Python writes no bytecode: nothing would read it again."""
    folder = machine.kernel.folder / "programs"
    env = {"PYTHONDONTWRITEBYTECODE": "1", "SLIMTRACE_VM_PROGRAMS": str(folder)}
    outcome = machine.run(command, env=env, seconds=SECONDS)
    for line in outcome.output.decode(errors="replace").splitlines():
        if line.startswith('{"programs": '):
            _keep(json.loads(line)["programs"], folder)
    return outcome


def _keep(programs: dict[str, str], folder: Path) -> None:
    """Write compiled programs into `folder`, in place of the oldest ones there."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, text in programs.items():
        (folder / Path(name).name).write_text(text)
    by_age = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in by_age[program_cache.FILES :]:
        path.unlink()


def record(machine: Machine, command: Sequence[str]) -> Recording:
    """Run tests/vm/guest.py by `command` in the machine and read its output. The script has to succeed."""
    outcome = run(machine, command)
    lines = outcome.output.decode().splitlines()
    assert outcome.code == 0, "\n".join(line[:1000] for line in lines)
    reported = [json.loads(line) for line in lines if line.startswith("{")]
    print(f"{machine.kernel.release}: {outcome.seconds:.0f} s,", *(line for line in reported if "load" in line))
    cases = {
        codec.decode(Case, line["case"]): (line["code"], _seen(line["seen"]))
        for line in reported
        if "case" in line
    }
    kernel_warnings = [
        line for line in outcome.console.splitlines() if re.search(r"\b(WARNING|BUG|Oops)\b", line)
    ]
    return Recording(
        reported[0]["kernel"],
        reported[0]["features"],
        cases,
        sum(line.get("recursion_misses", 0) for line in reported),
        tuple(kernel_warnings),
    )


def _seen(value: dict[str, Any]) -> Seen:
    # slimtrace.codec does not decode lists: facts have tuples
    hints = typing.get_type_hints(Seen)
    found: dict[str, Any] = {}
    for name, part in value.items():
        if typing.get_origin(hints[name]) is list:
            (kind,) = typing.get_args(hints[name])
            found[name] = [codec.decode(kind, item) for item in part]
        else:
            found[name] = codec.decode(hints[name], part)
    return Seen(**found)
