"""The probes on other kernels: what tests/host/test_probes.py wants of the kernel side here, wanted there.

Those tests are run again, on facts that were recorded in a machine: `trace` is answered from the recording. One
boot for each kernel records all. SLIMTRACE_VM_KERNELS chooses the kernels (kernels/README.md).
"""

from __future__ import annotations

import json
import re
import sys
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from host import test_probes
from vm.guest import PLACES, Case
from vm.kernels import chosen, obtain
from vm.machine import Machine
from workloads.harness import Seen, packed

from slimtrace import codec
from slimtrace.engine import Launch
from slimtrace.facts.events import Origin, Phase

pytestmark = pytest.mark.requires("vm", "cc")

KERNELS = chosen()
GUEST = Path(__file__).with_name("guest.py")
SECONDS = 600.0  # for a machine that does everything; it takes 35 s where nothing else runs

test_files = test_probes.test_files
test_deep_paths = test_probes.test_deep_paths
test_more_names_than_the_kernel_follows = test_probes.test_more_names_than_the_kernel_follows
test_two_threads = test_probes.test_two_threads
test_forks = test_probes.test_forks
test_execs = test_probes.test_execs
test_listening_sockets = test_probes.test_listening_sockets
test_calls_by_phase = test_probes.test_calls_by_phase
test_a_refused_call_is_known = test_probes.test_a_refused_call_is_known
test_another_abi_is_not_taken_for_native = test_probes.test_another_abi_is_not_taken_for_native


def rows_of(test: Any) -> list[tuple[Any, ...]]:
    """What a test is parametrized with."""
    return list(next(mark.args[1] for mark in test.pytestmark if mark.name == "parametrize"))


LISTENS = ("127.0.0.1,8017", "0.0.0.0,8039", "::,8053", "127.0.0.53,0", "::,0", "-4", "-6")
# One where every fact has a directory: what names none is told once a sitting, whichever container it is.
PLACED = ("chroots",)
# Each sitting has probes of its own. Sets of calls and capabilities add up in it: the test that is about them
# has its case at the beginning of one.
SITTINGS = [
    [
        Case(("leaf",)),
        *(Case((program,), user) for program, user, _ in rows_of(test_files) if program != "leaf"),
        *(Case(("deep", str(count), str(width))) for count, width, _ in rows_of(test_deep_paths)),
        Case(("deep", "3001", "1")),
        Case(("threads",)),
        Case(("forks",)),
        Case(("execs",)),
        Case(("listens", *LISTENS)),
        *(Case(PLACED, place=place) for place in PLACES if place != "plain"),
    ],
    [Case(("rare",))],
    [Case(("capable",))],
    [Case(("clones",))],
    [Case(("compat",))],
]


@dataclass(frozen=True, slots=True)
class Recording:
    """What the guest told: the features of its kernel, and of each case the exit code and what was seen."""

    kernel: str
    features: dict[str, bool]
    cases: dict[Case, tuple[int, Seen]]
    passed_over: int  # calls of a program that the kernel left out
    complaints: tuple[str, ...]  # what the kernel said of itself

    def trace(self, _: object, __: object, *command: str, launch: Launch | None = None, code: int = 0) -> Seen:
        """As workloads.harness.trace, from what is recorded."""
        ended, seen = self.cases[Case(command, launch.user if launch else "")]
        assert ended == code, f"{command} ended with {ended}: {seen.output}"
        return seen


def guest(image: Path, sittings: Sequence[Sequence[Case]]) -> list[str]:
    """The command for a machine."""
    return [sys.executable, str(GUEST), str(image), json.dumps(codec.encode(sittings))]


def record(machine: Machine, command: Sequence[str]) -> Recording:
    outcome = machine.run(command, env={"PYTHONDONTWRITEBYTECODE": "1"}, seconds=SECONDS)
    lines = outcome.output.decode().splitlines()
    assert outcome.code == 0, "\n".join(line[:1000] for line in lines)
    told = [json.loads(line) for line in lines if line.startswith("{")]
    print(f"{machine.kernel.release}: {outcome.seconds:.0f} s,", *(line for line in told if "load" in line))
    cases = {
        codec.decode(Case, line["case"]): (line["code"], seen_of(line["seen"]))
        for line in told
        if "case" in line
    }
    passed_over = sum(line.get("passed_over", 0) for line in told)
    complaints = [line for line in outcome.console.splitlines() if re.search(r"\b(WARNING|BUG|Oops)\b", line)]
    return Recording(told[0]["kernel"], told[0]["features"], cases, passed_over, tuple(complaints))


