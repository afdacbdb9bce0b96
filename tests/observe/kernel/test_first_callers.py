"""What the kernel side's tables of first callers and values say."""

import pytest

from slimtrace.facts.events import MAX_VALUES, Abi, CallArguments, FirstCall, Origin, Phase, process
from slimtrace.observe.kernel import syscalls
from slimtrace.observe.kernel.first_callers import Callers, First, arguments, first, ring_rows, rows

APP = (Phase.APP, Origin.CONTAINER, Abi.NATIVE)
FILTERED = (Phase.FILTERED, Origin.CONTAINER, Abi.NATIVE)
RUN = 3


def callers() -> Callers:
    """Process 17 executed /bin/sh, then /bin/app; its child 19, which the shell forked, /bin/app too."""
    known = Callers()
    known.executed(process(RUN, 17), 0xA, "/bin/sh", "")
    known.executed(process(RUN, 19), 0xB, "/bin/app", "/bin/sh")
    known.executed(process(RUN, 17), 0xB, "/bin/app", "/bin/sh")
    known.executed(process(RUN, 17), 0xB, "/bin/app", "/bin/app")
    return known


@pytest.mark.parametrize(
    ("told", "program"),
    [
        (First("read", 17, 0xA, APP), "/bin/sh"),
        (First("read", 19, 0xB, APP), "/bin/app"),
        (First("read", 23, 0xC, APP), ""),  # its execve was lost
        (First("execve", 19, 0xB, APP), "/bin/sh"),  # it came back in what was executed
        (First("execve", 17, 0xB, APP), "/bin/sh"),
        (First("execve", 17, 0xA, FILTERED), ""),
        (First("setuid", 17, 0, FILTERED), ""),
        (First("read", 29, 0, APP), "/bin/server"),  # attached to
        (First("read", 31, 0, APP), "/bin/server"),  # its grandchild
        (First("read", 41, 0, APP), ""),
        (First("setuid", 29, 0, FILTERED), ""),
    ],
)
def test_a_first_caller_has_its_program(told: First, program: str) -> None:
    held = {process(RUN, 29): "/bin/server"}
    parents = {process(RUN, 31): process(RUN, 30), process(RUN, 30): process(RUN, 29)}
    parents |= {process(RUN, 41): process(RUN, 42), process(RUN, 42): process(RUN, 41)}  # pids used again
    found = callers().first_calls([told], RUN, held, parents)
    assert found == (FirstCall(told.call, program, process(RUN, told.pid), *told.place),)


def test_a_word_is_read() -> None:
    read = syscalls.number_of("read")
    assert first(read, 17 << 32 | 0xA, APP) == First("read", 17, 0xA, APP)
    assert first(read, 0, APP) is None
    assert first(1023, 17 << 32, APP) is None
    ring = (Phase.APP, Origin.CONTAINER, Abi.RING)
    assert first(18, 17 << 32, ring) == First("openat", 17, 0, ring)


def test_every_row_is_of_one_place() -> None:
    """bpf/calls.h: those of refused calls lie between the two."""
    numbers = [row for row, _ in (*rows(), *ring_rows())]
    assert numbers == [*range(18), *range(36, 42)]
    assert dict(rows())[2] == APP


def test_values_are_told_by_call_and_place() -> None:
    socket, prctl = syscalls.number_of("socket"), syscalls.number_of("prctl")
    noted = [(2, socket, 10), (2, socket, 1), (1, prctl, 8), (2, 1023, 5), (35, socket, 5)]
    noted += [(2, prctl, value) for value in range(MAX_VALUES + 1)]
    assert arguments(noted, [(1, prctl), (5, socket)]) == (
        CallArguments("prctl", 0, (8,), *FILTERED, more=True),
        CallArguments("socket", 0, (1, 10), *APP),
        CallArguments("prctl", 0, tuple(range(MAX_VALUES)), *APP, more=True),
        CallArguments("socket", 0, (), Phase.APP, Origin.EXEC, more=True),
    )
