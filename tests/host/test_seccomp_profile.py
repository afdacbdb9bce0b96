"""seccomp profiles on real containers: the recorded program runs under its profile, and the trace of a run
shows which calls a profile refused."""

import json
from dataclasses import replace
from typing import Any

import pytest
from workloads.harness import Seen, trace, until, watching

from slimtrace.engine import Engine, Launch
from slimtrace.facts.capture import Answers, Capture
from slimtrace.facts.confinement import Repairs
from slimtrace.facts.events import CallArguments, CallSet, Phase, Trace
from slimtrace.facts.image import Image
from slimtrace.facts.tree import FileTree
from slimtrace.observe.container.exec_footprint import measure_exec
from slimtrace.reason.confine import seccomp

pytestmark = pytest.mark.requires("bpf", "docker", "cc")

KILLED = 128 + 31  # SIGSYS
NO_NEW_PRIVILEGES = "no-new-privileges"


@pytest.fixture(scope="module")
def image(engine: Engine, tag: str) -> Image:
    return engine.image(tag)


@pytest.fixture(scope="module")
def fat(engine: Engine, image: Image) -> Capture:
    """A capture of the workload `values` under the engine's default profile."""
    return capture(image, trace(engine, image.id, "values"))


def trace_of(seen: Seen) -> Trace:
    return Trace(calls=seen.calls, arguments=seen.arguments)


def capture(image: Image, seen: Seen) -> Capture:
    return Capture(image, FileTree({}), trace_of(seen), Answers())


def without(capture: Capture, call: str, *values: int) -> Capture:
    """The capture as if the program had not made `call`, or, with `values`, not with these first arguments."""

    def fewer(group: CallSet) -> CallSet:
        return replace(group, calls=tuple(name for name in group.calls if values or name != call))

    arguments = tuple(
        replace(one, values=tuple(value for value in one.values if value not in values))
        if one.call == call
        else one
        for one in capture.trace.arguments
    )
    calls = tuple(fewer(group) if group.phase is Phase.APP else group for group in capture.trace.calls)
    return replace(capture, trace=replace(capture.trace, calls=calls, arguments=arguments))


def launch_under(body: dict[str, Any], *more: str, **options: Any) -> Launch:
    return Launch(security_opt=(f"seccomp={json.dumps(body)}", *more), **options)


@pytest.mark.parametrize("action", seccomp.ACTIONS)
@pytest.mark.parametrize("more", [(), (NO_NEW_PRIVILEGES,)], ids=["plain", NO_NEW_PRIVILEGES])
def test_what_ran_runs_under_its_profile(
    engine: Engine, image: Image, fat: Capture, action: str, more: tuple[str, ...]
) -> None:
    """Calls that Docker's own profile refused in the recording are refused again, also with the action `kill`:
    the program is not killed for them."""
    body = seccomp.profile(fat, action=action)
    seen = trace(engine, image.id, "values", launch=launch_under(body, *more, cap_drop=("ALL",)))
    assert seccomp.refused_calls(body, trace_of(seen), image.architecture) == ()
    assert seccomp.refused_arguments(body, trace_of(seen), image.architecture) == ()
    assert seccomp.denied_count(body) > 230


@pytest.mark.parametrize(("action", "code"), [("errno", 1), ("kill", KILLED)])
@pytest.mark.parametrize(
    ("call", "values", "calls", "arguments"),
    [
        ("wait4", (), ("wait4",), ()),
        ("socket", (10,), (), (CallArguments("socket", 0, (10,)),)),
        ("personality", (0xFFFF_FFFF,), ("personality",), (CallArguments("personality", 0, (0xFFFF_FFFF,)),)),
    ],
)
def test_what_is_refused_is_told_and_repaired(
    engine: Engine,
    image: Image,
    fat: Capture,
    action: str,
    code: int,
    call: str,
    values: tuple[int, ...],
    calls: tuple[str, ...],
    arguments: tuple[CallArguments, ...],
) -> None:
    lacking = without(fat, call, *values)
    body = seccomp.profile(lacking, action=action)
    seen = trace(engine, image.id, "values", launch=launch_under(body), code=code)
    refused = seccomp.refused_calls(body, trace_of(seen), image.architecture)
    assert (
        tuple(name for name in refused if name != "dup") == calls
    )  # perror(3) of a workload that is not killed calls dup
    assert seccomp.refused_arguments(body, trace_of(seen), image.architecture) == arguments
    repaired = seccomp.profile(lacking, Repairs(calls=calls, arguments=arguments), action)
    trace(engine, image.id, "values", launch=launch_under(repaired))


def test_what_is_only_logged_is_told(engine: Engine, image: Image, fat: Capture) -> None:
    body = seccomp.profile(without(fat, "wait4"), action="log")
    seen = trace(engine, image.id, "values", launch=launch_under(body))
    assert seccomp.refused_calls(body, trace_of(seen), image.architecture) == ("wait4",)


@pytest.mark.parametrize(
    ("more", "user", "measured"),
    [
        ((), "", True),
        ((), "1009:1013", True),
        ((), "1009:1013", False),
        ((NO_NEW_PRIVILEGES,), "1009:1013", True),
    ],
)
def test_programs_can_be_execed_into_it(
    engine: Engine, image: Image, more: tuple[str, ...], user: str, measured: bool
) -> None:
    """Under a profile that kills at the first call that it does not allow."""
    with watching(engine, image.id, ["/bin/nap"], Launch(user=user)) as (container, seen):
        until(lambda: "asleep" in engine.logs(container))
        assert not measured or measure_exec(engine, container)
    body = seccomp.profile(capture(image, seen), action="kill")
    launch = launch_under(body, *more, user=user, cap_drop=("ALL",))
    with watching(engine, image.id, ["/bin/nap"], launch) as (container, _):
        until(lambda: "asleep" in engine.logs(container))
        for _ in range(3):
            assert engine.exec(container, ["/bin/leaf"]).exit_code == 5


def test_an_abi_that_was_not_seen(engine: Engine, image: Image) -> None:
    """A profile without 32-bit calls kills a program that makes one; the repair adds architecture and calls."""
    whole = capture(image, trace(engine, image.id, "compat"))
    native = tuple(group for group in whole.trace.calls if not group.abi)
    lacking = replace(whole, trace=replace(whole.trace, calls=native))
    body = seccomp.profile(lacking)
    seen = trace(engine, image.id, "compat", launch=launch_under(body), code=KILLED)
    calls = seccomp.refused_calls(body, trace_of(seen), image.architecture)
    arguments = seccomp.refused_arguments(body, trace_of(seen), image.architecture)
    assert len(calls) == 1
    assert [(one.call, one.abi.name) for one in arguments] == [(calls[0], "COMPAT")]
    repaired = seccomp.profile(lacking, Repairs(calls=calls, arguments=arguments))
    assert repaired["archMap"][0]["subArchitectures"] == ["SCMP_ARCH_X86"]
    trace(engine, image.id, "compat", launch=launch_under(seccomp.profile(whole)))