def seen_of(value: dict[str, Any]) -> Seen:
    """A Seen from JSON, whose lists the codec does not know: facts have none."""
    hints = typing.get_type_hints(Seen)
    found: dict[str, Any] = {}
    for name, part in value.items():
        if typing.get_origin(hints[name]) is list:
            (kind,) = typing.get_args(hints[name])
            found[name] = [codec.decode(kind, item) for item in part]
        else:
            found[name] = codec.decode(hints[name], part)
    return Seen(**found)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("workloads"))


@pytest.fixture(scope="module", params=KERNELS)
def engine(request: pytest.FixtureRequest, image: Path) -> Recording:
    """In the engine's place, so that the tests of tests/host find it: all that one kernel told."""
    return record(Machine(obtain(request.param)), guest(image, SITTINGS))


@pytest.fixture
def tag() -> str:
    return ""


@pytest.fixture(autouse=True)
def _answered_from_the_recording(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    if "engine" in request.fixturenames:
        monkeypatch.setattr(test_probes, "trace", request.getfixturevalue("engine").trace)
    yield


@pytest.mark.parametrize(("place", "cgroups"), [("systemd", 1), ("nested", 2)])
def test_the_cgroup_is_found(engine: Recording, place: str, cgroups: int) -> None:
    code, seen = engine.cases[Case(PLACED, place=place)]
    assert (code, seen.cgroups) == (0, cgroups)
    assert test_probes.told(seen) == test_probes.CHROOTS


def test_another_cgroup_is_left_alone(engine: Recording) -> None:
    code, seen = engine.cases[Case(PLACED, place="elsewhere")]
    assert (code, seen.events) == (0, 0)


def test_no_call_of_a_program_is_left_out(engine: Recording) -> None:
    """A loss that no program can count."""
    assert engine.passed_over == 0


def test_the_kernel_does_not_complain(engine: Recording) -> None:
    assert engine.complaints == ()


def test_capabilities_by_verdict(engine: Recording) -> None:
    """By the tracepoint or, where there is none, by a kprobe. That one does not see what the kernel asks in
    passing, from within the same file: the sys_admin of every process that maps memory."""
    seen = engine.trace(engine, "", "capable")
    (app,) = (
        found for found in seen.capabilities if (found.phase, found.origin) == (Phase.APP, Origin.CONTAINER)
    )
    in_passing = ("sys_admin",) if engine.features["cap_capable"] else ()
    assert (app.granted, app.denied) == (("chown",), (*in_passing, "sys_nice"))


def test_without_kprobes(image: Path) -> None:
    """As where CONFIG_KPROBES is not set: only the capabilities are unknown, unless they have a tracepoint."""
    hidden = 'mount -t tmpfs none /sys/bus/event_source/devices && exec "$@"'
    command = ["sh", "-c", hidden, "sh", *guest(image, [[Case(("opens",))]])]
    recording = record(Machine(obtain(KERNELS[0])), command)
    code, seen = recording.cases[Case(("opens",))]
    assert (code, test_probes.told(seen)) == (0, test_probes.OPENS)
    assert recording.features["capabilities"] is recording.features["cap_capable"]


def test_locked_down_for_integrity(image: Path) -> None:
    machine = Machine(obtain(KERNELS[0]), ("lockdown=integrity",))
    recording = record(machine, guest(image, [[Case(("opens",))]]))
    code, seen = recording.cases[Case(("opens",))]
    assert (code, test_probes.told(seen)) == (0, test_probes.OPENS)
    assert recording.features["capabilities"]


def test_locked_down_for_confidentiality(image: Path) -> None:
    """Then no program may read the kernel's memory, and there is nothing to be done but say so."""
    machine = Machine(obtain(KERNELS[0]), ("lockdown=confidentiality",))
    outcome = machine.run(guest(image, [[Case(("opens",))]]), seconds=SECONDS)
    assert outcome.code == 1
    said = json.loads(outcome.output)["failed"]
    assert said.startswith("cannot load the BPF programs: ")
    assert "bpf_probe_read_kernel" in said
