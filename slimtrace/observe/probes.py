"""The BPF programs: compile, load, attach, read. The only place that knows bcc.

bcc is imported when a Probes object is made, never before: everything that does not trace works without it.
"""

import ctypes
import mmap
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from slimtrace import data
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.events import CAPABILITIES, CallSet, CapabilitySet, Origin, Phase, Use
from slimtrace.facts.wire import KNOWN, KNOWN_BY_FAILURE, NO_ARGUMENT
from slimtrace.observe import calls, kernel

# In the order in which the one translation unit is put together.
SOURCES = (
    "wire.h",
    "kernel.h",
    "scope.h",
    "cgroup.c",
    "paths.c",
    "calls.c",
    "sockets.c",
    "files.c",
    "process.c",
)
STEPS = ("take_name", "walk", "finish")  # tail-called programs, in the order of enum step in bpf/paths.c
RING_BYTES = 16 << 20  # a power of two; 16 MiB hold about 100,000 file records
TOLD_ENTRIES = 1 << 17  # distinct (file, asked text) pairs remembered by the kernel, about 10 MiB
POLL_MS = 100
NEEDLE = 16  # characters of the container id that the kernel looks for in a cgroup's path
_ROWS = 6  # bpf/calls.c: origin * 3 + phase, the same again for refused calls, then one row of other ABIs

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


def source(capabilities: str = UNSEEN) -> str:
    """The one translation unit: bpf/'s files in order, with one of the ways to see capabilities, each with its
    own line numbers for the compiler's messages."""
    folder = data.folder("bpf")
    names = (*SOURCES, *(("capabilities.h", capabilities) if capabilities else ()))
    return "\n".join(f'#line 1 "{name}"\n{(folder / name).read_text()}' for name in names)


def ways(btf: kernel.Btf) -> tuple[str, ...]:
    """The ways to see capabilities that are worth trying on this kernel, best first."""
    if btf.has_tracepoint("cap_capable"):
        return BY_TRACEPOINT, UNSEEN
    return (BY_KPROBE, UNSEEN) if _KPROBES.exists() else (UNSEEN,)


