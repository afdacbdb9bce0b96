"""The BPF programs: put together, load, attach. Only this module and bcc_compiler.py know bcc.

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
    "syscalls.h",
    "paths.c",
    "sockets.c",
    "files.c",
    "exit.c",
    "process.c",
)
IO_URING = "io_uring.c"  # after these, where this kernel has its tracepoint
# What the programs on_NAME are attached to; sys_exit, with which all records of a process begin, comes last.
TRACEPOINTS = (
    "cgroup_mkdir",
    "cgroup_attach_task",
    "inet_sock_set_state",
    "sched_process_fork",
    "sched_process_exec",
    "sched_process_exit",
    "sys_exit",
)
_BY_PERF = "on_sys_exit_by_perf"  # the program on sys_exit, for perf's tracepoint
# An interrupt may hit the same tracepoint while its program runs; the run that is left out then loses nothing.
_IN_INTERRUPTS = frozenset(("inet_sock_set_state",))
# Tail-called programs, in the order of enum step in bpf/paths.c.
STEPS = (
    "take_name",
    "take_descriptor",
    "take_socket",
    "take_io_uring_name",
    "walk_syscall",
    "walk_exec",
    "walk_io_uring",
    "finish_syscall",
    "finish_exec",
    "finish_io_uring",
)
RING_BYTES = 16 << 20  # a power of two; 16 MiB hold about 100,000 file records
WAKE_BYTES = 256 << 10  # what waits for the reader at most on one processor before it is woken
REPORTED_SETS = 1 << 17  # sets of four facts that the kernel side remembers, 8 MiB; a power of two
ARGUMENT_VALUES = 4096  # over all calls
_PIDS_PER_ROW = 1024  # bpf/scope.h
_TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")  # where bcc looks
_TYPED_HELPERS = ("bpf_get_current_task_btf", "bpf_task_pt_regs")

# What the verifier says of a helper that it does not offer, in its older and its newer words
# (kernel/bpf/verifier.c, check_helper_call). lockdown=confidentiality takes this one away
# (kernel/trace/bpf_trace.c).
_READS_REFUSED = re.compile(r"(unknown func|cannot use helper) bpf_probe_read_kernel\b")

# How capability checks are seen, best first; the last is not at all, which is a doubt.
BY_TRACEPOINT, BY_KPROBE, UNSEEN = "capabilities_tracepoint.c", "capabilities_kprobe.c", ""
# This is there where the kernel has kprobes; whether they can be loaded shows only by trying.
_KPROBES = Path("/sys/bus/event_source/devices/kprobe")


def source(variant: "Variant") -> str:
    """The one translation unit: bpf/'s files in order, each with its own line numbers for the compiler's
    messages."""
    folder = data.folder("bpf")
    names = [*SOURCES, *((IO_URING,) if variant.io_uring is not IoUring.UNSEEN else ())]
    names += ("capabilities.h", variant.capabilities) if variant.capabilities else ()
    return "\n".join(f'#line 1 "{name}"\n{(folder / name).read_text()}' for name in names)


def constants(btf: Btf) -> dict[str, int]:
    """The constants that bpf/ is compiled with on this kernel, whatever the variant. Raises SlimtraceError
    (KERNEL) if the BTF lacks something."""
    found = running_kernel.constants(btf) | {
        "RING_PAGES": RING_BYTES // mmap.PAGESIZE,
        "REPORTED_SETS": REPORTED_SETS,
        "ARGUMENT_VALUES": ARGUMENT_VALUES,
        # however many processors there are, together they leave most of the ring free
        "WAKE_BYTES": min(WAKE_BYTES, RING_BYTES // 4 // (os.cpu_count() or 1)),
        "PROCESS_STATE_ROWS": -(-running_kernel.pid_max() // _PIDS_PER_ROW),
        "NR_SECCOMP": syscalls.number_of("seccomp"),
        "NR_PRCTL": syscalls.number_of("prctl"),
    }
    for name in ("execve", "execveat", "rt_sigreturn", "exit", "exit_group"):
        found[f"NR_{name.upper()}"] = syscalls.number_of(name)
        found[f"NR_COMPAT_{name.upper()}"] = syscalls.number_of(name, Abi.COMPAT)
    return found


class IoUring(Enum):
    """How io_uring's requests are seen: not at all, by their operation alone, or with the names of their
    files."""

    UNSEEN = "unseen"
    COUNTED = "counted"
    NAMED = "named"


class KernelReads(IntEnum):
    """How the kernel's memory is read (bpf/kernel.h): by a helper call for each word; by plain loads from the
    current task on; by plain loads from any pointer, once it is cast."""

    HELPERS = 0
    PLAIN_LOADS = 1
    CASTS = 2


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the forms that the programs can have: how the kernel's memory is read, and how io_uring's requests
    and capability checks are seen. `by_perf`: system calls are seen by perf's tracepoint, which costs more than
    the raw one and whose programs are never preempted."""

    reads: KernelReads
    io_uring: IoUring
    capabilities: str
    by_perf: bool = False


