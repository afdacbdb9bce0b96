"""Watching: which processes the BPF programs watch, and what they have recorded.

The programs themselves are loaded by programs.py.
"""

import ctypes
import mmap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from slimtrace.facts import wire
from slimtrace.facts.events import CAPABILITIES, Abi, CallArguments, CallSet, CapabilitySet, Origin, Phase
from slimtrace.observe.kernel import first_callers, io_uring, programs, running_kernel, syscalls
from slimtrace.observe.kernel.file_uses import unreadable
from slimtrace.observe.kernel.first_callers import FirstCaller

POLL_MS = 40  # the longest that a file's record waits in the ring buffer
NEEDLE = 16  # characters of the container id that the kernel side looks for in a cgroup's name
_LAST_PROGRAM_SECONDS = 0.005  # for a program that runs while it is detached from its tracepoint


class Probes:
    """The loaded programs of one recording.

    `on_record` is called with the bytes of each record (bpf/wire.h) from the reading thread, between `start`
    and `close`. Loading raises SlimtraceError (KERNEL) with what the kernel or the compiler said.
    """

    def __init__(self, on_record: Callable[[bytes], None]) -> None:
        self._on_record = on_record
        self._stopping = threading.Event()
        self._reader: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._loaded = programs.load()
        self._process_states = _MmappedMap(self._loaded["process_states"], "I")
        self._syscalls_made = _MmappedMap(self._loaded["syscalls_made"], "B")
        self._first_callers = _MmappedMap(self._loaded["first_callers"], "Q")
        self._loaded.read_with(self._take)

    @property
    def variant(self) -> programs.Variant:
        """The variant of the programs that is loaded on this kernel."""
        return self._loaded.variant

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def arm(self, container_id: str) -> None:
        """Watch the cgroup that the engine is about to make for this container, and those nested in it."""
        needle = container_id[:NEEDLE].encode("ascii")
        if len(needle) < NEEDLE:
            raise ValueError(f"container id too short: {container_id!r}")
        self._set_session(armed=1, needle=needle)

    def adopt(self, cgroups: Iterable[int], running: bool = True) -> None:
        """Watch cgroups that are there already (ids as bpf_get_current_cgroup_id gives them), and those that
        are made below them later. Where a program is `running` there, a process that comes in later is an exec;
        else a container is about to be started. Call `adopt_processes` next: until then nothing of the
        processes in these cgroups is seen."""
        self._set_session(armed=1, started=int(running))
        for cgroup in cgroups:
            self._loaded["watched_cgroups"][ctypes.c_ulonglong(cgroup)] = ctypes.c_ubyte(1)

    def adopt_processes(self, pids: Iterable[int]) -> None:
        """Take these processes for the container's own program, except those that are watched already because
        they have just come in."""
        for pid in pids:
            if self.process_state(pid) is None:
                self._process_states[pid] = wire.process_state_word(Phase.APP, Origin.CONTAINER)

    def process_state(self, pid: int) -> tuple[Phase, Origin] | None:
        """The phase and the origin of a process; None for one that is not watched."""
        return wire.process_state(self._process_states[pid])

    def _set_session(self, armed: int, needle: bytes = b"\0" * NEEDLE, started: int = 0) -> None:
        table = self._loaded["sessions"]
        row = table.Leaf()
        row.armed = armed
        row.started = started
        row.host_ns = running_kernel.host_mount_namespace()
        row.needle.low = int.from_bytes(needle[:8], "little")
        row.needle.high = int.from_bytes(needle[8:], "little")
        table[ctypes.c_int(0)] = row

    def start(self) -> None:
        """Attach the programs, and begin to read records in a thread of its own."""
        self._loaded.attach()
        self._reader = threading.Thread(target=self._read, name="slimtrace-ring", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while not self._stopping.is_set():
                self._loaded.poll(POLL_MS)
        except BaseException as problem:
            self._failure = problem

    def _take(self, _context: object, address: int, size: int) -> int:
        try:
            self._on_record(ctypes.string_at(address, size))
        except Exception as problem:  # ctypes would print it and go on as if nothing were missing
            self._failure = self._failure or problem
        return 0  # bcc would make one of None by way of an exception

    def drain(self) -> None:
        """Stop watching, and stop reading once all that the kernel has handed over has been taken. No record
        comes after that, however busy the container still is: otherwise the reader would never find an end."""
        self._loaded.detach()
        self._stopping.set()
        if self._reader is not None:
            self._reader.join()
            self._reader = None
        time.sleep(_LAST_PROGRAM_SECONDS)
        self._loaded.poll(0)
        if self._failure is not None:
            raise unreadable(self._failure) from self._failure

    def lost(self) -> int:
        """The number of records that could not be handed over, and of program runs that the kernel left out
        because another process was in the same program on that processor (possible from Linux 7.0 on, see
        bpf/README.md; counted since 5.12). Some of these runs may have been for processes that are not
        watched."""
        return int(self._loaded["losses"][ctypes.c_int(0)].value) + self._loaded.recursion_misses()

    def unreadable(self) -> int:
        """The number of calls that reached for a path whose text could not be read."""
        return int(self._loaded["losses"][ctypes.c_int(1)].value)

    def call_sets(self) -> tuple[CallSet, ...]:
        """The system calls seen so far, by phase and origin."""
        found = []
        for row, (phase, origin, abi) in first_callers.rows():
            names = syscalls.names(abi)
            made, refused = self._numbers(row), self._numbers(row + first_callers.CALL_ROWS)
            if abi is Abi.NATIVE or made or refused:
                found.append(
                    CallSet(
                        phase,
                        origin,
                        tuple(sorted(names[n] for n in made if n in names)),
                        tuple(sorted(names[n] for n in refused if n in names)),
                        tuple(n for n in made if n not in names),
                        abi,
                    )
                )
        for row, (phase, origin, abi) in first_callers.io_uring_rows():
            if made := self._numbers(row):
                found.append(CallSet(phase, origin, tuple(sorted(map(io_uring.name_of, made))), abi=abi))
        return tuple(found)

    def arguments(self) -> tuple[CallArguments, ...]:
        """The values of the arguments that a profile may depend on, seen so far."""
        values = [(key.row, key.number, key.value) for key in self._loaded["argument_values"]]
        more = [
            (row, number)
            for row, _ in first_callers.rows()
            for number in self._numbers(row)
            if self._syscalls_made[row * syscalls.CALL_NUMBERS + number] & first_callers.MORE_VALUES
        ]
        return first_callers.arguments(values, more)

    def first_callers(self) -> Iterator[FirstCaller]:
        """The process that made each call first."""
        for row, place in (*first_callers.rows(), *first_callers.io_uring_rows()):
            for number in self._numbers(row):
                word = self._first_callers[row * syscalls.CALL_NUMBERS + number]
                if known := first_callers.first_caller(number, word, place):
                    yield known

    def unnamed_operations(self) -> frozenset[str]:
        """io_uring's operations that reach for a file which cannot be named on this kernel."""
        return self._loaded.unnamed

    def capability_sets(self) -> tuple[CapabilitySet, ...] | None:
        """The capabilities that were checked so far, by phase and origin; None where this kernel lets no
        program see them."""
        if self.variant.capabilities == programs.UNSEEN:
            return None
        found = []
        for origin in Origin:
            for phase in Phase:
                row = self._loaded["capabilities"][ctypes.c_int(origin * 3 + phase)]
                found.append(
                    CapabilitySet(phase, origin, _capabilities(row.granted), _capabilities(row.denied))
                )
        return tuple(found)

    def program_calls(self) -> int:
        """How many distinct system calls the container's program has made so far."""
        return len(self._numbers(Origin.CONTAINER * 3 + Phase.APP))

    def _numbers(self, row: int) -> list[int]:
        """The numbers of the calls that were made, in one row of `syscalls_made`."""
        begin = row * syscalls.CALL_NUMBERS
        made = self._syscalls_made[begin : begin + syscalls.CALL_NUMBERS].tobytes()
        return [number for number, seen in enumerate(made) if seen] if any(made) else []

    def close(self) -> None:
        """Detach and free everything. Safe to call twice."""
        self._stopping.set()
        if self._reader is not None:
            self._reader.join()
            self._reader = None
        self._loaded.free()


class _MmappedMap:
    """A map in memory that the kernel and this process share (BPF_F_MMAPABLE), as an array of `letter`s (the
    struct module's). A word is read and written whole, while the programs do the same."""

    def __init__(self, table: Any, letter: Literal["B", "I", "Q"]) -> None:
        self._memory = mmap.mmap(table.map_fd, table.max_entries * ctypes.sizeof(table.Leaf))
        self._view = memoryview(self._memory).cast("B").cast(letter)

    def __getitem__(self, index: Any) -> Any:
        return self._view[index]

    def __setitem__(self, index: int, value: int) -> None:
        self._view[index] = value


def _capabilities(row: Sequence[int]) -> tuple[str, ...]:
    return tuple(sorted(name for number, name in enumerate(CAPABILITIES) if row[number]))
