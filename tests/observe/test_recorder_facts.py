"""Facts that are derived from the kernel's after a recording; no kernel is needed here."""

import pytest

from slimtrace.facts.events import Abi, CallSet, Origin, Phase
from slimtrace.observe.container.attach import with_syscalls_in_progress
from slimtrace.observe.kernel import io_uring

APP = (Phase.APP, Origin.CONTAINER)


def test_a_call_that_never_returned_was_made() -> None:
    sets = (CallSet(*APP, calls=("read",)), CallSet(Phase.RUNTIME, Origin.CONTAINER, calls=("mount",)))
    unfinished = {
        7: frozenset({(Abi.NATIVE, 0), (Abi.NATIVE, 9_999)}),  # read, and a number without a name
        11: frozenset({(Abi.COMPAT, 3)}),
        13: frozenset({(Abi.NATIVE, 1)}),  # of a process outside the container
    }
    process_states = {7: APP, 11: (Phase.APP, Origin.EXEC)}
    assert with_syscalls_in_progress(sets, unfinished, process_states.get) == (
        *sets,
        CallSet(Phase.APP, Origin.EXEC, ("read",), abi=Abi.COMPAT),
    )


@pytest.mark.parametrize(
    ("group", "seen", "subjects"),
    [
        (CallSet(*APP, calls=("openat",)), False, []),
        (CallSet(*APP, calls=("io_uring_setup",)), False, [""]),
        (CallSet(Phase.RUNTIME, Origin.CONTAINER, calls=("io_uring_setup",)), False, []),
        (CallSet(*APP, calls=("io_uring_setup", "io_uring_enter")), True, []),
        (CallSet(*APP, calls=("nop", "openat", "read"), abi=Abi.IO_URING), True, []),
        (CallSet(*APP, calls=("connect", "statx", "200"), abi=Abi.IO_URING), True, ["200", "connect", "statx"]),
        (CallSet(Phase.APP, Origin.EXEC, calls=("connect",), abi=Abi.IO_URING), True, ["connect"]),
    ],
)
def test_doubts_about_unseen_io_uring_operations(group: CallSet, seen: bool, subjects: list[str]) -> None:
    doubts = list(io_uring.doubts([group], seen, frozenset({"connect", "statx"})))
    assert [doubt.subject for doubt in doubts] == subjects
    assert {doubt.code for doubt in doubts} <= {"io-uring"}
