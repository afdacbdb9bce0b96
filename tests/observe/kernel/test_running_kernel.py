"""Offsets from BTF: of a small kernel that is made here, and of the one that runs."""

import os
import platform
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from slimtrace.errors import Exit, SlimtraceError
from slimtrace.observe.kernel import running_kernel
from slimtrace.observe.kernel.btf import Btf

INT, POINTER, ARRAY, STRUCT, UNION, ENUM, FORWARD, TYPEDEF, CONST, FUNCTION, PROTOTYPE, VARIABLE, SECTION = (
    1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 13, 14, 15,
)  # fmt: skip
FLOAT, DECLARATION_TAG, ENUM64 = 16, 17, 19
Member = tuple[str, int, int]  # name, type, bits from the start


class Types:
    """BTF under construction (Documentation/bpf/btf.rst); types are numbered from 1 in the order they come."""

    def __init__(self) -> None:
        self._names = b"\0"
        self._types = b""

    def _name(self, name: str) -> int:
        if not name:
            return 0
        at = self._names.find(b"\0" + name.encode() + b"\0") + 1
        if not at:  # each name is there once
            at = len(self._names)
            self._names += name.encode() + b"\0"
        return at

    def add(
        self, kind: int, name: str = "", size: int = 8, count: int = 0, extra: Sequence[int] = ()
    ) -> "Types":
        info = kind << 24 | count
        self._types += struct.pack(f"<III{len(extra)}I", self._name(name), info, size, *extra)
        return self

    def group(self, kind: int, name: str, *members: Member, bitfields: bool = False) -> Self:
        rows = b"".join(struct.pack("<III", self._name(own), type_id, bits) for own, type_id, bits in members)
        info = kind << 24 | len(members) | bitfields << 31
        self._types += struct.pack("<III", self._name(name), info, 64) + rows
        return self

    def raw(self, version: int = 1, magic: int = 0xEB9F) -> bytes:
        sizes = (24, 0, len(self._types), len(self._types), len(self._names))
        return struct.pack("<HBB5I", magic, version, 0, *sizes) + self._types + self._names


def small() -> Types:
    """One type of every kind that has words of its own behind the header, then what is asked for."""
    types = Types()
    types.add(INT, "int", 4, extra=(32,))  # 1
    types.add(POINTER, "", 1)
    types.add(ARRAY, "", 0, extra=(1, 1, 7))
    types.add(ENUM, "", 4, 2, extra=(0, 1, 0, 2))
    types.add(ENUM64, "", 8, 1, extra=(0, 1, 0))
    types.add(PROTOTYPE, "", 1, 2, extra=(0, 1, 0, 1))
    types.add(FUNCTION, "f", 6)
    types.add(VARIABLE, "v", 1, extra=(0,))
    types.add(SECTION, ".data", 4, 1, extra=(8, 0, 4))
    types.add(DECLARATION_TAG, "tag", 1, extra=(0,))
    types.add(FLOAT, "float", 4)  # 11
    types.group(STRUCT, "file")  # 12: without members, as where only a pointer to it is known
    types.add(FORWARD, "path", 0)
    types.group(STRUCT, "path", ("mnt", 2, 0), ("dentry", 2, 64))  # 14
    types.add(TYPEDEF, "path_t", 14)
    types.add(CONST, "", 15)  # 16
    types.group(UNION, "", ("f_path", 16, 0), ("other", 1, 0))  # 17
    types.group(STRUCT, "", ("deep", 1, 32))
    types.group(STRUCT, "file", ("f_mode", 1, 0), ("", 17, 128), ("", 18, 320))
    types.group(STRUCT, "inode", ("i_ino", 1, 64 | 3 << 24), ("i_mode", 1, 32), bitfields=True)
    return types


@pytest.mark.parametrize(
    ("member", "offset"),
    [
        ("path.mnt", 0),
        ("path.dentry", 8),
        ("file.f_mode", 0),
        ("file.f_path", 16),  # in an anonymous union
        ("file.f_path.dentry", 24),  # through a const typedef
        ("file.deep", 44),  # in an anonymous structure
        ("inode.i_ino", 8),  # a bit field's size is in the same word
        ("inode.i_mode", 4),
    ],
)
def test_offsets(member: str, offset: int) -> None:
    assert Btf(small().raw(), running_kernel.STRUCTS).offset(member) == offset