def variants(btf: Btf) -> Iterator[Variant]:
    """The variants that are worth trying on this kernel, best first: what is seen counts before what it costs,
    so a variant is tried with each way to read the kernel's memory before a variant that sees less. What a
    kernel says that it has it may still refuse (Linux 6.1 has the function for casts in its BTF, and refuses
    each program that calls it); the last variant does without all that can be done without."""
    capabilities = [UNSEEN]
    if btf.has_tracepoint("cap_capable"):
        capabilities.insert(0, BY_TRACEPOINT)
    elif _KPROBES.exists():
        capabilities.insert(0, BY_KPROBE)
    reads = [KernelReads.HELPERS]
    if all(map(btf.has_function, _TYPED_HELPERS)):
        reads.insert(0, KernelReads.PLAIN_LOADS)
        if running_kernel.cast_constants(btf):
            reads.insert(0, KernelReads.CASTS)
    requests = [IoUring.UNSEEN]
    tracepoint, known = running_kernel.io_uring_constants(btf)
    if tracepoint:
        requests.insert(0, IoUring.NAMED if "IO_URING_REQUEST" in known else IoUring.COUNTED)
    found = product(requests, capabilities, reads)
    return (Variant(way, request, capability) for request, capability, way in found)


def variant_constants(btf: Btf, variant: Variant) -> dict[str, int]:
    """The constants that bpf/ is compiled with for this variant. Raises SlimtraceError as `constants`."""
    requests = {} if variant.io_uring is IoUring.UNSEEN else running_kernel.io_uring_constants(btf)[1]
    casts = running_kernel.cast_constants(btf) if variant.reads is KernelReads.CASTS else {}
    plain = {"PLAIN_LOADS": int(variant.reads >= KernelReads.PLAIN_LOADS)}
    return constants(btf) | requests | casts | plain


class LoadedPrograms:
    """The programs in the kernel: their maps by name, their `variant`, and in `unnamed` io_uring's operations
    whose files cannot be named on this kernel. They see nothing before `attach`."""

    def __init__(self, bpf: Any, variant: Variant, unnamed: frozenset[str], btf: Btf) -> None:
        self._bpf = bpf
        self._attachments = _attachments(variant, btf)
        self.variant = variant
        self.unnamed = unnamed

    def __getitem__(self, name: str) -> Any:
        """A map, as bcc's table."""
        return self._bpf[name.encode()]

    def read_with(self, take: Callable[[object, int, int], int]) -> None:
        """Have `poll` call `take` (context, address, size) for each record; `take` returns 0."""
        self._bpf[b"records"].open_ring_buffer(take)

    def poll(self, milliseconds: int) -> None:
        """Take all records from the ring buffer, after waiting for the kernel at most so long."""
        self._bpf.ring_buffer_poll(milliseconds)
        self._bpf.ring_buffer_consume()  # a file's record does not wake the reader (bpf/scope.h)

    def recursion_misses(self) -> int:
        """How often the kernel did not run a program because it was running already on that processor
        (bpf_prog_show_fdinfo; counted since 5.12)."""
        others = (_BY_PERF, "on_cap_capable", "on_io_uring")
        watched = [f"on_{name}" for name in TRACEPOINTS if name not in _IN_INTERRUPTS]
        programs = (self._bpf.funcs.get(name.encode()) for name in (*watched, *others))
        return sum(_recursion_misses(program.fd) for program in programs if program)

    def attach(self) -> None:
        """Let the programs see from now on. Raises what bcc raises where the kernel does not let them."""
        for tracepoint, program in self._attachments:
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


