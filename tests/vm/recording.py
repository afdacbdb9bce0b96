"""What the probes told in a machine, read back here."""

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

CHECKOUT = Path(__file__).parents[2]
SECONDS = 600.0  # for a machine that does everything; it takes 35 s where nothing else runs


@dataclass(frozen=True, slots=True)
class Recording:
    """What a guest told: the features of its kernel, and of each case the exit code and what was seen."""

    kernel: str
    features: dict[str, bool]
    cases: dict[Case, tuple[int, Seen]]
    passed_over: int  # calls of a program that the kernel left out
    complaints: tuple[str, ...]  # what the kernel said of itself

    def trace(self, _: object, __: object, *command: str, launch: Launch | None = None, code: int = 0) -> Seen:
        """As workloads.harness.trace, from what is recorded."""
        launch = launch or Launch()
        case = Case(command, launch.user, cap_add=launch.cap_add)
        assert case in self.cases, f"{case} has to be added to tests/vm/cases.py"
        ended, seen = self.cases[case]
        assert ended == code, f"{command} ended with {ended}: {seen.output}"
        return seen


def guest(python: str, checkout: Path, image: Path, cases: Sequence[Case]) -> list[str]:
    """The command for a machine; the paths are the guest's."""
    script = checkout / "tests/vm/guest.py"
    return [python, str(script), str(image), json.dumps(codec.encode(cases))]


def run(machine: Machine, command: Sequence[str]) -> Outcome:
    """The command's outcome. What Python would write into the checkout could be seen by nobody."""
    return machine.run(command, env={"PYTHONDONTWRITEBYTECODE": "1"}, seconds=SECONDS)


def record(machine: Machine, command: Sequence[str]) -> Recording:
    """What the guest's script tells, which has to come to its end."""
    outcome = run(machine, command)
    lines = outcome.output.decode().splitlines()
    assert outcome.code == 0, "\n".join(line[:1000] for line in lines)
    told = [json.loads(line) for line in lines if line.startswith("{")]
    print(f"{machine.kernel.release}: {outcome.seconds:.0f} s,", *(line for line in told if "load" in line))
    cases = {
        codec.decode(Case, line["case"]): (line["code"], _seen(line["seen"])) for line in told if "case" in line
    }
    complaints = [line for line in outcome.console.splitlines() if re.search(r"\b(WARNING|BUG|Oops)\b", line)]
    return Recording(
        told[0]["kernel"],
        told[0]["features"],
        cases,
        sum(line.get("passed_over", 0) for line in told),
        tuple(complaints),
    )


def _seen(value: dict[str, Any]) -> Seen:
    # the codec does not know lists: facts have none
    hints = typing.get_type_hints(Seen)
    found: dict[str, Any] = {}
    for name, part in value.items():
        if typing.get_origin(hints[name]) is list:
            (kind,) = typing.get_args(hints[name])
            found[name] = [codec.decode(kind, item) for item in part]
        else:
            found[name] = codec.decode(hints[name], part)
    return Seen(**found)
