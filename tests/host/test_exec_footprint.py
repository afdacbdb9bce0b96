"""The exec footprint: the system calls that the runtime makes to exec a program into a container, measured by
an exec of an empty program."""

from pathlib import Path

import pytest
from workloads.harness import Seen, until, watching

from slimtrace.engine import Engine, Launch
from slimtrace.facts.events import Origin, Phase
from slimtrace.observe.container.exec_footprint import is_empty_program, measure_exec
from slimtrace.reason.confine.seccomp.margin import MARGIN, was_measured

docker = pytest.mark.requires("bpf", "docker", "cc")


def trace_exec(engine: Engine, tag: str, launch: Launch, *command: str) -> Seen:
    """Trace a container into which `command` is exec'd, or, without one, measure_exec's empty program."""
    with watching(engine, tag, ["/bin/nap"], launch) as (container, seen):
        until(lambda: "asleep" in engine.logs(container))
        if command:
            engine.exec(container, command)
        else:
            assert measure_exec(engine, container)
            assert engine.state(container).running
    return seen


def filtered_calls(seen: Seen, origin: Origin = Origin.EXEC) -> set[str]:
    return set(seen.calls_in(Phase.FILTERED, origin).calls) - MARGIN.keys()


@docker
@pytest.mark.parametrize("options", [(), ("no-new-privileges",)], ids=["plain", "no-new-privileges"])
@pytest.mark.parametrize("user", ["", "1009:1013"])
def test_it_shows_what_an_exec_of_a_program_shows(
    engine: Engine, tag: str, options: tuple[str, ...], user: str
) -> None:
    launch = Launch(user=user, security_opt=options)
    nothing, program = trace_exec(engine, tag, launch), trace_exec(engine, tag, launch, "/bin/leaf")
    assert filtered_calls(nothing) == filtered_calls(program)
    assert was_measured(frozenset(filtered_calls(nothing))) is (not options)
    assert "execve" in nothing.calls_in(Phase.FILTERED, Origin.EXEC).calls
    # no program of the image ran
    assert not nothing.calls_in(Phase.APP, Origin.EXEC).calls
    assert [run.asked for run in nothing.execs] == ["/bin/nap"]
    assert not [use for use in nothing.uses if use.origin is Origin.EXEC]


@docker
def test_a_container_that_has_ended(engine: Engine, tag: str) -> None:
    container = engine.create(tag, Launch(cmd=("/bin/leaf",), network="none"))
    try:
        engine.start(container)
        assert engine.wait(container, 20) == 5
        assert not measure_exec(engine, container)
    finally:
        engine.remove(container)


def test_only_an_empty_program_is_executed(tmp_path: Path) -> None:
    for name, content, mode in (("empty", "", 0o755), ("full", "#!/bin/sh\n", 0o755), ("plain", "", 0o644)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(mode)
    (tmp_path / "link").symlink_to("empty")
    asked = ("empty", "full", "plain", "link", "absent", ".")
    assert [name for name in asked if is_empty_program(tmp_path / name)] == ["empty"]
