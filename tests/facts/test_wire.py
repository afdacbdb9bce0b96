"""The record layout: bpf/wire.h as compiled against its Python side; and what decode makes of records."""

import json
import re
import struct
import subprocess
from enum import IntEnum
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slimtrace import data
from slimtrace.facts import wire
from slimtrace.facts.events import Abi, Exec, FileUse, Listen, Origin, Phase, Socket, Use, process_key
from slimtrace.observe.kernel.syscalls import Act

HEADER = data.folder("bpf") / "wire.h"
NAMES = {
    (Abi.NATIVE, 2): ("open", Use.READ),
    (Abi.NATIVE, 85): ("creat", Use.WRITE),
    (Abi.NATIVE, 4): ("stat", Use.STAT),
    (Abi.NATIVE, 82): ("rename", Use.CHANGE),
    (Abi.NATIVE, 41): ("socket", Use.READ),
    (Abi.NATIVE, 42): ("connect", Use.WRITE),
    (Abi.NATIVE, 217): ("getdents64", Use.LIST),
    (Abi.COMPAT, 5): ("open", Use.READ),
    (Abi.IO_URING, 18): ("io_uring openat", Use.READ),
}
O_WRONLY, O_CREAT, O_TRUNC, O_PATH, NOFOLLOW = 0o1, 0o100, 0o1000, 0o10000000, 0x100
DIRECTORY, REGULAR = 0o40755, 0o100644


# What the compiler says


def structs() -> dict[str, list[str]]:
    """Each struct of wire.h with its members, as they are written there."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    found = re.findall(r"struct (\w+) \{(.*?)\};", text, flags=re.DOTALL)
    return {name: re.findall(r"(\w+)(?:\[\d+\])?;", body) for name, body in found}


def constants() -> list[str]:
    """Each enum member and number of wire.h."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    return re.findall(r"^\s+([A-Z0-9_]+) = \d+,", text, flags=re.MULTILINE) + re.findall(
        r"#define ([A-Z_]+) \d+", text
    )


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """sizeof each struct, "struct.member" to its offset, each constant to its value."""
    wanted = {name: f"sizeof(struct {name})" for name in structs()}
    for name, members in structs().items():
        wanted |= {f"{name}.{member}": f"offsetof(struct {name}, {member})" for member in members}
    wanted |= {name: name for name in constants()}
    folder = tmp_path_factory.mktemp("wire")
    types = "".join(f"typedef {kind} {name};\n" for name, kind in TYPES.items())
    lines = ",\\n".join(f'\\"{name}\\": %ld' for name in wanted)
    values = ", ".join(f"(long)({expression})" for expression in wanted.values())
    program = f'#include <stddef.h>\n#include <stdio.h>\n{types}#include "{HEADER}"\n'
    program += f'int main(void) {{ printf("{{{lines}}}", {values}); return 0; }}\n'
    (folder / "layout.c").write_text(program)
    subprocess.run(["gcc", "-o", folder / "layout", folder / "layout.c"], check=True)
    found: dict[str, int] = json.loads(subprocess.check_output([folder / "layout"]))
    return found


TYPES = {
    "u8": "unsigned char",
    "u16": "unsigned short",
    "u32": "unsigned int",
    "s32": "int",
    "u64": "unsigned long long",
}
BY_BCC = {"call_shape", "io_uring_shape"}  # bcc reads their layout from the compiler


@pytest.mark.requires("cc")
def test_every_record_is_laid_out_the_same(compiled: dict[str, int]) -> None:
    assert structs().keys() - BY_BCC == wire.LAYOUTS.keys()
    for name in wire.LAYOUTS:
        at = 0
        for index, (member, letter) in enumerate(wire.struct_fields(name)):
            owner = (
                "record" if index < len(wire.struct_fields("record")) else name
            )  # the head is a struct of its own
            assert compiled[f"{owner}.{member}"] == at, f"{name}.{member}"
            at += struct.calcsize(f"<{letter}")
        assert struct.calcsize(wire.struct_format(name)) == at == compiled[name], name
        own = [member for member, _ in wire.LAYOUTS[name]]
        assert structs()[name] == (
            ["head", *own] if own else [member for member, _ in wire.struct_fields("record")]
        )
        assert not own or compiled[f"{name}.head"] == 0