def constants(btf: kernel.Btf) -> dict[str, int]:
    """Everything that bpf/ is compiled with here. Raises SlimtraceError (KERNEL) if the BTF lacks something."""
    return kernel.constants(btf) | {
        "RING_PAGES": RING_BYTES // mmap.PAGESIZE,
        "TOLD_SIZE": TOLD_ENTRIES,
        "NR_SECCOMP": calls.number_of("seccomp"),
        "NR_PRCTL": calls.number_of("prctl"),
        "NR_CHDIR": calls.number_of("chdir"),
        "NR_CHROOT": calls.number_of("chroot"),
        "NR_LISTEN": calls.number_of("listen"),
    }


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
        btf = kernel.read_btf()
        values = constants(btf)
        with _captured_stderr() as said:
            for self._capabilities in ways(btf):
                try:
                    self._bpf = self._bcc.BPF(
                        text=source(self._capabilities).encode(),
                        cflags=[*kernel.defines(values), "-Wno-everything"],
                    )
                    self._link_steps()
                    break
                except Exception as problem:
                    if self._capabilities != UNSEEN:
                        continue
                    tail = " ".join(said().split()[-40:])
                    raise SlimtraceError(
                        f"cannot load the BPF programs: {problem} {tail}".rstrip(),
                        "`slimtrace doctor` tells what this kernel lacks",
                        Exit.KERNEL,
                    ) from problem
        self._fill_calls(tuple(values[f"AT_ARG{index}"] for index in range(6)))
        self._bpf[b"records"].open_ring_buffer(self._take)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _link_steps(self) -> None:
        table = self._bpf[b"steps"]
        for index, name in enumerate(STEPS):
            program = self._bpf.load_func(name.encode(), self._bcc.BPF.RAW_TRACEPOINT)
            table[ctypes.c_int(index)] = ctypes.c_int(program.fd)

    def _fill_calls(self, arguments: tuple[int, ...]) -> None:
        def place(argument: int) -> int:
            return NO_ARGUMENT if argument == calls.NONE else arguments[argument]

        table = self._bpf[b"calls"]
        for number, (_, shape) in calls.shapes_by_number().items():
            row = table.Leaf()
            row.known = KNOWN_BY_FAILURE if shape.use is Use.EXEC else KNOWN
            row.opens = int(shape.opens)
            row.path, row.dirfd = place(shape.path), place(shape.dirfd)
            row.flags, row.how = place(shape.flags), place(shape.how)
            row.path2, row.dirfd2 = place(shape.second[0]), place(shape.second[1])
            table[ctypes.c_int(number)] = row

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
        table = self._bpf[b"standings"]
        for pid in pids:
            row = table.Leaf()
            row.phase, row.origin = Phase.APP, Origin.CONTAINER
            table[ctypes.c_uint(pid)] = row

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
        self._set_session(armed=0)
        self._bpf[b"scope"].clear()
        self._stopping.set()
        if self._reader is not None:
            self._reader.join()
            self._reader = None
        self._bpf.ring_buffer_consume()
        if self._failure is not None:
            raise SlimtraceError(
                f"cannot read the trace: {self._failure!r}", "please report this", Exit.INTERNAL
            ) from self._failure

    def lost(self) -> int:
        """Records that could not be handed over."""
        return int(self._bpf[b"losses"][ctypes.c_int(0)].value)

    def unreadable(self) -> int:
        """Calls that reached for a path whose text could not be read."""
        return int(self._bpf[b"losses"][ctypes.c_int(1)].value)

    def call_sets(self) -> tuple[CallSet, ...]:
        """The system calls seen so far, by phase and origin."""
        names = calls.names()
        found = []
        for origin in Origin:
            for phase in Phase:
                row = origin * 3 + phase
                made, refused = self._numbers(row), self._numbers(row + _ROWS)
                found.append(
                    CallSet(
                        phase,
                        origin,
                        tuple(sorted(names[n] for n in made if n in names)),
                        tuple(sorted(names[n] for n in refused if n in names)),
                        tuple(n for n in made if n not in names),
                    )
                )
        return tuple(found)

    def capability_sets(self) -> tuple[CapabilitySet, ...] | None:
        """The capabilities asked for so far, by phase and origin; None where this kernel does not tell."""
        if self._capabilities == UNSEEN:
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

    def other_abi_calls(self) -> int:
        """How many distinct calls of another ABI (32-bit, x32) were seen; they are not named."""
        return len(self._numbers(2 * _ROWS))

    def _numbers(self, row: int) -> list[int]:
        made = self._bpf[b"called"][ctypes.c_int(row)].made
        return [number for number in range(calls.CALL_NUMBERS) if made[number]]

    def close(self) -> None:
        """Detach and free everything. Safe to call twice."""
        self._stopping.set()
        if self._reader is not None:
            self._reader.join()
            self._reader = None
        self._bpf.cleanup()


def _capabilities(row: Sequence[int]) -> tuple[str, ...]:
    return tuple(sorted(name for number, name in enumerate(CAPABILITIES) if row[number]))


_TRIES = {
    "raw_tracepoint": "int attempt(void *ctx) { return 0; }",
    "kprobe": "int attempt(void *ctx) { return 0; }",
    "ring_buffer": """BPF_RINGBUF_OUTPUT(events, 8);
        int attempt(void *ctx) { u64 x = 1; events.ringbuf_output(&x, sizeof(x), 0); return 0; }""",
    "fentry": "KFUNC_PROBE({name}) { return 0; }",
    "lsm": "LSM_PROBE({name}) { return 0; }",
}


def try_program(kind: str, name: str) -> str:
    """Load and attach a program that does nothing, as doctor's TryProgram: "" if that worked, else why not.
    Kinds: import, raw_tracepoint, kprobe, ring_buffer, fentry, lsm."""
    try:
        bcc = _import_bcc()
    except SlimtraceError as missing:
        return missing.message
    if kind == "import":
        return ""
    with _captured_stderr() as said:
        try:
            bpf = bcc.BPF(text=_TRIES[kind].replace("{name}", name).encode())
            try:
                if kind == "raw_tracepoint":
                    bpf.attach_raw_tracepoint(tp=name.encode(), fn_name=b"attempt")
                elif kind == "kprobe":
                    bpf.attach_kprobe(event=name.encode(), fn_name=b"attempt")
                elif kind == "ring_buffer":
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
