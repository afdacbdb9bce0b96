"""Ctrl-C, SIGTERM and kill -9, whenever they come: nothing is left behind, or the next run takes it away.

The builds wait most of their time (tests/images/unhurried), so several of them go on at once.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from containers import WAIT_SECONDS, docker, exists, inspect
from sandbox import (
    RunningBuild,
    Sandbox,
    containers_of,
    incomplete,
    leftovers,
    processes_with,
    slim_id,
    volumes,
    work_directories,
)
from terminal import Terminal

from slimtrace import owner
from slimtrace.errors import Exit

REACTION = 30.0  # seconds within which it is gone: a compiler that is at work is waited for, four at a time
AT_ONCE = 4
CODES = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}

Moment = Callable[[Sandbox, RunningBuild], bool]


def told(text: str) -> Moment:
    """This was written to stderr."""
    return lambda _sandbox, build: text in build.stderr


def after(seconds: float, moment: Moment) -> Moment:
    """So long after a moment."""
    seen: dict[int, float] = {}

    def passed(sandbox: Sandbox, build: RunningBuild) -> bool:
        pid = build.process.pid
        if pid not in seen and moment(sandbox, build):
            seen[pid] = time.monotonic()
        return pid in seen and time.monotonic() - seen[pid] >= seconds

    return passed


def begun(_sandbox: Sandbox, build: RunningBuild) -> bool:
    """It catches signals. Before, the interpreter is being set up, and they end it like any program."""
    status = Path(f"/proc/{build.process.pid}/status").read_text()
    caught = re.search(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
    return bool(caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def layer(share: float) -> Moment:
    """So much of the slim image's layer is written."""

    def written(sandbox: Sandbox, _build: RunningBuild) -> bool:
        return any(path.stat().st_size >= share * LAYER_BYTES for path in sandbox.state.glob("run/*/layer.tar"))

    return written


LAYER_BYTES = 96_000_000  # nearly all of tests/images/unhurried

# The stages of a build, and how each is recognised from outside.
MOMENTS: dict[str, Moment] = {
    "begin": begun,
    "prepare": after(0.2, begun),
    "work directory made": lambda sandbox, _build: any(sandbox.state.glob("run/*")),
    "read files": told("prepare "),
    "load probes": told("read files "),
    "create container": told("load probes "),
    "container is there": lambda _sandbox, build: bool(containers_of(build)),
    "before it listens": after(0.4, told("load probes ")),
    "visit": told("port 8080 listens"),
    "settle": told("GET http"),
    "stop": after(0.6, told("GET http")),
    "decide": told("run  "),
    "assemble": told("decide "),
    "write layer": layer(0.3),
    "load image": layer(1.0),
    "loading image": after(0.1, layer(1.0)),
    "verify": told("assemble "),
    "trial": lambda sandbox, build: "assemble " in build.stderr and bool(containers_of(build)),
    "visit again": lambda _sandbox, build: build.stderr.count("GET http") > 1,
    "describe": told("verify "),
    "image is there": lambda sandbox, _build: slim_id(sandbox) not in ("", sandbox.before),
    "write artifacts": lambda sandbox, _build: any(sandbox.artifacts.parent.glob(".artifacts.*")),
    "tell": lambda sandbox, _build: sandbox.artifacts.exists(),
}
DELAYS = tuple(round(0.05 + 0.5 * step, 2) for step in range(8))


@dataclass(frozen=True)
class Interrupted:
    """What became of a build that was sent a signal; `seconds` is the time until it was gone."""

    exit_code: int
    seconds: float
    stderr: str
    leftovers: list[str]
    incomplete: list[str]


def started(sandbox: Sandbox, image: str, moment: Moment, *options: str) -> RunningBuild:
    """A build that has come to this moment, or to its end."""
    build = sandbox.start(sandbox.command(image, *options))
    end = time.monotonic() + WAIT_SECONDS
    while not moment(sandbox, build) and build.process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    return build


def interrupt(sandbox: Sandbox, image: str, moment: Moment, number: signal.Signals) -> Interrupted:
    build = started(sandbox, image, moment)
    begun = time.monotonic()
    build.process.send_signal(number)
    code = build.wait()
    taken = time.monotonic() - begun
    done = code == Exit.OK
    return Interrupted(
        code,
        taken,
        build.stderr,
        [] if done else leftovers(sandbox, build),
        incomplete(sandbox, build) if done else [],
    )


Case = tuple[str, signal.Signals]
CASES: dict[Case, Moment] = {
    **{(name, number): moment for name, moment in MOMENTS.items() for number in CODES},
    **{
        (f"{delay:.2f} s", number): after(delay, MOMENTS["begin"])
        for index, delay in enumerate(DELAYS)
        for number in [tuple(CODES)[index % 2]]
    },
}


