"""The probes on other kernels: the tests of tests/host/test_probes.py on what the probes report there.

Those tests run again on facts that were recorded in a virtual machine: `trace` is answered from the recording.
One boot of each kernel records all workloads. SLIMTRACE_VM_KERNELS chooses the kernels (kernels/README.md).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from host import test_arguments, test_probes
from vm import recording
from vm.cases import CASES, LAYOUT_WORKLOAD
from vm.guest import Case
from vm.kernels import chosen, obtain
from vm.machine import Machine
from vm.recording import CHECKOUT, Recording
from workloads.harness import pack_image

from slimtrace.facts.events import Origin, Phase

KERNELS = chosen("amd64")
if not KERNELS:
    pytest.skip("SLIMTRACE_VM_KERNELS names no kernel for amd64", allow_module_level=True)

pytestmark = pytest.mark.requires("vm", "cc")

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
test_x32_is_recognised_by_its_number = test_probes.test_x32_is_recognised_by_its_number
test_files_by_descriptor = test_probes.test_files_by_descriptor
test_sockets = test_probes.test_sockets
test_who_was_first = test_arguments.test_who_was_first
test_a_child_is_of_its_parents_program = test_arguments.test_a_child_is_of_its_parents_program
test_values = test_arguments.test_values


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_image(tmp_path_factory.mktemp("workloads"))


@pytest.fixture(scope="module", params=KERNELS)
def engine(request: pytest.FixtureRequest, image: Path) -> Recording:
    """The recording of one kernel, under the name of the fixture that the tests of tests/host take."""
    command = recording.guest(sys.executable, CHECKOUT, image, CASES)
    return recording.record(Machine(obtain(request.param)), command)


@pytest.fixture
def tag() -> str:
    return ""


@pytest.fixture(autouse=True)
def _answered_from_the_recording(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    if "engine" in request.fixturenames:
        for module in (test_probes, test_arguments):
            monkeypatch.setattr(module, "trace", request.getfixturevalue("engine").trace)
    yield


def test_io_uring(engine: Recording, tag: str) -> None:
    if not engine.features["io_uring by name"]:
        pytest.skip("the BTF of this kernel does not tell where a request has its names")
    test_probes.test_io_uring(engine, tag)


@pytest.mark.parametrize(("layout", "cgroups"), [("systemd", 1), ("nested", 2)])
def test_the_cgroup_is_found(engine: Recording, layout: str, cgroups: int) -> None:
    code, seen = engine.cases[Case(LAYOUT_WORKLOAD, layout=layout)]
    assert (code, seen.cgroups) == (0, cgroups)
    assert test_probes.file_uses(seen) == test_probes.CHROOTS


def test_another_cgroup_is_left_alone(engine: Recording) -> None:
    code, seen = engine.cases[Case(LAYOUT_WORKLOAD, layout="elsewhere")]
    assert (code, seen.events) == (0, 0)


def test_no_run_of_a_program_is_skipped(engine: Recording) -> None:
    """Where programs on raw tracepoints can be preempted the kernel may skip one (recursion_misses)."""
    assert engine.recursion_misses == 0


def test_the_kernel_logs_no_warning(engine: Recording) -> None:
    assert engine.kernel_warnings == ()


def test_the_kernel_is_read_by_plain_loads_or_casts_where_it_can_be(engine: Recording) -> None:
    """On a kernel with plain loads (Linux 5.15) or casts (6.2) the probes use them: no variant of the programs
    was refused by the verifier."""
    release = tuple(map(int, re.findall(r"\d+", engine.kernel)[:2]))
    assert (engine.features["plain loads"], engine.features["casts"]) == (release >= (5, 15), release >= (6, 2))


def test_capabilities_by_verdict(engine: Recording) -> None:
    """By the tracepoint cap_capable or, where there is none, by a kprobe. The kprobe does not see the checks
    that security/commoncap.c makes itself: the sys_admin of every process that maps memory."""
    seen = engine.trace(engine, "", "capable")
    (app,) = (
        found for found in seen.capabilities if (found.phase, found.origin) == (Phase.APP, Origin.CONTAINER)
    )
    in_passing = ("sys_admin",) if engine.features["cap_capable"] else ()
    assert (app.granted, app.denied) == (("chown",), (*in_passing, "sys_nice"))


# One kernel is enough for what follows.
first_kernel = pytest.mark.parametrize("kernel", KERNELS[:1])
OPENS = Case(("opens",))


@pytest.fixture
def command(image: Path) -> list[str]:
    """The command that records one workload."""
    return recording.guest(sys.executable, CHECKOUT, image, [OPENS])


@first_kernel
def test_without_kprobes(kernel: str, command: list[str]) -> None:
    """As without CONFIG_KPROBES: only the capabilities are unknown, unless cap_capable is there."""
    hidden = 'mount -t tmpfs none /sys/bus/event_source/devices && exec "$@"'
    recorded = recording.record(Machine(obtain(kernel)), ["sh", "-c", hidden, "sh", *command])
    code, seen = recorded.cases[OPENS]
    assert (code, test_probes.file_uses(seen)) == (0, test_probes.OPENS)
    assert recorded.features["capabilities"] is recorded.features["cap_capable"]


@first_kernel
def test_locked_down_for_integrity(kernel: str, command: list[str]) -> None:
    recorded = recording.record(Machine(obtain(kernel), ("lockdown=integrity",)), command)
    code, seen = recorded.cases[OPENS]
    assert (code, test_probes.file_uses(seen)) == (0, test_probes.OPENS)
    assert recorded.features["capabilities"]


@first_kernel
def test_locked_down_for_confidentiality(kernel: str, command: list[str]) -> None:
    """In this lockdown mode no BPF program may read the kernel's memory: the error has to say so."""
    outcome = recording.run(Machine(obtain(kernel), ("lockdown=confidentiality",)), command)
    said = json.loads(outcome.output)["failed"]
    assert outcome.code == 1
    assert said.startswith("cannot load the BPF programs: ")
    assert "bpf_probe_read_kernel" in said
