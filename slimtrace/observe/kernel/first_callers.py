"""Who made each system call first, and with which arguments: what the kernel side's tables say, in words.

The kernel side tells programs apart by 24 bits (bpf/scope.h), which the record of each execve carries; what a
process executed before an execve is known here from the order of the records.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from slimtrace.facts.events import MAX_VALUES, Abi, CallArguments, FirstCall, Origin, Phase, process
from slimtrace.observe.kernel import io_uring, syscalls

# bpf/calls.h: rows by ABI, origin and phase; the same again for refused calls; io_uring's by origin and phase
CALL_ROWS, RING_ROWS = 18, 36
PROGRAM_BITS = 24  # bpf/scope.h
MORE = 2  # bit of a call's byte in `called`: there were more values than could be noted

Place = tuple[Phase, Origin, Abi]


def rows() -> Iterator[tuple[int, Place]]:
    """The rows of calls that were made, and what each stands for."""
    for abi in (Abi.NATIVE, Abi.COMPAT, Abi.X32):
        for origin in Origin:
            for phase in Phase:
                yield (abi * 2 + origin) * 3 + phase, (phase, origin, abi)


def ring_rows() -> Iterator[tuple[int, Place]]:
    """The rows of io_uring's operations."""
    for origin in Origin:
        for phase in Phase:
            yield RING_ROWS + origin * 3 + phase, (phase, origin, Abi.RING)


@dataclass(frozen=True, slots=True)
class First:
    """A call's first caller as the kernel side knows it: the host's pid, and the program's 24 bits (0:
    none)."""

    call: str
    pid: int
    program: int
    place: Place


def first(number: int, word: int, place: Place) -> First | None:
    """What the word of a call in `firsts` says; None where that has no name, or the word nothing."""
    abi = place[2]
    name = io_uring.name_of(number) if abi is Abi.RING else syscalls.names(abi).get(number)
    return First(name, word >> 32, word & 0xFFFF_FFFF, place) if name and word else None


@dataclass(slots=True)
class Callers:
    """The names of programs by their 24 bits, and by process and those what it had executed before. `executed`
    is told of each execve, in the order of the records."""

    names: dict[int, str] = field(default_factory=dict)
    before: dict[int, str] = field(default_factory=dict)

    def executed(self, pid: int, program: int, name: str, before: str) -> None:
        """The process `pid` executed `name`, whose 24 bits are `program`; it had executed `before` ("":
        none)."""
        self.names.setdefault(program, name)
        self.before.setdefault(_key(pid, program), before)

    def first_calls(
        self, firsts: Iterable[First], run: int, held: Mapping[int, str], parents: Mapping[int, int]
    ) -> tuple[FirstCall, ...]:
        """The facts, for the recording `run`. `held` says what ran in a process already when it was attached
        to, whose children have no word either."""
        found = []
        for each in firsts:
            pid = process(run, each.pid)
            name = self.names.get(each.program, "")
            if each.call in ("execve", "execveat") and each.program:
                # it came back in the next program
                name = self.before.get(_key(pid, each.program), "")
            elif not each.program and each.place[0] is Phase.APP:
                name = _held(pid, held, parents)
            found.append(FirstCall(each.call, name, pid, *each.place))
        return tuple(found)


def _key(pid: int, program: int) -> int:
    return pid << PROGRAM_BITS | program


def _held(pid: int, held: Mapping[int, str], parents: Mapping[int, int]) -> str:
    seen: set[int] = set()
    while pid not in held and pid in parents and pid not in seen:
        seen.add(pid)
        pid = parents[pid]
    return held.get(pid, "")


def arguments(
    noted: Iterable[tuple[int, int, int]], more: Iterable[tuple[int, int]]
) -> tuple[CallArguments, ...]:
    """The facts in `noted` (row, number, value of the first argument) and `more` (row, number)."""
    places = dict(rows())
    values: dict[tuple[int, int], set[int]] = {}
    for row, number, value in noted:
        values.setdefault((row, number), set()).add(value)
    crowded = set(more)
    found = []
    for row, number in sorted(values.keys() | crowded):
        place = places.get(row)
        name = syscalls.names(place[2]).get(number) if place else None
        if place and name:
            seen = sorted(values.get((row, number), ()))
            too_many = (row, number) in crowded or len(seen) > MAX_VALUES
            found.append(CallArguments(name, 0, tuple(seen[:MAX_VALUES]), *place, more=too_many))
    return tuple(found)
