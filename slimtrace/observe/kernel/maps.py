"""Filling the programs' maps: how each system call and each io_uring operation names a file (bpf/wire.h)."""

import ctypes
from typing import Any

from slimtrace.facts import wire
from slimtrace.facts.events import Abi, Use
from slimtrace.observe.kernel import io_uring, syscalls
from slimtrace.observe.kernel.btf import Btf


def fill_call_shapes(bpf: Any) -> None:
    """Fill the map `call_shapes` of bcc's object `bpf` from observe/kernel/syscalls.py."""
    table = bpf[b"call_shapes"]
    for abi in (Abi.NATIVE, Abi.COMPAT, Abi.X32):
        for number, (_, shape) in syscalls.shapes_by_number(abi).items():
            row = table.Leaf()
            row.act, row.fs_change, row.mask = shape.act, shape.fs_change, shape.mask
            row.opens, row.empty_path = int(shape.opens), int(shape.empty_path)
            row.outcome = _outcome(shape)
            row.path, row.dirfd = _position(shape.path), _position(shape.dirfd)
            row.flags, row.how = _position(shape.flags), _position(shape.how)
            row.path2, row.dirfd2 = map(_position, shape.second)
            row.needs = _position(shape.needs)
            row.value_bits, row.indirect = shape.value_bits, int(shape.indirect)
            table[ctypes.c_int(abi * syscalls.CALL_NUMBERS + number)] = row


def fill_io_uring_shapes(bpf: Any, btf: Btf) -> set[str]:
    """Fill the map `io_uring_shapes` from observe/kernel/io_uring.py. Gives the names of the operations whose
    files can be named on this kernel."""
    table, named = bpf[b"io_uring_shapes"], set()
    for name, members in io_uring.PATH_OPERATIONS.items():
        row = table.Leaf()
        try:
            data = btf.offset("io_kiocb.cmd")

            def offset(member: str, data: int = data) -> int:
                return data + btf.offset(member) if member else 0

            row.name, row.dirfd, row.flags = map(offset, (members.name, members.dirfd, members.flags))
            row.name2, row.dirfd2 = map(offset, members.second)
        except KeyError:  # this kernel keeps the names elsewhere
            continue
        row.known = int(row.name > 0)
        named.add(name)
        table[ctypes.c_int(io_uring.number_of(name))] = row
    return named


def _position(argument: int) -> int:
    return wire.NO_ARGUMENT if argument == syscalls.NONE else argument


def _outcome(shape: syscalls.Shape) -> int:
    """With which result a call counts: sched_process_exec sees each program that was executed; a descriptor
    that is none, or a call on it that failed, reached nothing."""
    if shape.use is Use.EXEC:
        return wire.OUTCOME_FAILURE
    if shape.act in (syscalls.Act.NAME, syscalls.Act.ADDRESS, syscalls.Act.SOCKET):
        return wire.OUTCOME_ANY
    if shape.use is Use.LIST:  # a call with the result 0, at the end of the directory, lists nothing
        return wire.OUTCOME_SOMETHING
    return wire.OUTCOME_SUCCESS
