"""Records of files are kept as they are, and decoded when somebody asks."""

import struct

import pytest

from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts import wire
from slimtrace.facts.events import Abi, FileUse, Phase, Use, process_key
from slimtrace.observe.kernel import syscalls
from slimtrace.observe.kernel.file_uses import NEWEST, FileUses
from slimtrace.observe.recorder import MAX_FACTS, Recorder

PID = 1009


def path_record(
    kind: int, asked: bytes, call: str, *, pid: int = PID, origin: int = 0, error: int = 0
) -> bytes:
    number = syscalls.number_of(call)
    head = (kind, pid, Phase.APP, origin, 0, 0)
    body = (1, 2, 0, -error, 0o100644, 1, 0, number, len(asked), 0, 0, 0, Abi.NATIVE, 7)
    return struct.pack(wire.struct_format("path_record"), *head, *body) + asked


def file_record(asked: bytes, call: str = "stat", **more: int) -> bytes:
    return path_record(wire.RECORD_FILE, asked, call, **more)


def test_they_come_in_the_order_of_the_records() -> None:
    uses = FileUses()
    for name in (b"/b", b"/a"):
        assert uses.keep(file_record(name), 3, "/bin/sh")
    uses.add(FileUse(Use.READ, "/held"))
    assert uses.keep(file_record(b"/c"), 3, "/bin/ls")
    assert len(uses) == 4
    assert [(use.asked, use.program) for use in uses.all()] == [
        ("/held", ""),
        ("/b", "/bin/sh"),
        ("/a", "/bin/sh"),
        ("/c", "/bin/ls"),
    ]
    assert {use.pid for use in uses.all() if use.program} == {process_key(3, PID)}
    assert len(uses) == 4


def test_what_is_known_by_name_is_not_new_but_is_kept() -> None:
    uses = FileUses()
    assert uses.keep(file_record(b"/a"), 3, "")
    assert not uses.keep(file_record(b"/a", "access", pid=1013), 3, "")
    assert uses.keep(file_record(b"/b", "access"), 3, "")
    assert [(use.asked, use.call) for use in uses.all()] == [("/a", "stat"), ("/a", "access"), ("/b", "access")]
    assert uses.seen == {"/a", "/b"}


def test_the_newest_are_few() -> None:
    uses = FileUses()
    for number in range(NEWEST + 7):
        uses.keep(file_record(b"/%d" % number), 3, "")
    assert not uses.newest
    uses.decode(7)
    assert list(uses.newest) == [f"/{number}" for number in range(7)]
    uses.decode(1000)
    assert list(uses.newest) == [f"/{number}" for number in range(7, NEWEST + 7)]


def test_where_sockets_were_bound() -> None:
    uses = FileUses()
    uses.keep(file_record(b"/run/a/socket", "bind"), 3, "")
    uses.keep(file_record(b"/run/b/socket", "bind", error=98), 3, "")
    uses.keep(file_record(b"/run/c/socket", "connect"), 3, "")
    assert uses.socket_directories() == {"/run/a"}


@pytest.mark.parametrize("raw", [file_record(b"/a")[:-1], file_record(b"/a", origin=7)], ids=["short", "door"])
def test_what_cannot_be_read_is_an_error(raw: bytes) -> None:
    recorder = Recorder()
    recorder.take(raw)
    for ask in (recorder.tally, recorder.tally, recorder._uses.all):
        with pytest.raises(SlimtraceError, match="cannot read the trace") as caught:
            ask()
        assert caught.value.exit_code is Exit.INTERNAL


def test_a_use_is_its_program_s_whatever_the_process_executes_later() -> None:
    recorder = Recorder()
    recorder.take(path_record(wire.RECORD_EXEC, b"/bin/sh", "execve"))
    recorder.take(file_record(b"/of-sh"))
    recorder.take(path_record(wire.RECORD_EXEC, b"/bin/ls", "execve"))
    recorder.take(file_record(b"/of-ls"))
    assert recorder.tally().files == 4
    assert recorder.tally().events == 4
    assert [(use.asked, use.program) for use in recorder._uses.all()] == [
        ("/of-sh", "/bin/sh"),
        ("/of-ls", "/bin/ls"),
    ]


def test_a_flood_is_cut_before_it_is_kept() -> None:
    recorder = Recorder()
    raw = file_record(b"/a")
    for _ in range(MAX_FACTS + 17):
        recorder.take(raw)
    assert len(recorder._uses) == MAX_FACTS