@pytest.mark.parametrize(
    ("member", "missing"),
    [
        ("dentry.d_parent", "dentry"),
        ("file.f_inode", "file.f_inode"),
        ("file.f_mode.deeper", "file.f_mode.deeper"),
        ("inode", ""),
    ],
)
def test_what_a_kernel_does_not_have(member: str, missing: str) -> None:
    btf = Btf(small().raw(), running_kernel.STRUCTS)
    if not missing:
        assert btf.offset(member) == 0
        return
    with pytest.raises(KeyError) as raised:
        btf.offset(member)
    assert raised.value.args == (missing,)


def test_numbers() -> None:
    """Of a structure with members and of a function; what was not asked for or is not there has none."""
    btf = Btf(small().raw(), running_kernel.STRUCTS, functions=("f", "path"))
    assert (btf.number("path"), btf.number("file"), btf.number("f")) == (14, 19, 7)
    for name in ("dentry", "v", "tag"):
        with pytest.raises(KeyError):
            btf.number(name)


def test_casts_need_the_function_and_all_types() -> None:
    types = small().group(STRUCT, "list_head", ("next", 2, 0))
    types.group(STRUCT, "pt_regs", ("ax", 1, 0)).group(STRUCT, "dentry", ("d_parent", 2, 0))
    function = ("bpf_rdonly_cast",)
    assert running_kernel.cast_constants(Btf(types.raw(), running_kernel.STRUCTS, functions=function)) == {}
    types.add(FUNCTION, "bpf_rdonly_cast", 6)
    lacking = small().add(FUNCTION, "bpf_rdonly_cast", 6)
    assert running_kernel.cast_constants(Btf(lacking.raw(), running_kernel.STRUCTS, functions=function)) == {}
    assert running_kernel.cast_constants(Btf(types.raw(), running_kernel.STRUCTS, functions=function)) == {
        "CAST_FUNCTION": 24,
        "BTF_ID_DENTRY": 23,
        "BTF_ID_FILE": 19,
        "BTF_ID_LIST_HEAD": 21,
        "BTF_ID_PT_REGS": 22,
    }


@pytest.mark.parametrize("raw", [b"", b"\x9f\xeb\1", small().raw(version=2), small().raw(magic=0x9FEB)])
def test_what_is_no_btf(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not BTF version 1"):
        Btf(raw, running_kernel.STRUCTS)


def test_truncated_btf() -> None:
    whole = small().raw()
    for length in range(24, len(whole)):
        with pytest.raises(ValueError, match="truncated"):
            Btf(whole[:length], running_kernel.STRUCTS)


def test_a_missing_member_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_kernel, "OFFSETS", {"AT_DENTRY_SB": "dentry.d_sb"})
    with pytest.raises(SlimtraceError, match="cannot find dentry in this kernel") as raised:
        running_kernel.constants(Btf(small().raw(), running_kernel.STRUCTS))
    assert raised.value.exit_code is Exit.KERNEL


@pytest.mark.parametrize("content", [None, b"no BTF"])
def test_a_kernel_without_btf(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "vmlinux").write_bytes(content)
    with pytest.raises(SlimtraceError, match="cannot read the kernel's type information") as raised:
        running_kernel.read_btf(tmp_path / "vmlinux")
    assert (raised.value.exit_code, "doctor" in raised.value.hint) == (Exit.KERNEL, True)


def test_another_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(SlimtraceError, match="riscv64") as raised:
        running_kernel.machine()
    assert raised.value.exit_code is Exit.KERNEL


def test_defines() -> None:
    assert running_kernel.defines({"B": 17, "A": 0}) == ["-DA=0", "-DB=17"]


