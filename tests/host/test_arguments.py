"""The first arguments that the probes record of some system calls, and who made each call first."""

import pytest
from workloads.harness import Seen, trace

from slimtrace.engine import Engine, Launch
from slimtrace.facts.events import MAX_VALUES, Phase

pytestmark = pytest.mark.requires("bpf", "docker", "cc")

NEW_NET, NEW_NS, NEW_UTS, NEW_TIME = 0x4000_0000, 0x0002_0000, 0x0400_0000, 0x80


def values(seen: Seen, phase: Phase = Phase.APP) -> dict[str, tuple[int, ...]]:
    return {one.call: one.values for one in seen.arguments if one.phase is phase and not one.more}


def test_values(engine: Engine, tag: str) -> None:
    """Under Docker's own seccomp profile: calls that it refuses are recorded too, but for clone3, which it
    answers with ENOSYS."""
    seen = trace(engine, tag, "values")
    assert values(seen) == {
        "clone": (0, NEW_NET | NEW_NS),
        "personality": (0x40000, 0xFFFF_FFFF),
        "prctl": (15,),
        "ptrace": (0,),
        "socket": (1, 10),
        "socketpair": (1,),
    }
    assert seen.lost == seen.unreadable == 0


def test_values_of_the_runtimes_calls(engine: Engine, tag: str) -> None:
    """Of runc once its seccomp filter is set: PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_CAP_AMBIENT. Before that no
    arguments are recorded."""
    seen = trace(engine, tag, "leaf", code=5)
    assert {8, 24, 47} <= set(values(seen, Phase.FILTERED)["prctl"])
    assert not values(seen, Phase.RUNTIME)


def test_the_flags_of_clone3_are_read_from_memory(engine: Engine, tag: str) -> None:
    seen = trace(engine, tag, "values", launch=Launch(security_opt=("seccomp=unconfined",)))
    assert values(seen)["clone3"] == (NEW_UTS | NEW_TIME,)


def test_more_values_than_are_told_apart(engine: Engine, tag: str) -> None:
    """`more` is set for a call with too many values, and for calls that are made when the BPF map is full."""
    for count, crowded in ((MAX_VALUES - 1, set()), (MAX_VALUES + 1, {"prctl"}), (4999, {"prctl", "socket"})):
        seen = trace(engine, tag, "values", str(count))
        app = {one.call: one for one in seen.arguments if one.phase is Phase.APP}
        assert {name for name, one in app.items() if one.more} == crowded
        assert len(app["prctl"].values) == min(count, MAX_VALUES)


def test_who_was_first(engine: Engine, tag: str) -> None:
    seen = trace(engine, tag, "execs")
    first = {one.call: one for one in seen.first_calls if one.phase is Phase.APP}
    names = {run.pid: run.asked for run in seen.execs}
    assert set(first) == set(seen.calls_in(Phase.APP).calls)
    assert (first["brk"].program, first["exit_group"].program) == ("/bin/execs", "/bin/leaf")
    assert first["execve"].program == "/bin/execs"  # execve returned in another program
    assert first["brk"].pid == seen.execs[0].pid
    assert names[first["exit_group"].pid] == "/bin/leaf"
    before = {one.program for one in seen.first_calls if one.phase is not Phase.APP}
    assert before == {""}


def test_a_child_is_of_its_parents_program(engine: Engine, tag: str) -> None:
    seen = trace(engine, tag, "values")
    (ptrace,) = (one for one in seen.first_calls if one.call == "ptrace")
    assert (ptrace.program, ptrace.pid) == ("/bin/values", seen.forks[-1].child)
