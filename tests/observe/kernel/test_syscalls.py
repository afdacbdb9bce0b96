"""The tables of system calls: names for each architecture and ABI, and where the arguments are."""

import dataclasses

import pytest

from slimtrace.facts.events import Abi, Use
from slimtrace.observe.kernel import io_uring, syscalls
from slimtrace.observe.kernel.syscalls import CALL_NUMBERS, NONE, SHAPES, Act


@pytest.mark.parametrize(
    ("machine", "abi", "expected"),
    [  # arch/x86/entry/syscalls, include/uapi/asm-generic/unistd.h, arch/arm/tools/syscall.tbl
        ("x86_64", Abi.NATIVE, {"open": 2, "openat": 257, "execve": 59, "getdents64": 217, "openat2": 437}),
        ("x86_64", Abi.COMPAT, {"open": 5, "openat": 295, "execve": 11, "stat64": 195, "connect": 362}),
        ("x86_64", Abi.X32, {"open": 2, "openat": 257, "execve": 520, "execveat": 545}),
        ("aarch64", Abi.NATIVE, {"openat": 56, "execve": 221, "newfstatat": 79, "getdents64": 61, "bind": 200}),
        ("aarch64", Abi.COMPAT, {"open": 5, "openat": 322, "execve": 11, "mmap2": 192, "connect": 283}),
    ],
)
def test_numbers(machine: str, abi: Abi, expected: dict[str, int]) -> None:
    assert {name: syscalls.number_of(name, abi, machine) for name in expected} == expected
    shapes = syscalls.shapes_by_number(abi, machine)
    assert {name: shapes[number][0] for name, number in expected.items()} == {name: name for name in expected}
    assert all(number < CALL_NUMBERS for number in shapes)


def test_what_an_architecture_has_not() -> None:
    assert syscalls.number_of("open", machine="aarch64") == -1
    assert syscalls.number_of("open", Abi.X32, "aarch64") == -1
    assert syscalls.names(machine="pdp11") == {}
    assert not {"open", "stat", "rename"} & {
        name for name, _ in syscalls.shapes_by_number(machine="aarch64").values()
    }


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_family_is_there_on_each_architecture(machine: str) -> None:
    """What the man pages count to a family, in the form that the architecture has."""
    have = {name for name, _ in syscalls.shapes_by_number(machine=machine).values()}
    for name in (
        *("openat", "openat2", "open_by_handle_at", "execve", "execveat", "newfstatat", "statx", "faccessat"),
        *("faccessat2", "readlinkat", "statfs", "fstatfs", "getxattr", "lgetxattr", "fgetxattr", "setxattr"),
        *("listxattr", "removexattr", "getxattrat", "setxattrat", "listxattrat", "removexattrat", "chdir"),
        *("fchdir", "chroot", "pivot_root", "getdents64", "truncate", "renameat2", "linkat", "symlinkat"),
        *("unlinkat", "mkdirat", "mknodat", "fchmodat", "fchmodat2", "fchownat", "utimensat", "mmap", "mount"),
        *("inotify_add_watch", "fanotify_mark", "name_to_handle_at", "bind", "connect", "sendto", "sendmsg"),
    ):
        assert name in have, name


def test_younger_calls_do_not_contradict_libseccomp() -> None:
    known = {
        number: name for number, name in syscalls.names(machine="x86_64").items() if number in syscalls.YOUNGER
    }
    assert known == syscalls.YOUNGER


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_makes_sense(name: str) -> None:
    """Each argument is one of the six, and what the act needs is there."""
    shape = SHAPES[name]
    positions = (shape.path, shape.dirfd, shape.flags, shape.how, shape.needs, *shape.second)
    assert all(position == NONE or 0 <= position < 6 for position in positions)
    match shape.act:
        case Act.NAME | Act.ADDRESS:
            assert shape.path != NONE
        case Act.DESCRIPTOR:
            assert shape.opens or shape.dirfd != NONE
        case _:
            assert shape == dataclasses.replace(shape, path=NONE, dirfd=NONE, second=(NONE, NONE))
    assert not shape.empty_path or shape.dirfd != NONE


def test_a_32_bit_call_has_a_wide_argument_in_two_registers() -> None:
    wide = syscalls.shapes_by_number(Abi.COMPAT, "x86_64")[
        syscalls.number_of("fanotify_mark", Abi.COMPAT, "x86_64")
    ]
    assert (wide[1].path, wide[1].dirfd) == (5, 4)


def test_io_uring_operations() -> None:
    """As in include/uapi/linux/io_uring.h."""
    numbers = {"nop": 0, "openat": 18, "statx": 21, "openat2": 28, "renameat": 35, "linkat": 39, "socket": 45}
    assert {name: io_uring.number_of(name) for name in numbers} == numbers
    assert io_uring.name_of(18) == "openat" and io_uring.name_of(250) == "250"
    assert not set(io_uring.PATH_OPERATIONS) & io_uring.SOCKET_OPERATIONS
    assert set(io_uring.PATH_OPERATIONS) | io_uring.SOCKET_OPERATIONS <= set(io_uring.OPERATIONS)
    assert syscalls.names_and_uses()[Abi.IO_URING, 18] == ("io_uring openat", Use.READ)
