"""The programs' tables: how each system call, and each of io_uring's operations, names a file (bpf/wire.h)."""

import ctypes
from typing import Any

from slimtrace.facts import wire
from slimtrace.facts.events import Abi, Use
from slimtrace.observe.kernel import io_uring, syscalls
from slimtrace.observe.kernel.btf import Btf


def fill_calls(bpf: Any) -> None:
    """Fill the map `calls` of bcc's object `bpf` from observe/kernel/syscalls.py."""
    table = bpf[b"calls"]
    for abi in (Abi.NATIVE, Abi.COMPAT, Abi.X32):
        for number, (_, shape) in syscalls.shapes_by_number(abi).items():
            row = table.Leaf()
            row.act, row.places, row.mask = shape.act, shape.places, shape.mask
            row.opens, row.bare = int(shape.opens), int(shape.bare)
            row.outcome = _outcome(shape)
            row.path, row.dirfd = _place(shape.path), _place(shape.dirfd)
            row.flags, row.how = _place(shape.flags), _place(shape.how)
            row.path2, row.dirfd2 = map(_place, shape.second)
            row.needs = _place(shape.needs)
            row.noted, row.behind = shape.noted, int(shape.behind)
            table[ctypes.c_int(abi * syscalls.CALL_NUMBERS + number)] = row


def fill_rings(bpf: Any, btf: Btf) -> set[str]:
    """Fill the map `rings` from observe/kernel/io_uring.py. Gives the names of the operations whose files this
    kernel can tell."""
    table, named = bpf[b"rings"], set()
    for name, names in io_uring.NAMED.items():
        row = table.Leaf()
        try:
            data = btf.offset("io_kiocb.cmd")

            def place(member: str, data: int = data) -> int:
                return data + btf.offset(member) if member else 0

            row.name, row.dirfd, row.flags = place(names.name), place(names.dirfd), place(names.flags)
            row.name2, row.dirfd2 = map(place, names.second)
        except KeyError:  # this kernel keeps it elsewhere
            continue
        row.known = int(row.name > 0)
        named.add(name)
        table[ctypes.c_int(io_uring.number_of(name))] = row
    return named


def _place(argument: int) -> int:
    return wire.NO_ARGUMENT if argument == syscalls.NONE else argument


def _outcome(shape: syscalls.Shape) -> int:
    """With which result a call counts: a program that was executed is told by sched_process_exec; a descriptor
    that is none, or a call on it that failed, reached nothing."""
    if shape.use is Use.EXEC:
        return wire.OUTCOME_FAILURE
    if shape.act in (syscalls.Act.NAME, syscalls.Act.ADDRESS, syscalls.Act.SOCKET):
        return wire.OUTCOME_ANY
    if shape.use is Use.LIST:  # the end of a directory is news of nothing
        return wire.OUTCOME_SOMETHING
    return wire.OUTCOME_SUCCESS