@pytest.mark.requires("cc")
def test_every_constant_is_the_same(compiled: dict[str, int]) -> None:
    enums: dict[str, type[IntEnum]] = {"PHASE_": Phase, "ORIGIN_": Origin, "ABI_": Abi, "ACT_": Act}
    mine = {name: value for name, value in vars(wire).items() if name in constants()}
    for prefix, members in enums.items():
        mine |= {f"{prefix}{member.name}": int(member) for member in members}
    mine["ACT_NONE"] = 0  # what is in no row
    assert mine == {name: compiled[name] for name in constants()}


# What decode makes of a record


def head(kind: int, origin: int = 0, flags: int = 0, pid: int = 1009) -> bytes:
    return struct.pack("<IIBBHI", kind, pid, 2, origin, flags, 0)


def path_record(
    kind: int,
    flags: int = 0,
    asked: bytes = b"",
    base: bytes = b"",
    resolved: bytes = b"",
    args: bytes = b"",
    call: int = 2,
    open_flags: int = 0,
    error: int = 0,
    mode: int = REGULAR,
    origin: int = 0,
    magic: int = 0,
    abi: int = 0,
) -> bytes:
    lengths = (len(asked), len(base), len(resolved), len(args))
    body = struct.pack("<QQQiIIIHHHHHHI", 17, 19, open_flags, error, mode, 997, magic, call, *lengths, abi, 0)
    return head(kind, origin, flags) + body + asked + base + resolved + args