def _recursion_misses(program: int) -> int:
    try:
        text = Path(f"/proc/self/fdinfo/{program}").read_text()
    except OSError:  # freed meanwhile, while the live view still asks
        return 0
    found = re.search(r"^recursion_misses:\s*(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


def load() -> LoadedPrograms:
    """Compile (or take from the cache) and load the best variant that this kernel accepts, and try that it can
    be attached. Raises SlimtraceError (KERNEL) with what the kernel or the compiler said."""
    bcc = bcc_compiler.import_bcc()
    btf = running_kernel.read_btf()
    refusal = SlimtraceError("internal error: no way to load", exit_code=Exit.INTERNAL)
    with captured_stderr() as complaints:
        for variant in variants(btf):
            try:
                return _load(bcc, btf, variant)
            except SlimtraceError:
                raise  # the BTF lacks something, whatever the variant
            except Exception as problem:
                tail = " ".join(complaints().split()[-40:])
                refusal = SlimtraceError(
                    f"cannot load the BPF programs: {problem} {tail}".rstrip(),
                    "`slimtrace doctor` tells what this kernel lacks",
                    Exit.KERNEL,
                )
                if _READS_REFUSED.search(complaints()):
                    break  # every variant reads by this helper: none can be loaded
    raise refusal


def _load(bcc: Any, btf: Btf, variant: Variant) -> LoadedPrograms:
    """Load this variant alone; from the cache if that works. Raises Exception where it cannot be loaded."""
    found = variant_constants(btf, variant)
    text, flags = source(variant), running_kernel.defines(found)
    name = program_cache.key(text, flags, bcc.__version__)
    if cached := program_cache.load(name):
        with contextlib.suppress(Exception):  # compiled anew it is as if nothing had been in the cache
            return _prepare(bcc, btf, found, variant, bcc_compiler.from_cache(bcc, cached, text, flags))
    bpf = bcc_compiler.compile_text(bcc, text, flags, found.get("CAST_FUNCTION"))
    loaded = _prepare(bcc, btf, found, variant, bpf)
    with contextlib.suppress(ValueError):
        program_cache.store(name, bcc_compiler.extract_programs(bcc, bpf))
    return loaded


def _prepare(bcc: Any, btf: Btf, found: Mapping[str, int], variant: Variant, bpf: Any) -> LoadedPrograms:
    """Have the kernel verify the programs, fill their maps, and try to attach them. Raises Exception where one
    of these fails."""
    try:
        if variant.reads >= KernelReads.PLAIN_LOADS and "AT_TASK_MIGRATION_DISABLED" in found:
            variant = replace(variant, by_perf=_can_be_preempted(bpf))
        _link_steps(bcc, bpf, variant)
        maps.fill_call_shapes(bpf)
        named = maps.fill_io_uring_shapes(bpf, btf) if variant.io_uring is IoUring.NAMED else set()
        _attach_kprobes(bpf, variant)
        unnamed = (io_uring.SOCKET_OPERATIONS | io_uring.PATH_OPERATIONS.keys()) - named
        loaded = LoadedPrograms(bpf, variant, unnamed, btf)
        loaded.attach()  # a program that loads may still not be attached
        loaded.detach()
        return loaded
    except BaseException:
        bpf.cleanup()
        raise


def _can_be_preempted(bpf: Any) -> bool:
    """Whether a program on sys_exit can be preempted (from Linux 7.0 on), so that the kernel leaves it out for
    the processes that run on that processor meanwhile; and perf's tracepoint is there, with which that cannot
    happen."""
    bpf.attach_raw_tracepoint(tp=b"sys_exit", fn_name=b"ask_preemption")
    os.getppid()  # any system call
    bpf.detach_raw_tracepoint(b"sys_exit")
    preempted = bpf[b"preemption"][ctypes.c_int(0)].value != 0
    return preempted and any(Path(at, "events/raw_syscalls/sys_exit/id").exists() for at in _TRACEFS)


def _attach_kprobes(bpf: Any, variant: Variant) -> None:
    """Attach the kprobes, which stay attached: they ignore a process that is not watched."""
    if variant.capabilities == BY_KPROBE:
        bpf.attach_kprobe(event=b"cap_capable", fn_name=b"before_cap_capable")
        bpf.attach_kretprobe(event=b"cap_capable", fn_name=b"after_cap_capable")


def _attachments(variant: Variant, btf: Btf) -> list[tuple[str, str]]:
    """Each tracepoint with the program that is to be attached to it, in order; the names of perf's tracepoints
    have a colon."""
    wanted = [(name, f"on_{name}") for name in TRACEPOINTS]
    if variant.by_perf:
        wanted[-1] = ("raw_syscalls:sys_exit", _BY_PERF)
    if variant.capabilities == BY_TRACEPOINT:
        wanted.insert(0, ("cap_capable", "on_cap_capable"))
    if variant.io_uring is not IoUring.UNSEEN:
        wanted.insert(0, (running_kernel.io_uring_constants(btf)[0], "on_io_uring"))
    return wanted


def _link_steps(bcc: Any, bpf: Any, variant: Variant) -> None:
    """Load the tail-called programs and put them into the arrays that they are called from."""
    for index, name in enumerate(STEPS):
        of_syscall = not name.endswith(("_io_uring", "_io_uring_name", "_exec"))
        if "io_uring" not in name or variant.io_uring is IoUring.NAMED:
            kind = bcc.BPF.TRACEPOINT if of_syscall and variant.by_perf else bcc.BPF.RAW_TRACEPOINT
            program = bpf.load_func(name.encode(), kind)
            table = bpf[b"syscall_steps" if of_syscall else b"steps"]
            table[ctypes.c_int(index)] = ctypes.c_int(program.fd)


class captured_stderr:
    """bcc and libbpf write their complaints to file descriptor 2, past Python. They are kept for the error
    message here, instead of tearing the screen; entering gives a function that returns them so far."""

    def __enter__(self) -> Callable[[], str]:
        self._file = os.memfd_create("slimtrace-stderr")
        self._saved = os.dup(2)
        os.dup2(self._file, 2)
        return self._text

    def _text(self) -> str:
        size = os.fstat(self._file).st_size
        return os.pread(self._file, min(size, 1 << 20), 0).decode(errors="replace")

    def __exit__(self, *_: object) -> None:
        os.dup2(self._saved, 2)
        os.close(self._saved)
        os.close(self._file)
