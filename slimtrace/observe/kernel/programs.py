"""The BPF programs: put together, load, attach. With compiled.py the only place that knows bcc.

bcc is imported when programs are loaded, never before: everything that does not trace works without it.
"""

import contextlib
import ctypes
import mmap
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from itertools import product
from pathlib import Path
from typing import Any

from slimtrace import data
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.events import Abi
from slimtrace.observe.kernel import bcc_compiler, io_uring, maps, program_cache, running_kernel, syscalls
from slimtrace.observe.kernel.btf import Btf

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
_BY_PERF = "on_sys_exit_by_perf"  # the last of them, on perf's tracepoint
# An interrupt may come while one of these runs, of which it tells nothing.
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
WAKE_BYTES = 256 << 10  # what waits for the reader at most on one processor before it is woken
TOLD_SETS = 1 << 17  # sets of four facts that the kernel remembers, 8 MiB; a power of two
NOTED_VALUES = 4096  # of arguments, over all calls
_PROCESSES_IN_A_ROW = 1024
_TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")  # where bcc looks
_TYPED_HELPERS = ("bpf_get_current_task_btf", "bpf_task_pt_regs")

# Ways to see capabilities, best first; the last is to do without, which is a doubt.
BY_TRACEPOINT, BY_KPROBE, UNSEEN = "capabilities_tracepoint.c", "capabilities_kprobe.c", ""
# The kernel has them; that they load, only trying tells.
_KPROBES = Path("/sys/bus/event_source/devices/kprobe")


def source(way: "Way") -> str:
    """The one translation unit: bpf/'s files in order, each with its own line numbers for the compiler's
    messages."""
    folder = data.folder("bpf")
    names = [*SOURCES, *((RINGS,) if way.rings is not Rings.UNSEEN else ())]
    names += ("capabilities.h", way.capabilities) if way.capabilities else ()
    return "\n".join(f'#line 1 "{name}"\n{(folder / name).read_text()}' for name in names)