OPENED, FOREIGN, TRUNCATED, BASED = wire.FLAG_OPENED, wire.FLAG_FOREIGN, wire.FLAG_TRUNCATED, wire.FLAG_BASED
FILE, EXEC = wire.RECORD_FILE, wire.RECORD_EXEC
DEEP = b"d\0" * 2047
PLAIN = {"asked": b"/b/a", "resolved": b"a\0b\0", "flags": OPENED}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (path_record(FILE, **PLAIN), FileUse(Use.READ, "/b/a", "", "/b/a", call="open")),
        (
            path_record(FILE, OPENED | BASED, b"../a", b"c\0b\0", b"a\0b\0"),
            FileUse(Use.READ, "../a", "/b/c", "/b/a", call="open"),
        ),
        (
            path_record(FILE, OPENED | BASED, b"a", b"", b"a\0"),  # in the root directory
            FileUse(Use.READ, "a", "/", "/a", call="open"),
        ),
        (
            path_record(FILE, OPENED | FOREIGN, b"/v/a", b"", b"a\0v\0", magic=0x9FA0),
            FileUse(Use.READ, "/v/a", "", "/v/a", foreign=True, filesystem="proc", call="open"),
        ),
        (
            path_record(FILE, OPENED | FOREIGN, b"/v/a", b"", b"a\0v\0", magic=0x1D),
            FileUse(Use.READ, "/v/a", "", "/v/a", foreign=True, filesystem="0x1d", call="open"),
        ),
        (
            path_record(FILE, OPENED | wire.FLAG_DELETED, b"/b/a", b"", b"a\0b\0", magic=0x9FA0),
            FileUse(Use.READ, "/b/a", "", "/b/a", deleted=True, call="open"),
        ),
        (
            path_record(FILE, OPENED, b"", b"", b"a\0b\0", call=217),
            FileUse(Use.LIST, "", "", "/b/a", call="getdents64"),
        ),
        (
            path_record(FILE, **PLAIN, call=5, abi=1),
            FileUse(Use.READ, "/b/a", "", "/b/a", call="open", abi=Abi.COMPAT),
        ),
        (path_record(FILE, asked=b"/a", call=18, abi=3), FileUse(Use.READ, "/a", call="io_uring openat")),
        (
            head(wire.RECORD_SOCKET) + struct.pack("<HHHHHHi16s", 41, 0, 16, 3, 7, 0, -1, b""),
            Socket("socket", "netlink", "raw", 7, error=1, pid=1009),
        ),
        (
            head(wire.RECORD_SOCKET, 1)
            + struct.pack("<HHHHHHi16s", 42, 0, 10, 1, 6, 8017, -115, bytes(15) + b"\1"),
            Socket("connect", "inet6", "stream", 6, "::1", 8017, 115, 1009, Origin.EXEC),
        ),
        (
            head(wire.RECORD_SOCKET) + struct.pack("<HHHHHHi16s", 42, 0, 97, 89, 0, 0, 0, b""),
            Socket("connect", "97", "89", pid=1009),
        ),
        (
            path_record(FILE, TRUNCATED, b"/a", error=-36),
            FileUse(Use.READ, "/a", error=36, truncated=True, call="open"),
        ),
        (
            path_record(FILE, BASED, b"a", b"b\0", error=-2, origin=1),
            FileUse(Use.READ, "a", "/b", error=2, call="open", origin=Origin.EXEC),
        ),
        (
            path_record(FILE, OPENED | BASED, b"\xff\n", b"\xfe\0", b"\xff\n\0\xfe\0"),
            FileUse(Use.READ, "\udcff\n", "/\udcfe", "/\udcfe/\udcff\n", call="open"),
        ),
        (
            path_record(FILE, OPENED | BASED, b"d", DEEP[2:], DEEP),
            FileUse(Use.READ, "d", "/d" * 2046, "/d" * 2047, call="open"),
        ),
        (path_record(FILE, **PLAIN, open_flags=O_WRONLY), FileUse(Use.WRITE, "/b/a", "", "/b/a", call="open")),
        (path_record(FILE, **PLAIN, open_flags=O_TRUNC), FileUse(Use.WRITE, "/b/a", "", "/b/a", call="open")),
        (
            path_record(FILE, **PLAIN, open_flags=O_CREAT | O_WRONLY),
            FileUse(Use.WRITE, "/b/a", "", "/b/a", created=True, call="open"),
        ),
        (
            path_record(FILE, **PLAIN, call=85),  # creat has no flags, and creates
            FileUse(Use.WRITE, "/b/a", "", "/b/a", created=True, call="creat"),
        ),
        (path_record(FILE, **PLAIN, mode=DIRECTORY), FileUse(Use.READ, "/b/a", "", "/b/a", call="open")),
        (
            path_record(FILE, **PLAIN, mode=DIRECTORY, open_flags=O_PATH),
            FileUse(Use.STAT, "/b/a", "", "/b/a", call="open"),
        ),
        (path_record(FILE, asked=b"/a", call=4), FileUse(Use.STAT, "/a", call="stat")),
        (path_record(FILE, asked=b"/a", call=4, open_flags=NOFOLLOW), FileUse(Use.LINK, "/a", call="stat")),
        (path_record(FILE, asked=b"/a", call=82, open_flags=O_CREAT), FileUse(Use.CHANGE, "/a", call="rename")),
        (path_record(FILE, asked=b"/a", call=499), FileUse(Use.STAT, "/a", call="499")),
        (
            path_record(EXEC, OPENED, b"/a", b"", b"sh\0bin\0", b"sh\0\0\xff x\0"),
            Exec("/a", "", "/bin/sh", 1009, 997, argv=("sh", "", "\udcff x")),
        ),
        (
            path_record(EXEC, OPENED | BASED | FOREIGN, b"a", b"b\0", b"a\0b\0", b"cut\0of", origin=1),
            Exec("a", "/b", "/b/a", 1009, 997, Origin.EXEC, foreign=True, argv=("cut",)),
        ),
        (head(wire.RECORD_FORK) + struct.pack("<II", 1013, 0), wire.Fork(1009, 1013)),
        (head(wire.RECORD_EXIT) + struct.pack("<iI", 7 << 8, 0), wire.Exit(1009, 7 << 8)),
        (
            head(wire.RECORD_LISTEN, 1) + struct.pack("<HHI16s", 2, 8017, 0, bytes((127, 0, 0, 1))),
            Listen(8017, "127.0.0.1", 1009, Origin.EXEC),
        ),
        (
            head(wire.RECORD_LISTEN) + struct.pack("<HHI16s", 10, 8017, 0, bytes(15) + b"\1"),
            Listen(8017, "::1", 1009),
        ),
        (head(wire.RECORD_CGROUP) + struct.pack("<Q", 1 << 40), wire.CgroupArmed(1 << 40)),
        (head(wire.RECORD_SOCKET + 1) + bytes(97), None),
    ],
)
def test_decode(raw: bytes, expected: object) -> None:
    found = wire.decode(raw, NAMES)
    if isinstance(expected, FileUse):
        assert isinstance(found, FileUse)
        assert found.pid == 1009
        found = FileUse(**{name: getattr(found, name) for name in FileUse.__slots__} | {"pid": 0})
    assert found == expected