@pytest.mark.parametrize("user", [0, 1009])
def test_only_root_traces(monkeypatch: pytest.MonkeyPatch, user: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    if user == 0:
        running_kernel.require_root()
        return
    with pytest.raises(SlimtraceError, match="without root") as raised:
        running_kernel.require_root()
    assert raised.value.exit_code is Exit.NOT_ROOT


# struct pt_regs is part of the kernel's promise to user space (asm/ptrace.h), and so never moves.
REGISTERS = {
    "x86_64": (("AT_ARG0", 112), ("AT_ARG1", 104), ("AT_ARG2", 96), ("AT_ARG3", 56), ("AT_CALL_NUMBER", 120)),
    "aarch64": (("AT_ARG1", 8), ("AT_ARG2", 16), ("AT_ARG3", 24)),
}


@pytest.mark.requires("bpf")
def test_this_kernel() -> None:
    found = running_kernel.constants(running_kernel.read_btf())
    assert found.keys() >= {*running_kernel.OFFSETS, "AT_TASK_ABI", "ABI_MASK", "PAGE_SIZE"}
    assert {name: found[name] for name, _ in REGISTERS[platform.machine()]} == dict(
        REGISTERS[platform.machine()]
    )
    assert (found["AT_PATH_MNT"], found["AT_PATH_DENTRY"], found["AT_QSTR_NAME"]) == (0, 8, 8)
    # what differs between kernels must at least not coincide
    for structure in ("task_struct", "dentry", "mount", "inode"):
        members = [
            found[name] for name, member in running_kernel.OFFSETS.items() if member.startswith(f"{structure}.")
        ]
        assert len(set(members)) == len(members) > 1


@pytest.mark.requires("root")
def test_the_hosts_mount_namespace() -> None:
    found = []
    for pid in ("1", "self"):  # pid 1 may be out of reach, even for root in a sandbox
        with suppress(OSError):
            found.append(Path(f"/proc/{pid}/ns/mnt").stat().st_ino)
    assert running_kernel.host_mount_namespace() == found[0]


@pytest.mark.parametrize(
    ("first", "expected"),
    [  # the arguments of io_uring's tracepoint (io_uring/io_uring.c) on present kernels
        (("io_kiocb",), ("io_kiocb",)),
        (("void", "unsigned char", "unsigned long long"), ("", "unsigned char", "unsigned long long")),
        ((), ()),
    ],
)
def test_the_arguments_of_a_tracepoint(first: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """A typedef of a pointer to a function, whose first argument is the tracepoint's own."""
    types = Types()  # 1 and 2: an integer and a structure; 3 and 4: pointers to the structure and to nothing
    types.add(INT, "unsigned char", extra=(8,)).group(STRUCT, "io_kiocb", ("opcode", 1, 0))
    types.add(POINTER, size=2).add(POINTER, size=0).add(INT, "unsigned long long", extra=(64,))
    numbers = {"io_kiocb": 3, "void": 4, "unsigned char": 1, "unsigned long long": 5}
    arguments = [0, 4, *(word for name in first for word in (0, numbers[name]))]
    types.add(PROTOTYPE, count=1 + len(first), size=0, extra=arguments)
    types.add(POINTER, size=6).add(TYPEDEF, "btf_trace_io_uring_submit_req", size=7)
    btf = Btf(types.raw(), running_kernel.STRUCTS, running_kernel.IO_URING_TRACEPOINTS)
    assert btf.tracepoint_arguments("io_uring_submit_req") == expected
    assert btf.tracepoint_arguments("io_uring_submit_sqe") == ()


@pytest.mark.requires("bpf")
def test_io_uring_of_this_kernel() -> None:
    """The constants are complete: either those of a request and of all that names a file in it, or an
    operation."""
    tracepoint, found = running_kernel.io_uring_constants(running_kernel.read_btf())
    if not tracepoint:
        pytest.skip("this kernel has no tracepoint of io_uring's requests")
    assert ("IO_URING_REQUEST" in found) == (set(running_kernel.IO_URING_OFFSETS) <= set(found))
    assert ("IO_URING_REQUEST" in found) != ("IO_URING_OPERATION" in found)
