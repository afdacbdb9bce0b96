"""Which process made each system call first, and with which arguments: the kernel side's maps as facts.

The kernel side tells programs apart by 24 bits (bpf/scope.h), which the record of each execve carries; which
program a process had executed before an execve is known here from the order of the records.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from slimtrace.facts.events import MAX_VALUES, Abi, CallArguments, FirstCall, Origin, Phase, process_key
from slimtrace.observe.kernel import io_uring, syscalls

# bpf/syscalls.h: rows by ABI, origin and phase; as many for refused calls; then io_uring's by origin and phase
CALL_ROWS, IO_URING_ROWS = 18, 36
PROGRAM_HASH_BITS = 24  # bpf/scope.h
MORE_VALUES = 2  # bit of a call's byte in `syscalls_made`: it had more values than there was room for

Place = tuple[Phase, Origin, Abi]


def rows() -> Iterator[tuple[int, Place]]:
    """The rows of calls that were made, and the phase, origin and ABI of each."""
    for abi in (Abi.NATIVE, Abi.COMPAT, Abi.X32):
        for origin in Origin:
            for phase in Phase:
                yield (abi * 2 + origin) * 3 + phase, (phase, origin, abi)


def io_uring_rows() -> Iterator[tuple[int, Place]]:
    """The rows of io_uring's operations, and the phase and origin of each."""
    for origin in Origin:
        for phase in Phase:
            yield IO_URING_ROWS + origin * 3 + phase, (phase, origin, Abi.IO_URING)


@dataclass(frozen=True, slots=True)
class FirstCaller:
    """A call's first caller as the kernel side knows it: the host's pid, and the 24 bits of its program (0: the
    process had no program yet)."""

    call: str
    pid: int
    program_hash: int
    place: Place


def first_caller(number: int, word: int, place: Place) -> FirstCaller | None:
    """The word of a call in the map `first_callers`; None where the call has no name, or the word is 0."""
    abi = place[2]
    name = io_uring.name_of(number) if abi is Abi.IO_URING else syscalls.names(abi).get(number)
    return FirstCaller(name, word >> 32, word & 0xFFFF_FFFF, place) if name and word else None


@dataclass(slots=True)
class ExecutedPrograms:
    """The `names` of programs by their 24 bits; and by process and 24 bits the name of the program that it had
    executed `before`. Call `executed` for each execve, in the order of the records."""

    names: dict[int, str] = field(default_factory=dict)
    before: dict[int, str] = field(default_factory=dict)

    def executed(self, pid: int, program_hash: int, name: str, before: str) -> None:
        """The process `pid` executed `name`, whose 24 bits are `program_hash`; it had executed `before` ("":
        none)."""
        self.names.setdefault(program_hash, name)
        self.before.setdefault(_key(pid, program_hash), before)

    def first_calls(
        self,
        first_callers: Iterable[FirstCaller],
        run: int,
        held: Mapping[int, str],
        parents: Mapping[int, int],
    ) -> tuple[FirstCall, ...]:
        """The facts about the recording `run`. `held` has the program of each process that was attached to: of
        these and their children the kernel side knows no program."""
        found = []
        for each in first_callers:
            pid = process_key(run, each.pid)
            name = self.names.get(each.program_hash, "")
            if each.call in ("execve", "execveat") and each.program_hash:
                # the call came back in the program that it executed
                name = self.before.get(_key(pid, each.program_hash), "")
            elif not each.program_hash and each.place[0] is Phase.APP:
                name = _held(pid, held, parents)
            found.append(FirstCall(each.call, name, pid, *each.place))
        return tuple(found)


def _key(pid: int, program_hash: int) -> int:
    return pid << PROGRAM_HASH_BITS | program_hash


def _held(pid: int, held: Mapping[int, str], parents: Mapping[int, int]) -> str:
    """The program of the process, or of its nearest ancestor, that was attached to."""
    seen: set[int] = set()
    while pid not in held and pid in parents and pid not in seen:
        seen.add(pid)
        pid = parents[pid]
    return held.get(pid, "")


def arguments(
    recorded: Iterable[tuple[int, int, int]], more: Iterable[tuple[int, int]]
) -> tuple[CallArguments, ...]:
    """The facts in the `recorded` values (row, call number, value of the first argument) and in `more` (row,
    call number), the calls that had more values than there was room for."""
    places = dict(rows())
    values: dict[tuple[int, int], set[int]] = {}
    for row, number, value in recorded:
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