@pytest.fixture(scope="module")
def make_sandbox(
    image: Callable[[str], str],
    name_for_slim: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Sandbox]:
    """make_sandbox(taken=True) has a slim name that belongs to another image already."""

    def make(taken: bool = False) -> Sandbox:
        sandbox = Sandbox(tmp_path_factory.mktemp("interrupted"), name_for_slim("interrupted"))
        if not taken:
            return sandbox
        docker("tag", image("never-listens"), sandbox.slim)
        return replace(sandbox, before=slim_id(sandbox))

    return make


@pytest.fixture(scope="module")
def outcomes(
    image: Callable[[str], str], make_sandbox: Callable[..., Sandbox], request: pytest.FixtureRequest
) -> dict[Case, Interrupted]:
    """Every case that is asked for in this session, several at once; half of the slim names are taken."""
    fat = image("unhurried")
    wanted = [item.callspec.params.get("case") for item in request.session.items if hasattr(item, "callspec")]
    cases = [case for case in CASES if case in wanted]
    sandboxes = {case: make_sandbox(taken=turn % 4 in (1, 2)) for turn, case in enumerate(cases)}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = {case: pool.submit(interrupt, sandboxes[case], fat, CASES[case], case[1]) for case in cases}
    return {case: outcome.result() for case, outcome in done.items()}


@pytest.fixture(scope="module")
def no_more_volumes() -> Iterator[None]:
    before = volumes("of-unhurried")
    yield
    assert volumes("of-unhurried") <= before


@pytest.mark.usefixtures("no_more_volumes")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1].name}")
def test_an_interrupted_build_leaves_nothing(case: Case, outcomes: dict[Case, Interrupted]) -> None:
    outcome = outcomes[case]
    # it had finished, and all is in place; or nothing is
    assert outcome.exit_code in (CODES[case[1]], Exit.OK), outcome.stderr
    assert (outcome.leftovers, outcome.incomplete) == ([], [])
    assert "Traceback" not in outcome.stderr
    assert "Exception ignored" not in outcome.stderr
    assert outcome.seconds < REACTION
    name = case[1].name
    if outcome.exit_code and "slimtrace: " in outcome.stderr:
        assert outcome.stderr.endswith(
            f"slimtrace: cannot go on: {name} received\nhint: nothing was left behind\n"
        )


ENDED = re.compile(r"^([a-z ]+?) +[0-9.]+ s(?:  (?!failed).*)?$", re.MULTILINE)  # a phase that has not failed


def test_each_moment_is_what_it_says(outcomes: dict[Case, Interrupted]) -> None:
    # A recogniser that never fires would send its signal to a build that is done.
    ended = {name: set[str]() for name in MOMENTS}
    for (name, _), outcome in outcomes.items():
        if name in MOMENTS:
            ended[name] |= set(ENDED.findall(outcome.stderr))
    assert "prepare" not in ended["begin"]
    assert "load probes" not in ended["read files"]
    for name in ("create container", "container is there", "before it listens", "visit", "settle", "stop"):
        assert "load probes" in ended[name]
        assert "run" not in ended[name]
    for name in ("decide", "assemble", "write layer", "load image"):
        assert "run" in ended[name]
    for name in ("assemble", "write layer", "load image", "loading image"):
        assert "assemble" not in ended[name]
    for name in ("verify", "trial", "visit again"):
        assert "assemble" in ended[name]
        assert "verify" not in ended[name]
    assert "verify" in ended["describe"]
    late = {name for (name, _), outcome in outcomes.items() if name in MOMENTS and outcome.exit_code == Exit.OK}
    assert len(late - {"image is there", "write artifacts", "tell"}) <= len(MOMENTS) // 4, late


# Once more, and once more


@pytest.mark.parametrize("moment", ["load probes", "container is there", "stop", "load image", "visit again"])
def test_who_presses_ctrl_c_again_and_again_breaks_nothing(
    moment: str, image: Callable[[str], str], make_sandbox: Callable[..., Sandbox]
) -> None:
    sandbox = make_sandbox()
    build = started(sandbox, image("unhurried"), MOMENTS[moment])
    while build.process.poll() is None:
        build.process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    assert build.wait() == Exit.INTERRUPTED, build.stderr
    assert build.stderr.endswith("slimtrace: cannot go on: SIGINT received\nhint: nothing was left behind\n")
    assert "Traceback" not in build.stderr
    assert leftovers(sandbox, build) == []


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_what_a_host_command_has_started_goes_too(
    number: signal.Signals, image: Callable[[str], str], make_sandbox: Callable[..., Sandbox]
) -> None:
    sandbox = make_sandbox()
    sleeping = f"sleep\0{3000 + time.time_ns() % 10**9 / 10**9:.9f}\0"
    command = sleeping.replace("\0", " ")
    options = ("--host-exec", f"{command} & {command}; true", "--env", "HURRY=1")
    build = started(sandbox, image("unhurried"), lambda *_: len(processes_with(sleeping)) == 2, *options)
    assert len(processes_with(sleeping)) == 2
    build.process.send_signal(number)
    assert build.wait(REACTION) == CODES[number], build.stderr
    assert processes_with(sleeping) == []
    assert leftovers(sandbox, build) == []


