"""The BPF programs: compile, load, attach, read. The only place that knows bcc.

bcc is imported when a Probes object is made, never before: everything that does not trace works without it.
"""

import ctypes
import mmap
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from slimtrace import data
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts import wire
from slimtrace.facts.events import CAPABILITIES, Abi, CallSet, CapabilitySet, Origin, Phase, Use
from slimtrace.observe import calls, kernel, rings

# In the order in which the one translation unit is put together.
SOURCES = (
    "wire.h",
    "kernel.h",
    "scope.h",
    "cgroup.c",
    "calls.h",
    "paths.c",
    "sockets.c",
    "files.c",
    "exit.c",
    "process.c",
)
RINGS = "rings.c"
# What the programs on_NAME are attached to, the one that everything begins with last.
TRACEPOINTS = (
    "cgroup_mkdir",
    "cgroup_attach_task",
    "inet_sock_set_state",
    "sched_process_fork",
    "sched_process_exec",
    "sched_process_exit",
    "sys_exit",
)
_IN_INTERRUPTS = frozenset(("inet_sock_set_state",))
# Tail-called programs, in the order of enum step in bpf/paths.c.
STEPS = (
    "take_name",
    "take_descriptor",
    "take_socket",
    "take_ring_name",
    "walk_of_call",
    "walk_of_exec",
    "walk_of_ring",
    "finish_call",
    "finish_exec",
    "finish_ring",
)
RING_BYTES = 16 << 20  # a power of two; 16 MiB hold about 100,000 file records
TOLD_SETS = 1 << 17  # sets of four facts that the kernel remembers, 8 MiB; a power of two
POLL_MS = 40  # the longest that a file waits in the ring
NEEDLE = 16  # characters of the container id that the kernel looks for in a cgroup's path
# bpf/calls.h: rows by ABI, origin and phase; the same again for refused calls; io_uring's by origin and phase
_CALL_ROWS, _RING_ROWS = 18, 36
_PROCESSES_IN_A_ROW = 1024
_TYPED_HELPERS = ("bpf_get_current_task_btf", "bpf_task_pt_regs")
_TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")  # where bcc looks
_LAST_PROGRAM_SECONDS = 0.005  # for one that runs while its tracepoint is taken away

_MISSING_BCC = (
    "install the distribution's package: apt-get install python3-bpfcc (the PyPI project bcc is another)"
)


def _import_bcc() -> Any:
    # bcc reads this when it compiles: our header shim instead of a kernel header tree (bpf/README.md)
    os.environ["BCC_KERNEL_SOURCE"] = str(data.folder("bpf"))
    try:
        import bcc
    except ImportError as missing:
        raise SlimtraceError(f"cannot load bcc: {missing}", _MISSING_BCC, Exit.KERNEL) from missing
    return bcc


# Ways to see capabilities, best first; the last is to do without, which is a doubt.
BY_TRACEPOINT, BY_KPROBE, UNSEEN = "capabilities_tracepoint.c", "capabilities_kprobe.c", ""
_KPROBES = Path(
    "/sys/bus/event_source/devices/kprobe"
)  # the kernel has them; that they load, only trying tells


def source(way: "Way") -> str:
    """The one translation unit: bpf/'s files in order, each with its own line numbers for the compiler's
    messages."""
    folder = data.folder("bpf")
    names = [*SOURCES, *((RINGS,) if way.rings is not Rings.UNSEEN else ())]
    names += ("capabilities.h", way.capabilities) if way.capabilities else ()
    return "\n".join(f'#line 1 "{name}"\n{(folder / name).read_text()}' for name in names)


