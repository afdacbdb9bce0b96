"""Whole recordings of containers whose program is known: started, driven, stopped, and the trace."""

import mmap
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from workloads.harness import until

from slimtrace import owner
from slimtrace.engine import Engine, Launch
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.capture import Answers, Capture
from slimtrace.facts.events import FileUse, Origin, Phase, Use, process_key
from slimtrace.facts.image import Image
from slimtrace.facts.progress import Tally
from slimtrace.facts.tree import FileTree
from slimtrace.observe import recorder
from slimtrace.observe.container import attach, http_probe
from slimtrace.observe.container.plan import Plan, Until
from slimtrace.observe.kernel import programs
from slimtrace.observe.recorder import Outcome, Recorder
from slimtrace.reason.keep.graph_builder import build_graph
from slimtrace.reason.keep.select import select_paths

pytestmark = pytest.mark.requires("bpf", "docker", "cc")

PLAIN = FileUse(Use.READ, "/tree/plain", "", "/tree/plain", call="openat")
RUNS = 20


@pytest.fixture(scope="module")
def image(engine: Engine, tag: str) -> Image:
    return engine.image(tag)


@pytest.fixture(autouse=True)
def nothing_is_left(engine: Engine) -> Iterator[None]:
    yield
    assert engine._owned(lambda name: name == owner.current()) == []


def record(
    engine: Engine, image: Image, *command: str, network: str = "none", **plan: Any
) -> tuple[Outcome, Tally, list[str]]:
    """The outcome of a recording of `command`, its last tally, and its progress notes."""
    first, *rest = command
    launch = Launch(cmd=(f"/bin/{first}", *rest), network=network)
    notes: list[str] = []
    recorder = Recorder()
    try:
        outcome = recorder.record(engine, image, Plan(launch, **plan), notes.append)
        return outcome, recorder.tally(), notes
    finally:
        recorder.close()


def doubts(outcome: Outcome) -> set[str]:
    return {doubt.code for doubt in outcome.trace.doubts}


def facts(outcome: Outcome) -> set[tuple[Use, str, str, str, int]]:
    return {(use.use, use.asked, use.base, use.resolved, use.error) for use in outcome.trace.uses}


def test_a_program_that_ends_by_itself(engine: Engine, image: Image) -> None:
    outcome, tally, _ = record(engine, image, "repeats")
    trace = outcome.trace
    assert (outcome.exit_code, outcome.stop_code, outcome.probes) == (0, None, ())
    assert [(run.asked, run.binary, run.argv) for run in trace.execs] == [
        ("/bin/repeats", "/bin/repeats", ("/bin/repeats",))
    ]
    first = trace.execs[0].pid
    assert (len(trace.parents), list(trace.parents.values()).count(first)) == (3, 2)  # itself, and two forks
    assert {use.resolved for use in trace.uses} == {"", "/tree/plain", "/tree/dir/inner"}
    assert (trace.lost, doubts(outcome), trace.own_execs) == (0, set(), ())
    mounts = {mount.path: mount.filesystem for mount in trace.mounts}
    assert (mounts["/proc"], mounts["/sys"], mounts["/dev"]) == ("proc", "sysfs", "tmpfs")
    assert {use.program for use in trace.uses} == {"/bin/repeats"}
    assert (tally.lost, tally.processes, tally.ports, tally.events) == (0, 3, (), outcome.events)
    # the program's own file, /proc/self/exe, and the two that it opened
    assert (tally.files, tally.newest[-2:]) == (4, ("/tree/plain", "/tree/dir/inner"))
    app = next(calls for calls in trace.calls if (calls.phase, calls.origin) == (Phase.APP, Origin.CONTAINER))
    assert tally.calls == len(app.calls)


def test_a_program_that_fails(engine: Engine, image: Image) -> None:
    with pytest.raises(SlimtraceError, match="ended by itself with exit code 5") as raised:
        record(engine, image, "leaf")
    assert raised.value.exit_code is Exit.CRASHED


def test_a_program_that_is_not_there(engine: Engine, image: Image) -> None:
    with pytest.raises(SlimtraceError, match="cannot start the container") as raised:
        record(engine, image, "absent")
    assert raised.value.exit_code is Exit.START_FAILED