SHOW_CURSOR, HIDE_CURSOR = b"\x1b[?25h", b"\x1b[?25l"


@pytest.mark.parametrize("text", [b"load probes", b"port 8080 listens"])
def test_ctrl_c_on_a_terminal_brings_the_cursor_back(
    text: bytes,
    image: Callable[[str], str],
    make_sandbox: Callable[..., Sandbox],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sandbox = make_sandbox()
    monkeypatch.setenv("SLIMTRACE_STATE", str(sandbox.state))
    with Terminal(["setsid", "--ctty", *sandbox.command(image("unhurried"))], sandbox.folder) as terminal:
        terminal.until(text)
        assert HIDE_CURSOR in terminal.output
        terminal.type(b"\x03")
        assert terminal.wait(REACTION) == Exit.INTERRUPTED
    assert terminal.output.rfind(SHOW_CURSOR) > terminal.output.rfind(HIDE_CURSOR)
    shown = terminal.output.rpartition(SHOW_CURSOR)[2]
    assert b"slimtrace: cannot go on: SIGINT received\r\nhint: nothing was left behind\r\n" in shown
    assert work_directories(sandbox) == []
    assert not exists(sandbox.slim)


# kill -9


@dataclass(frozen=True)
class Killed:
    """What a killed build left, what the next run said, and what was left then."""

    left: list[str]
    next_code: int
    next_said: str
    leftovers: list[str]
    slim: str


def kill(sandbox: Sandbox, image: str, moment: Moment) -> Killed:
    build = started(sandbox, image, moment)
    build.process.kill()
    build.wait()
    left = work_directories(sandbox)
    again = sandbox.start(sandbox.command("nobody/has:this"))
    code = again.wait()
    found = [line for line in leftovers(sandbox, build) if not line.startswith(sandbox.slim)]
    return Killed(left, code, again.stderr, found, slim_id(sandbox))


KILLS = {
    **MOMENTS,
    **{f"{delay:.2f} s": after(delay, begun) for delay in DELAYS[::3]},
}


@pytest.fixture(scope="module")
def killed(
    image: Callable[[str], str], make_sandbox: Callable[..., Sandbox]
) -> dict[str, tuple[Sandbox, Killed]]:
    fat = image("unhurried")
    sandboxes = {name: make_sandbox(taken=turn % 2 == 0) for turn, name in enumerate(KILLS)}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = {name: pool.submit(kill, sandboxes[name], fat, moment) for name, moment in KILLS.items()}
    return {name: (sandboxes[name], outcome.result()) for name, outcome in done.items()}


@pytest.mark.usefixtures("no_more_volumes")
@pytest.mark.parametrize("name", KILLS)
def test_the_next_run_takes_away_what_a_killed_one_left(
    name: str, killed: dict[str, tuple[Sandbox, Killed]], image: Callable[[str], str]
) -> None:
    sandbox, outcome = killed[name]
    assert outcome.next_code == Exit.NO_IMAGE, outcome.next_said
    if outcome.left:
        assert "removed what a killed run had left" in outcome.next_said
    written = [str(sandbox.artifacts)] if sandbox.artifacts.exists() else []
    assert outcome.leftovers == written
    # The engine takes an archive wholly or not at all.
    if outcome.slim != sandbox.before:
        entrypoint = inspect(image("unhurried"), ".Config.Entrypoint")
        assert inspect(outcome.slim, ".Config.Entrypoint") == entrypoint
        assert inspect(outcome.slim, ".Size") > LAYER_BYTES


def test_kills_found_builds_at_work(killed: dict[str, tuple[Sandbox, Killed]]) -> None:
    idle = {name for name, (_, outcome) in killed.items() if name in MOMENTS and not outcome.left}
    # Before the work directory is made and after the image is there nothing need be left. On a busy machine a
    # moment can be over when the signal comes; one that is never recognised would be among these every time.
    unlucky = idle - {"begin", "prepare", "read files", "image is there", "write artifacts", "tell"}
    assert len(unlucky) <= len(MOMENTS) // 4, unlucky


def test_half_a_folder_of_artifacts_goes_with_the_next_run_to_the_same_place(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = make_sandbox()
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        names = [f".artifacts.{owner.identity(pid).replace(':', '-')}" for pid in (sleeper.pid, os.getpid())]
        sleeper.kill()
    for name in (*names, ".artifacts.old"):
        (sandbox.artifacts.parent / name / "capture").mkdir(parents=True)
    assert sandbox.start(sandbox.command("nobody/has:this")).wait() == Exit.NO_IMAGE
    # what is being written by one that lives, and what is not ours, stays
    assert {path.name for path in sandbox.artifacts.parent.iterdir()} == {names[1], ".artifacts.old"}