def constants(btf: kernel.Btf) -> dict[str, int]:
    """Everything that bpf/ is compiled with here. Raises SlimtraceError (KERNEL) if the BTF lacks something."""
    found = kernel.constants(btf) | {
        "RING_PAGES": RING_BYTES // mmap.PAGESIZE,
        "TOLD_SETS": TOLD_SETS,
        "STANDING_ROWS": -(-kernel.process_limit() // _PROCESSES_IN_A_ROW),
        "NR_SECCOMP": calls.number_of("seccomp"),
        "NR_PRCTL": calls.number_of("prctl"),
    }
    for name in ("execve", "execveat", "rt_sigreturn", "exit", "exit_group"):
        found[f"NR_{name.upper()}"] = calls.number_of(name)
        found[f"NR_COMPAT_{name.upper()}"] = calls.number_of(name, Abi.COMPAT)
    return found


class Rings(Enum):
    """How io_uring's requests are seen: not at all, by their operation alone, or with the names of their
    files."""

    UNSEEN = "unseen"
    COUNTED = "counted"
    NAMED = "named"


@dataclass(frozen=True, slots=True)
class Way:
    """One of the ways to see: with plain loads (bpf/kernel.h, TYPED), with io_uring's requests, and how
    capabilities are seen. `by_perf`: system calls by perf's tracepoint, which costs more than the raw one and
    whose programs are never preempted."""

    typed: bool
    rings: Rings
    capabilities: str
    by_perf: bool = False


def ways(btf: kernel.Btf) -> Iterator[Way]:
    """Those that are worth trying on this kernel, best first. What a kernel says that it has may still be
    refused; the last does without all that can be done without."""
    capabilities = [UNSEEN]
    if btf.has_tracepoint("cap_capable"):
        capabilities.insert(0, BY_TRACEPOINT)
    elif _KPROBES.exists():
        capabilities.insert(0, BY_KPROBE)
    typed = [True, False] if all(map(btf.has_function, _TYPED_HELPERS)) else [False]
    with_rings = [Rings.UNSEEN]
    tracepoint, known = kernel.ring_constants(btf)
    if tracepoint:
        with_rings.insert(0, Rings.NAMED if "RING_REQUEST" in known else Rings.COUNTED)
    return (Way(*each) for each in product(typed, with_rings, capabilities))


class Probes:
    """The loaded programs of one recording.

    `on_record` is called with the bytes of each record (bpf/wire.h) from the reading thread, between `start`
    and `close`. Loading raises SlimtraceError (KERNEL) with what the kernel or the compiler said.
    """

    def __init__(self, on_record: Callable[[bytes], None]) -> None:
        self._bcc = _import_bcc()
        self._on_record = on_record
        self._stopping = threading.Event()
        self._reader: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._unnamed_operations = set(rings.UNNAMED) | set(rings.NAMED)
        btf = kernel.read_btf()
        self._bpf, self.way = self._load(btf)
        self._words = _Shared(self._bpf[b"standings"], "I")
        self._called = _Shared(self._bpf[b"called"], "B")
        self._bpf[b"records"].open_ring_buffer(self._take)

    def _load(self, btf: kernel.Btf) -> tuple[Any, Way]:
        values = constants(btf)
        refusal = SlimtraceError("internal error: no way to load", exit_code=Exit.INTERNAL)
        with _captured_stderr() as said:
            for way in ways(btf):
                ring = {} if way.rings is Rings.UNSEEN else kernel.ring_constants(btf)[1]
                flags = kernel.defines(values | ring | {"TYPED": int(way.typed)})
                loaded = None
                try:
                    loaded = self._bcc.BPF(text=source(way).encode(), cflags=[*flags, "-Wno-everything"])
                    if way.typed and "AT_TASK_MIGRATION_DISABLED" in values:
                        way = replace(way, by_perf=_is_better_by_perf(loaded))
                    self._link_steps(loaded, way)
                    self._fill_calls(loaded)
                    if way.rings is Rings.NAMED:
                        self._fill_rings(loaded, btf)
                    self._attach(loaded, way, btf)
                    return loaded, way
                except Exception as problem:
                    if loaded is not None:
                        loaded.cleanup()
                    tail = " ".join(said().split()[-40:])
                    refusal = SlimtraceError(
                        f"cannot load the BPF programs: {problem} {tail}".rstrip(),
                        "`slimtrace doctor` tells what this kernel lacks",
                        Exit.KERNEL,
                    )
        raise refusal

    def _attach(self, bpf: Any, way: Way, btf: kernel.Btf) -> None:
        if way.capabilities == BY_KPROBE:
            bpf.attach_kprobe(event=b"cap_capable", fn_name=b"before_cap_capable")
            bpf.attach_kretprobe(event=b"cap_capable", fn_name=b"after_cap_capable")
        wanted = [(name, f"on_{name}") for name in TRACEPOINTS]
        if way.capabilities == BY_TRACEPOINT:
            wanted.insert(0, ("cap_capable", "on_cap_capable"))
        if way.rings is not Rings.UNSEEN:
            wanted.insert(0, (kernel.ring_constants(btf)[0], "on_io_uring"))
        for tracepoint, program in wanted:
            if way.by_perf and tracepoint == "sys_exit":
                bpf.attach_tracepoint(tp=f"raw_syscalls:{tracepoint}".encode(), fn_name=program.encode())
            else:
                bpf.attach_raw_tracepoint(tp=tracepoint.encode(), fn_name=program.encode())
        # an interrupt may come while one of the others runs, of which it tells nothing
        self._programs = [
            bpf.funcs[f"on_{name}".encode()].fd for name in TRACEPOINTS if name not in _IN_INTERRUPTS
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _link_steps(self, bpf: Any, way: Way) -> None:
        kinds = self._bcc.BPF
        for index, name in enumerate(STEPS):
            of_call = not name.endswith(("_ring", "_ring_name", "_exec"))
            if "ring" not in name or way.rings is Rings.NAMED:
                kind = kinds.TRACEPOINT if of_call and way.by_perf else kinds.RAW_TRACEPOINT
                program = bpf.load_func(name.encode(), kind)
                table = bpf[b"steps_of_call" if of_call else b"steps"]
                table[ctypes.c_int(index)] = ctypes.c_int(program.fd)

    def _fill_calls(self, bpf: Any) -> None:
        table = bpf[b"calls"]
        for abi in (Abi.NATIVE, Abi.COMPAT, Abi.X32):
            for number, (_, shape) in calls.shapes_by_number(abi).items():
                row = table.Leaf()
                row.act, row.places, row.mask = shape.act, shape.places, shape.mask
                row.opens, row.bare = int(shape.opens), int(shape.bare)
                row.outcome = _outcome(shape)
                row.path, row.dirfd = _place(shape.path), _place(shape.dirfd)
                row.flags, row.how = _place(shape.flags), _place(shape.how)
                row.path2, row.dirfd2 = map(_place, shape.second)
                row.needs = _place(shape.needs)
                table[ctypes.c_int(abi * calls.CALL_NUMBERS + number)] = row

    def _fill_rings(self, bpf: Any, btf: kernel.Btf) -> None:
        table = bpf[b"rings"]
        for name, names in rings.NAMED.items():
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
            self._unnamed_operations.discard(name)
            table[ctypes.c_int(rings.number_of(name))] = row

    def arm(self, container_id: str) -> None:
        """Watch the cgroup that the engine is about to make for this container, and those nested in it."""
        needle = container_id[:NEEDLE].encode("ascii")
        if len(needle) < NEEDLE:
            raise ValueError(f"container id too short: {container_id!r}")
        self._set_session(armed=1, needle=needle)

    def adopt(self, cgroups: Iterable[int]) -> None:
        """Watch cgroups that are there already (ids as bpf_get_current_cgroup_id gives them), and those that
        come to be below them. Call `adopt_processes` next: until then their processes are taken for the
        runtime's."""
        self._set_session(armed=1, started=1)
        for cgroup in cgroups:
            self._bpf[b"scope"][ctypes.c_ulonglong(cgroup)] = ctypes.c_ubyte(1)

    def adopt_processes(self, pids: Iterable[int]) -> None:
        """Take these processes for the container's own program."""
        for pid in pids:
            self._words[pid] = wire.standing_word(Phase.APP, Origin.CONTAINER)

    def standing(self, pid: int) -> tuple[Phase, Origin] | None:
        """How far a process has come and by which door; None for one that is not watched."""
        return wire.standing(self._words[pid])

    def _set_session(self, armed: int, needle: bytes = b"\0" * NEEDLE, started: int = 0) -> None:
        table = self._bpf[b"sessions"]
        row = table.Leaf()
        row.armed = armed
        row.started = started
        row.host_ns = kernel.host_mount_namespace()
        row.needle.low = int.from_bytes(needle[:8], "little")
        row.needle.high = int.from_bytes(needle[8:], "little")
        table[ctypes.c_int(0)] = row

    def start(self) -> None:
        """Begin to read records, in a thread of its own."""
        self._reader = threading.Thread(target=self._read, name="slimtrace-ring", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while not self._stopping.is_set():
                self._bpf.ring_buffer_poll(POLL_MS)
                self._bpf.ring_buffer_consume()  # nobody is woken for a file (bpf/scope.h)
        except BaseException as problem:
            self._failure = problem

    def _take(self, _context: object, address: int, size: int) -> None:
        try:
            self._on_record(ctypes.string_at(address, size))
        except Exception as problem:  # ctypes would print it and go on as if nothing were missing
            self._failure = self._failure or problem

    def drain(self) -> None:
        """Stop watching, and reading once everything that the kernel has handed over has been taken. Nothing
        comes after that, however busy the container still is: the reader would never find an end otherwise."""
        for tracepoint in list(self._bpf.raw_tracepoint_fds):
            self._bpf.detach_raw_tracepoint(tracepoint)
        for tracepoint in list(self._bpf.tracepoint_fds):
            self._bpf.detach_tracepoint(tracepoint)
        self._stopping.set()
        if self._reader is not None:
            self._reader.join()
            self._reader = None
        time.sleep(_LAST_PROGRAM_SECONDS)
        self._bpf.ring_buffer_consume()
        if self._failure is not None:
            raise SlimtraceError(
                f"cannot read the trace: {self._failure!r}", "please report this", Exit.INTERNAL
            ) from self._failure

    def lost(self) -> int:
        """Records that could not be handed over, and programs that the kernel left out because another process
        was in the same one on that processor (possible from Linux 7.0 on, see bpf/README.md; since 5.12 it
        counts them). Of the latter some may have been strangers'."""
        return int(self._bpf[b"losses"][ctypes.c_int(0)].value) + sum(map(_left_out, self._programs))

    def unreadable(self) -> int:
        """Calls that reached for a path whose text could not be read."""
        return int(self._bpf[b"losses"][ctypes.c_int(1)].value)

    def call_sets(self) -> tuple[CallSet, ...]:
        """The system calls seen so far, by phase and origin."""
        found = []
        for abi in (Abi.NATIVE, Abi.COMPAT, Abi.X32):
            names = calls.names(abi)
            for origin in Origin:
                for phase in Phase:
                    row = (abi * 2 + origin) * 3 + phase
                    made, refused = self._numbers(row), self._numbers(row + _CALL_ROWS)
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
        for origin in Origin:
            for phase in Phase:
                if made := self._numbers(_RING_ROWS + origin * 3 + phase):
                    operations = tuple(sorted(map(rings.name_of, made)))
                    found.append(CallSet(phase, origin, operations, abi=Abi.RING))
        return tuple(found)

    def unnamed_operations(self) -> frozenset[str]:
        """io_uring's operations that reach for a file and cannot be told by its name on this kernel."""
        return frozenset(self._unnamed_operations)

    def capability_sets(self) -> tuple[CapabilitySet, ...] | None:
        """The capabilities asked for so far, by phase and origin; None where this kernel does not tell."""
        if self.way.capabilities == UNSEEN:
            return None
        found = []
        for origin in Origin:
            for phase in Phase:
                row = self._bpf[b"capabilities"][ctypes.c_int(origin * 3 + phase)]
                found.append(
                    CapabilitySet(phase, origin, _capabilities(row.granted), _capabilities(row.denied))
                )
        return tuple(found)

    def program_calls(self) -> int:
        """How many distinct system calls the container's program has made so far."""
        return len(self._numbers(Origin.CONTAINER * 3 + Phase.APP))

    def _numbers(self, row: int) -> list[int]:
        begin = row * calls.CALL_NUMBERS
        made = self._called[begin : begin + calls.CALL_NUMBERS].tobytes()
        return [number for number, seen in enumerate(made) if seen] if any(made) else []

    def close(self) -> None:
        """Detach and free everything. Safe to call twice."""
        self._stopping.set()
        if self._reader is not None:
            self._reader.join()
            self._reader = None
        self._bpf.cleanup()


def _is_better_by_perf(bpf: Any) -> bool:
    """Whether a program on the raw tracepoint sys_exit can be preempted (from Linux 7.0 on), so that the kernel
    leaves it out for whoever runs on that processor meanwhile; and perf's tracepoint, where that cannot happen,
    is there."""
    bpf.attach_raw_tracepoint(tp=b"sys_exit", fn_name=b"ask_preemption")
    os.getppid()  # any system call
    bpf.detach_raw_tracepoint(b"sys_exit")
    preempted = bpf[b"preemption"][ctypes.c_int(0)].value != 0
    return preempted and any(Path(at, "events/raw_syscalls/sys_exit/id").exists() for at in _TRACEFS)


def _left_out(program: int) -> int:
    """How often the kernel did not run a program because it ran already (bpf_prog_show_fdinfo)."""
    found = re.search(r"^recursion_misses:\s*(\d+)", Path(f"/proc/self/fdinfo/{program}").read_text(), re.M)
    return int(found[1]) if found else 0


class _Shared:
    """A map that the kernel shares with us (BPF_F_MMAPABLE), as an array of `letter`s (struct(3)). A word is
    read and written whole, beside the programs that do the same."""

    def __init__(self, table: Any, letter: Literal["B", "I"]) -> None:
        self._memory = mmap.mmap(table.map_fd, table.max_entries * ctypes.sizeof(table.Leaf))
        self._view = memoryview(self._memory).cast("B").cast(letter)

    def __getitem__(self, index: Any) -> Any:
        return self._view[index]

    def __setitem__(self, index: int, value: int) -> None:
        self._view[index] = value


def _place(argument: int) -> int:
    return wire.NO_ARGUMENT if argument == calls.NONE else argument


def _outcome(shape: calls.Shape) -> int:
    """With which result a call counts: a program that was executed is told by sched_process_exec; a descriptor
    that is none, or a call on it that failed, reached nothing."""
    if shape.use is Use.EXEC:
        return wire.OUTCOME_FAILURE
    if shape.act in (calls.Act.NAME, calls.Act.ADDRESS, calls.Act.SOCKET):
        return wire.OUTCOME_ANY
    if shape.use is Use.LIST:  # the end of a directory is news of nothing
        return wire.OUTCOME_SOMETHING
    return wire.OUTCOME_SUCCESS


def _capabilities(row: Sequence[int]) -> tuple[str, ...]:
    return tuple(sorted(name for number, name in enumerate(CAPABILITIES) if row[number]))


_TRIES = {
    "raw_tracepoint": "int attempt(void *ctx) { return 0; }",
    "kprobe": "int attempt(void *ctx) { return 0; }",
    "ring_buffer": """BPF_RINGBUF_OUTPUT(events, 8);
        int attempt(void *ctx) { u64 x = 1; events.ringbuf_output(&x, sizeof(x), 0); return 0; }""",
    "kernel_reads": """int attempt(void *ctx) { u64 x = 0;
        bpf_probe_read_kernel(&x, sizeof(x), (void *)bpf_get_current_task()); return x; }""",
    "plain_loads": """int attempt(void *ctx) { u64 x;
        u64 registers = (u64)bpf_task_pt_regs(bpf_get_current_task_btf());
        asm volatile("%0 = *(u64 *)(%1 + 0)" : "=r"(x) : "r"(registers)); return x; }""",
    "fentry": "KFUNC_PROBE({name}) { return 0; }",
    "lsm": "LSM_PROBE({name}) { return 0; }",
}


def try_program(kind: str, name: str) -> str:
    """Load and attach a program that does nothing, as doctor's TryProgram: "" if that worked, else why not.
    Kinds: import; tracer (all of bpf/); raw_tracepoint, kprobe, ring_buffer, kernel_reads, plain_loads, fentry,
    lsm."""
    try:
        bcc = _import_bcc()
    except SlimtraceError as missing:
        return missing.message
    if kind == "import":
        return ""
    if kind == "tracer":
        try:
            Probes(lambda record: None).close()
        except SlimtraceError as refused:
            return refused.message
        return ""
    with _captured_stderr() as said:
        try:
            bpf = bcc.BPF(text=_TRIES[kind].replace("{name}", name).encode())
            try:
                if kind == "raw_tracepoint":
                    bpf.attach_raw_tracepoint(tp=name.encode(), fn_name=b"attempt")
                elif kind == "kprobe":
                    bpf.attach_kprobe(event=name.encode(), fn_name=b"attempt")
                elif kind in ("ring_buffer", "kernel_reads", "plain_loads"):
                    bpf.load_func(b"attempt", bcc.BPF.RAW_TRACEPOINT)
            finally:
                bpf.cleanup()
        except Exception as problem:
            lines = said().strip().splitlines()
            return lines[0] if lines else str(problem) or type(problem).__name__
    return ""


class _captured_stderr:
    """bcc and libbpf write their complaints to file descriptor 2, past Python; here they are kept for the
    error message instead of tearing the screen."""

    def __enter__(self) -> Callable[[], str]:
        self._file = os.memfd_create("slimtrace-stderr")
        self._saved = os.dup(2)
        os.dup2(self._file, 2)
        return self._said

    def _said(self) -> str:
        size = os.fstat(self._file).st_size
        return os.pread(self._file, min(size, 1 << 20), 0).decode(errors="replace")

    def __exit__(self, *_: object) -> None:
        os.dup2(self._saved, 2)
        os.close(self._saved)
        os.close(self._file)