@pytest.mark.parametrize(
    ("command", "network", "expected"),
    [
        ("serve http 0.0.0.0,8017", "bridge", [("GET http://127.0.0.1:8017/", True, 200)]),
        ("serve late 0.0.0.0,8017", "none", [("GET http://127.0.0.1:8017/", True, 200)]),
        ("serve busy 0.0.0.0,8017", "none", [("GET http://127.0.0.1:8017/", True, 200)]),
        ("serve http 127.0.0.1,8017", "bridge", [("GET http://127.0.0.1:8017/", True, 200)]),
        ("serve http 127.0.0.1,8017", "none", [("GET http://127.0.0.1:8017/", True, 200)]),
        ("serve http ::,18017", "host", [("GET http://[::1]:18017/", True, 200)]),
        (
            "serve http 127.0.0.1,8017 0.0.0.0,8039",
            "none",
            [("GET http://127.0.0.1:8017/", True, 200), ("GET http://127.0.0.1:8039/", True, 200)],
        ),
    ],
)
def test_a_server_is_asked(
    engine: Engine, image: Image, command: str, network: str, expected: list[tuple[str, bool, int]]
) -> None:
    outcome, tally, notes = record(engine, image, *command.split(), network=network, ready_seconds=10)
    assert [(probe.target, probe.ok, probe.status) for probe in outcome.probes] == expected
    assert sum(replace(use, pid=0, program="") == PLAIN for use in outcome.trace.uses) == 1
    assert (outcome.exit_code, outcome.stop_code, doubts(outcome)) == (None, 0, set())
    assert tally.ports == tuple(sorted(listen.port for listen in outcome.trace.listens))
    assert len(tally.ports) == len(expected)
    assert notes[0] == f"port {outcome.trace.listens[0].port} listens"


@pytest.mark.parametrize(
    ("mode", "detail"),
    [("silent", "no answer within 0.7 s"), ("strange", "it does not speak HTTP")],
)
def test_a_server_that_cannot_be_asked(
    engine: Engine, image: Image, monkeypatch: pytest.MonkeyPatch, mode: str, detail: str
) -> None:
    monkeypatch.setattr(http_probe, "VISIT_SECONDS", 0.7)
    outcome, _, _ = record(engine, image, "serve", mode, "0.0.0.0,8017", ready_seconds=10)
    (probe,) = outcome.probes
    assert (probe.ok, probe.status, detail in probe.detail) == (False, 0, True)
    assert (outcome.stop_code, "undriven-port" in doubts(outcome)) == (0, True)


def test_a_port_that_never_listens(engine: Engine, image: Image) -> None:
    exposed = replace(image, config={**image.config, "ExposedPorts": {"8089/tcp": {}}})
    with pytest.raises(SlimtraceError, match="nothing listened on port 8089 within") as raised:
        record(engine, exposed, "nap", ready_seconds=0.5)
    assert raised.value.exit_code is Exit.NEVER_READY


def test_it_can_be_stopped_from_outside(engine: Engine, image: Image) -> None:
    recorder, stop = Recorder(), threading.Event()
    stop.set()
    try:
        plan = Plan(Launch(cmd=("/bin/nap",)), Until("enter"), stop_seconds=1)
        outcome = recorder.record(engine, image, plan, lambda text: None, stop)
    finally:
        recorder.close()
    assert [run.asked for run in outcome.trace.execs] == ["/bin/nap"]


def test_a_health_check_is_the_images_own(engine: Engine, image: Image) -> None:
    """The health check is run once, and is not among slimtrace's own commands: what it uses is kept."""
    checked = replace(image, config={**image.config, "Healthcheck": {"Test": ["CMD", "/bin/leaf", "-h"]}})
    outcome, _, _ = record(engine, checked, "serve", "http", "0.0.0.0,8017")
    checks = [run for run in outcome.trace.execs if run.origin is Origin.EXEC]
    assert [(run.asked, run.argv) for run in checks] == [("/bin/leaf", ("/bin/leaf", "-h"))]
    assert (outcome.trace.own_execs, doubts(outcome)) == ((), {"unhealthy"})
    assert [(probe.target, probe.ok) for probe in outcome.probes[1:]] == [("healthcheck: /bin/leaf -h", False)]


def test_commands_of_the_users(engine: Engine, image: Image) -> None:
    """Programs that --exec starts are marked as slimtrace's own, apart from those of the container."""
    exposed = replace(image, config={**image.config, "ExposedPorts": {"8017/tcp": {}, "8039/tcp": {}}})
    on_host = (
        'test "$SLIMTRACE_PORTS" = "8017 8039"',
        "test $SLIMTRACE_PORT = 8017 -a -d /proc/${SLIMTRACE_PID:?}",
    )
    outcome, _, _ = record(
        engine,
        exposed,
        *("serve", "http", "0.0.0.0,8017", "0.0.0.0,8039"),
        execs=("/bin/opens", "/bin/chroots"),
        host_execs=on_host,
    )
    ran = {run.pid: run.asked for run in outcome.trace.execs if run.origin is Origin.EXEC}
    assert [ran[pid] for pid in outcome.trace.own_execs] == ["/bin/opens", "/bin/chroots"]
    assert len(ran) == 2
    jailed = {use.pid for use in outcome.trace.uses if use.resolved == "/jail/file"}
    assert jailed == {outcome.trace.own_execs[1]}
    assert [probe.ok for probe in outcome.probes] == [True] * 6