def test_the_recordings_number_goes_into_every_process() -> None:
    records = [
        wire.decode(raw, NAMES, run=3)
        for raw in (
            path_record(FILE, **PLAIN),
            path_record(EXEC, OPENED, b"/a", b"", b"a\0"),
            head(wire.RECORD_FORK) + struct.pack("<II", 1013, 0),
        )
    ]
    numbers = [
        number
        for record in records
        for name in ("pid", "parent", "child")
        if (number := getattr(record, name, 0))
    ]
    assert numbers == [process_key(3, pid) for pid in (1009, 1009, 997, 1009, 1013)]


def test_the_program_of_a_process_is_recorded_with_its_file_uses() -> None:
    found = wire.decode(path_record(FILE, **PLAIN), NAMES, 3, "/bin/sh")
    assert isinstance(found, FileUse)
    assert found.program == "/bin/sh"


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("origin", Origin)
def test_the_state_of_a_process(phase: Phase, origin: Origin) -> None:
    word = wire.process_state_word(phase, origin)
    assert wire.process_state(word) == wire.process_state(word | 0xFFFFFFF0) == (phase, origin)
    assert wire.process_state(word & ~1) is None


WHOLE = [
    path_record(FILE, OPENED | BASED, b"../a", b"c\0b\0", b"a\0b\0"),
    path_record(EXEC, OPENED, b"/a", b"", b"sh\0bin\0", b"sh\0-c\0"),
    head(wire.RECORD_FORK) + bytes(8),
    head(wire.RECORD_EXIT) + bytes(8),
    head(wire.RECORD_LISTEN) + bytes(24),
    head(wire.RECORD_CGROUP) + bytes(8),
    head(wire.RECORD_SOCKET) + bytes(32),
]


@pytest.mark.parametrize("raw", WHOLE)
def test_a_record_cut_short_is_no_fact(raw: bytes) -> None:
    for length in range(len(raw)):
        with pytest.raises(struct.error):
            wire.decode(raw[:length], NAMES)
    assert wire.decode(raw, NAMES) is not None


@given(st.sampled_from(WHOLE), st.binary(max_size=200), st.integers(0, 100))
@example(WHOLE[0][:9] + b"\7" + WHOLE[0][10:], b"", 0)  # an origin that does not exist
def test_hostile_bytes(whole: bytes, noise: bytes, at: int) -> None:
    """Whatever comes is a fact, no fact, or one of two exceptions that say so."""
    for raw in (noise, whole[:at] + noise, whole[:at] + noise + whole[at + len(noise) :]):
        try:
            found = wire.decode(raw, NAMES)
        except (struct.error, ValueError):
            continue
        if isinstance(found, FileUse):
            assert found.resolved == "" or found.resolved.startswith("/")


def test_the_header_is_found_where_it_is_installed() -> None:
    assert Path(HEADER).is_file()
    assert structs().keys() >= {"record", "path_record", "call_shape"}
    assert {"RECORD_FILE", "FLAG_BASED", "ORIGIN_EXEC", "NO_ARGUMENT"} <= set(constants())


def test_the_program_of_an_execve_is_told_apart() -> None:
    raw = path_record(EXEC, **PLAIN)
    at = struct.calcsize(wire.struct_format("path_record")) - 4
    assert wire.program_hash(raw[:at] + struct.pack("<I", 0xABCDEF) + raw[at + 4 :]) == 0xABCDEF
    assert wire.program_hash(path_record(FILE, **PLAIN)) == 0
    assert wire.program_hash(head(wire.RECORD_FORK) + bytes(8)) == 0
