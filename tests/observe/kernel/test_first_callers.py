"""The kernel side's maps of first callers and argument values as facts."""

import pytest

from slimtrace.facts.events import MAX_VALUES, Abi, CallArguments, FirstCall, Origin, Phase, process_key
from slimtrace.observe.kernel import syscalls
from slimtrace.observe.kernel.first_callers import (
    ExecutedPrograms,
    FirstCaller,
    arguments,
    first_caller,
    io_uring_rows,
    rows,
)

APP = (Phase.APP, Origin.CONTAINER, Abi.NATIVE)
FILTERED = (Phase.FILTERED, Origin.CONTAINER, Abi.NATIVE)
RUN = 3


def programs() -> ExecutedPrograms:
    """Process 17 executed /bin/sh, then /bin/app; its child 19, which the shell forked, /bin/app too."""
    known = ExecutedPrograms()
    known.executed(process_key(RUN, 17), 0xA, "/bin/sh", "")
    known.executed(process_key(RUN, 19), 0xB, "/bin/app", "/bin/sh")
    known.executed(process_key(RUN, 17), 0xB, "/bin/app", "/bin/sh")
    known.executed(process_key(RUN, 17), 0xB, "/bin/app", "/bin/app")
    return known


@pytest.mark.parametrize(
    ("caller", "program"),
    [
        (FirstCaller("read", 17, 0xA, APP), "/bin/sh"),
        (FirstCaller("read", 19, 0xB, APP), "/bin/app"),
        (FirstCaller("read", 23, 0xC, APP), ""),  # its execve was lost
        (FirstCaller("execve", 19, 0xB, APP), "/bin/sh"),  # the call came back in the program that it executed
        (FirstCaller("execve", 17, 0xB, APP), "/bin/sh"),
        (FirstCaller("execve", 17, 0xA, FILTERED), ""),
        (FirstCaller("setuid", 17, 0, FILTERED), ""),
        (FirstCaller("read", 29, 0, APP), "/bin/server"),  # attached to
        (FirstCaller("read", 31, 0, APP), "/bin/server"),  # its grandchild
        (FirstCaller("read", 41, 0, APP), ""),
        (FirstCaller("setuid", 29, 0, FILTERED), ""),
    ],
)
def test_a_first_caller_has_its_program(caller: FirstCaller, program: str) -> None:
    held = {process_key(RUN, 29): "/bin/server"}
    parents = {process_key(RUN, 31): process_key(RUN, 30), process_key(RUN, 30): process_key(RUN, 29)}
    parents |= {
        process_key(RUN, 41): process_key(RUN, 42),
        process_key(RUN, 42): process_key(RUN, 41),
    }  # pids used again
    found = programs().first_calls([caller], RUN, held, parents)
    assert found == (FirstCall(caller.call, program, process_key(RUN, caller.pid), *caller.place),)


def test_a_word_is_read() -> None:
    read = syscalls.number_of("read")
    assert first_caller(read, 17 << 32 | 0xA, APP) == FirstCaller("read", 17, 0xA, APP)
    assert first_caller(read, 0, APP) is None
    assert first_caller(1023, 17 << 32, APP) is None
    io_uring = (Phase.APP, Origin.CONTAINER, Abi.IO_URING)
    assert first_caller(18, 17 << 32, io_uring) == FirstCaller("openat", 17, 0, io_uring)


def test_every_row_is_of_one_place() -> None:
    """bpf/syscalls.h: the rows of refused calls lie between the two."""
    numbers = [row for row, _ in (*rows(), *io_uring_rows())]
    assert numbers == [*range(18), *range(36, 42)]
    assert dict(rows())[2] == APP


def test_values_are_sorted_by_call_and_place() -> None:
    socket, prctl = syscalls.number_of("socket"), syscalls.number_of("prctl")
    recorded = [(2, socket, 10), (2, socket, 1), (1, prctl, 8), (2, 1023, 5), (35, socket, 5)]
    recorded += [(2, prctl, value) for value in range(MAX_VALUES + 1)]
    assert arguments(recorded, [(1, prctl), (5, socket)]) == (
        CallArguments("prctl", 0, (8,), *FILTERED, more=True),
        CallArguments("socket", 0, (1, 10), *APP),
        CallArguments("prctl", 0, tuple(range(MAX_VALUES)), *APP, more=True),
        CallArguments("socket", 0, (), Phase.APP, Origin.EXEC, more=True),
    )