def constants(btf: Btf) -> dict[str, int]:
    """Everything that bpf/ is compiled with here. Raises SlimtraceError (KERNEL) if the BTF lacks something."""
    found = running_kernel.constants(btf) | {
        "RING_PAGES": RING_BYTES // mmap.PAGESIZE,
        "TOLD_SETS": TOLD_SETS,
        "NOTED_VALUES": NOTED_VALUES,
        # however many processors there are, together they leave most of the ring free
        "WAKE_BYTES": min(WAKE_BYTES, RING_BYTES // 4 // (os.cpu_count() or 1)),
        "STANDING_ROWS": -(-running_kernel.process_limit() // _PROCESSES_IN_A_ROW),
        "NR_SECCOMP": syscalls.number_of("seccomp"),
        "NR_PRCTL": syscalls.number_of("prctl"),
    }
    for name in ("execve", "execveat", "rt_sigreturn", "exit", "exit_group"):
        found[f"NR_{name.upper()}"] = syscalls.number_of(name)
        found[f"NR_COMPAT_{name.upper()}"] = syscalls.number_of(name, Abi.COMPAT)
    return found


class Rings(Enum):
    """How io_uring's requests are seen: not at all, by their operation alone, or with the names of their
    files."""

    UNSEEN = "unseen"
    COUNTED = "counted"
    NAMED = "named"


class Reads(IntEnum):
    """How the kernel is read (bpf/kernel.h): by a helper's call for each word; by plain loads from the current
    task on; by plain loads from wherever."""

    CALLED = 0
    FOLLOWED = 1
    CAST = 2


@dataclass(frozen=True, slots=True)
class Way:
    """One of the ways to see: how the kernel is read, with io_uring's requests, and how capabilities are
    seen. `by_perf`: system calls by perf's tracepoint, which costs more than the raw one and whose programs are
    never preempted."""

    reads: Reads
    rings: Rings
    capabilities: str
    by_perf: bool = False


def ways(btf: Btf) -> Iterator[Way]:
    """Those that are worth trying on this kernel, best first. What a kernel says that it has may still be
    refused; the last does without all that can be done without."""
    capabilities = [UNSEEN]
    if btf.has_tracepoint("cap_capable"):
        capabilities.insert(0, BY_TRACEPOINT)
    elif _KPROBES.exists():
        capabilities.insert(0, BY_KPROBE)
    reads = [Reads.CALLED]
    if all(map(btf.has_function, _TYPED_HELPERS)):
        reads.insert(0, Reads.FOLLOWED)
        if running_kernel.cast_constants(btf):
            reads.insert(0, Reads.CAST)
    with_rings = [Rings.UNSEEN]
    tracepoint, known = running_kernel.ring_constants(btf)
    if tracepoint:
        with_rings.insert(0, Rings.NAMED if "RING_REQUEST" in known else Rings.COUNTED)
    return (Way(*each) for each in product(reads, with_rings, capabilities))


def numbers(btf: Btf, way: Way) -> dict[str, int]:
    """Everything that bpf/ is compiled with for this way. Raises SlimtraceError (KERNEL) as `constants`."""
    ring = {} if way.rings is Rings.UNSEEN else running_kernel.ring_constants(btf)[1]
    casts = running_kernel.cast_constants(btf) if way.reads is Reads.CAST else {}
    return constants(btf) | ring | casts | {"TYPED": int(way.reads >= Reads.FOLLOWED)}


class Loaded:
    """The programs in the kernel: their maps by name, the `way` in which they see, and io_uring's operations
    that reach for a file and cannot be told by its name here. They see nothing before `attach`."""

    def __init__(self, bpf: Any, way: Way, unnamed: frozenset[str], btf: Btf) -> None:
        self._bpf = bpf
        self._places = _places(way, btf)
        self.way = way
        self.unnamed = unnamed

    def __getitem__(self, name: str) -> Any:
        """A map, as bcc's table."""
        return self._bpf[name.encode()]

    def read_with(self, take: Callable[[object, int, int], int]) -> None:
        """Let `take` (context, address, size) have each record that `poll` finds; it returns 0."""
        self._bpf[b"records"].open_ring_buffer(take)

    def poll(self, milliseconds: int) -> None:
        """Take what is in the ring, after waiting so long for the kernel to wake us."""
        self._bpf.ring_buffer_poll(milliseconds)
        self._bpf.ring_buffer_consume()  # nobody is woken for a file (bpf/scope.h)

    def left_out(self) -> int:
        """How often the kernel did not run a program because it ran already on that processor
        (bpf_prog_show_fdinfo; counted since 5.12)."""
        others = (_BY_PERF, "on_cap_capable", "on_io_uring")
        watched = [f"on_{name}" for name in TRACEPOINTS if name not in _IN_INTERRUPTS]
        programs = (self._bpf.funcs.get(name.encode()) for name in (*watched, *others))
        return sum(_misses(program.fd) for program in programs if program)

    def attach(self) -> None:
        """Let the programs see from now on. Raises what bcc raises where the kernel does not let them."""
        for tracepoint, program in self._places:
            if ":" in tracepoint:
                self._bpf.attach_tracepoint(tp=tracepoint.encode(), fn_name=program.encode())
            else:
                self._bpf.attach_raw_tracepoint(tp=tracepoint.encode(), fn_name=program.encode())

    def detach(self) -> None:
        """Let the programs see nothing any more; one that runs at this moment comes to its end."""
        for tracepoint in list(self._bpf.raw_tracepoint_fds):
            self._bpf.detach_raw_tracepoint(tracepoint)
        for tracepoint in list(self._bpf.tracepoint_fds):
            self._bpf.detach_tracepoint(tracepoint)

    def free(self) -> None:
        """Detach and free everything. Safe to call twice."""
        self._bpf.cleanup()


def _misses(program: int) -> int:
    try:
        text = Path(f"/proc/self/fdinfo/{program}").read_text()
    except OSError:  # freed meanwhile: who still asks has a screen to fill
        return 0
    found = re.search(r"^recursion_misses:\s*(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


def load() -> Loaded:
    """Compile (or take what was compiled before) and load, in the best way that this kernel lets us, and try
    that it can be attached. Raises SlimtraceError (KERNEL) with what the kernel or the compiler said."""
    bcc = bcc_compiler.import_bcc()
    btf = running_kernel.read_btf()
    refusal = SlimtraceError("internal error: no way to load", exit_code=Exit.INTERNAL)
    with captured_stderr() as said:
        for way in ways(btf):
            try:
                return _load(bcc, btf, way)
            except SlimtraceError:
                raise  # the BTF lacks something, whatever the way
            except Exception as problem:
                tail = " ".join(said().split()[-40:])
                refusal = SlimtraceError(
                    f"cannot load the BPF programs: {problem} {tail}".rstrip(),
                    "`slimtrace doctor` tells what this kernel lacks",
                    Exit.KERNEL,
                )
    raise refusal


def _load(bcc: Any, btf: Btf, way: Way) -> Loaded:
    """In this way alone; of what was kept if that can be. Raises Exception where it cannot be done."""
    found = numbers(btf, way)
    text, flags = source(way), running_kernel.defines(found)
    name = program_cache.key(text, flags, bcc.__version__)
    if before := program_cache.kept(name):
        with contextlib.suppress(Exception):  # compiled anew it is as if nothing had been kept
            return _ready(bcc, btf, found, way, bcc_compiler.recall(bcc, before, text, flags))
    bpf = bcc_compiler.compile_text(bcc, text, flags, found.get("CAST_FUNCTION"))
    loaded = _ready(bcc, btf, found, way, bpf)
    with contextlib.suppress(ValueError):
        program_cache.keep(name, bcc_compiler.taken_from(bcc, bpf))
    return loaded


def _ready(bcc: Any, btf: Btf, found: Mapping[str, int], way: Way, bpf: Any) -> Loaded:
    """Verified, filled and tried."""
    try:
        if way.reads >= Reads.FOLLOWED and "AT_TASK_MIGRATION_DISABLED" in found:
            way = replace(way, by_perf=_can_be_preempted(bpf))
        _link_steps(bcc, bpf, way)
        maps.fill_calls(bpf)
        named = maps.fill_rings(bpf, btf) if way.rings is Rings.NAMED else set()
        _attach_kprobes(bpf, way)
        loaded = Loaded(bpf, way, (io_uring.UNNAMED | io_uring.NAMED.keys()) - named, btf)
        loaded.attach()  # what loads may still not be attached
        loaded.detach()
        return loaded
    except BaseException:
        bpf.cleanup()
        raise


def _can_be_preempted(bpf: Any) -> bool:
    """Whether a program on sys_exit can be preempted (from Linux 7.0 on), so that the kernel leaves it out for
    whoever runs on that processor meanwhile; and perf's tracepoint is there, with which that cannot happen."""
    bpf.attach_raw_tracepoint(tp=b"sys_exit", fn_name=b"ask_preemption")
    os.getppid()  # any system call
    bpf.detach_raw_tracepoint(b"sys_exit")
    preempted = bpf[b"preemption"][ctypes.c_int(0)].value != 0
    return preempted and any(Path(at, "events/raw_syscalls/sys_exit/id").exists() for at in _TRACEFS)


def _attach_kprobes(bpf: Any, way: Way) -> None:
    """These stay attached: of a process that is not watched they tell nothing."""
    if way.capabilities == BY_KPROBE:
        bpf.attach_kprobe(event=b"cap_capable", fn_name=b"before_cap_capable")
        bpf.attach_kretprobe(event=b"cap_capable", fn_name=b"after_cap_capable")


def _places(way: Way, btf: Btf) -> list[tuple[str, str]]:
    """What is to be attached to which tracepoint, in order; perf's ones have a colon in their names."""
    wanted = [(name, f"on_{name}") for name in TRACEPOINTS]
    if way.by_perf:
        wanted[-1] = ("raw_syscalls:sys_exit", _BY_PERF)
    if way.capabilities == BY_TRACEPOINT:
        wanted.insert(0, ("cap_capable", "on_cap_capable"))
    if way.rings is not Rings.UNSEEN:
        wanted.insert(0, (running_kernel.ring_constants(btf)[0], "on_io_uring"))
    return wanted


def _link_steps(bcc: Any, bpf: Any, way: Way) -> None:
    for index, name in enumerate(STEPS):
        of_call = not name.endswith(("_ring", "_ring_name", "_exec"))
        if "ring" not in name or way.rings is Rings.NAMED:
            kind = bcc.BPF.TRACEPOINT if of_call and way.by_perf else bcc.BPF.RAW_TRACEPOINT
            program = bpf.load_func(name.encode(), kind)
            table = bpf[b"steps_of_call" if of_call else b"steps"]
            table[ctypes.c_int(index)] = ctypes.c_int(program.fd)


class captured_stderr:
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