def test_commands_wait_for_what_listens_to_be_quiet(engine: Engine, image: Image) -> None:
    exposed = replace(image, config={**image.config, "ExposedPorts": {"8017/tcp": {}}})
    ready = "test -e /proc/$SLIMTRACE_PID/cwd/recovered"
    record(engine, exposed, "serve", "recovers", "0.0.0.0,8017", host_execs=(ready,), http_probe=False)


def test_at_the_time_that_the_user_gave_commands_are_run_whatever_listens(engine: Engine, image: Image) -> None:
    exposed = replace(image, config={**image.config, "ExposedPorts": {"8017/tcp": {}, "8039/tcp": {}}})
    ports = 'test "$SLIMTRACE_PORTS" = 8017'
    plan = {"until": Until("seconds", 1.7), "host_execs": (ports,), "http_probe": False}
    outcome, _, _ = record(engine, exposed, "serve", "http", "0.0.0.0,8017", **plan)
    assert [(answer.target, answer.ok) for answer in outcome.run.answers] == [(f"host: {ports}", True)]


@pytest.mark.parametrize("option", ["execs", "host_execs"])
def test_a_command_that_fails(engine: Engine, image: Image, option: str) -> None:
    commands = {"execs": ("/bin/leaf",), "host_execs": ("exit 5",)}
    with pytest.raises(SlimtraceError, match="ended with 5") as raised:
        record(engine, image, "serve", "http", "0.0.0.0,8017", **{option: commands[option]})
    assert raised.value.exit_code is Exit.EXERCISE_FAILED


def test_a_process_carries_its_recordings_number(engine: Engine, image: Image) -> None:
    outcomes = [record(engine, image, "repeats")[0] for _ in range(2)]
    runs = [{use.pid >> 22 for use in outcome.trace.uses} for outcome in outcomes]
    assert (len(runs[0]), len(runs[1]), runs[0] == runs[1]) == (1, 1, False)
    assert process_key(*runs[0], 0) > 0


def test_lost_records_make_a_doubt(engine: Engine, image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "RING_BYTES", mmap.PAGESIZE)
    # the exit record may be lost too: then the engine reports the exit code
    outcome, tally, _ = record(engine, image, "storm", "9973", "8", until=Until("exit"))
    assert outcome.trace.lost == tally.lost > 0
    assert outcome.events + outcome.trace.lost == 9973 + 20
    capture = Capture(image, FileTree({}), outcome.trace, Answers())
    assert "lost-events" in {doubt.code for doubt in select_paths(build_graph(capture), capture).doubts}


def test_loading_leaves_the_working_directory_to_others() -> None:
    loaded = Recorder()
    seen = set()
    loader = threading.Thread(target=loaded.load)
    loader.start()
    while loader.is_alive():
        seen.add(Path.cwd())
    loader.join()
    loaded.close()
    assert seen == {Path.cwd()}


def test_a_flood_is_cut_and_makes_a_doubt(
    engine: Engine, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "MAX_FACTS", 97)
    outcome, _, _ = record(engine, image, "storm", "997", "3")
    assert len(outcome.trace.uses) + len(outcome.trace.execs) == 97
    (doubt,) = (doubt for doubt in outcome.trace.doubts if doubt.code == "flood")
    dropped = int(doubt.text.partition(": ")[2].split()[0])
    assert dropped >= 997 - 97
    assert outcome.exit_code == 0  # the exit was recorded nevertheless


def test_the_same_container_gives_the_same_facts(engine: Engine, image: Image) -> None:
    """Two threads race through 1,996 files: in any order the set of file uses is the same."""
    found = [facts(record(engine, image, "threads")[0]) for _ in range(RUNS)]
    assert len(found[0]) == 4 * 499 + 1
    assert all(each == found[0] for each in found)


def test_a_call_that_the_program_still_waits_in_was_made(engine: Engine, image: Image) -> None:
    """A call that begins before the recording and returns after it: no tracepoint fires for it."""
    container = engine.create(image.id, Launch(cmd=("/bin/nap",), network="none"))
    loaded, stop = Recorder(), threading.Event()
    try:
        engine.start(container)
        until(lambda: "asleep" in engine.logs(container))
        target = attach.target_of_process(engine.state(container).pid, container)
        trace = loaded.watch(target, Until("seconds", 0.3), stop, lambda _: None).trace
        assert engine.state(container).running
    finally:
        loaded.close()
        engine.remove(container)
    app = next(calls for calls in trace.calls if (calls.phase, calls.origin) == (Phase.APP, Origin.CONTAINER))
    assert app.calls == ("rt_sigtimedwait",)
    assert [(run.binary, run.argv) for run in trace.execs] == [("/bin/nap", ("/bin/nap",))]
    assert {use.program for use in trace.uses} == {"/bin/nap"}
    assert [doubt.code for doubt in trace.doubts] == ["attached"]
