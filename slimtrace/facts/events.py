"""The facts of a run that the BPF programs reported."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

PID_BITS = 22  # PID_MAX_LIMIT of 64-bit kernels, include/linux/threads.h


def process_key(run: int, pid: int) -> int:
    """The number of a process in a capture: the host's pid, and above it the number of the recording, so that
    the processes of several captures stay apart when these are merged."""
    return run << PID_BITS | pid


class Phase(IntEnum):
    """How far a process has come on its way from the container runtime to the program.

    RUNTIME: the container runtime, in the container's cgroup, before the seccomp filter is on.
    FILTERED: the runtime after the filter is on and before it executes the program: what it calls here must
    be allowed by the profile although the program never asks for it.
    APP: the program.
    """

    RUNTIME = 0
    FILTERED = 1
    APP = 2


class Origin(IntEnum):
    """How a process came into the container: by the container's own start, or by a later exec into the
    container (``docker exec``, and the engine's own HEALTHCHECK, which enters in the same way)."""

    CONTAINER = 0
    EXEC = 1


class Abi(IntEnum):
    """The ABI that numbers a system call: the machine's own, that of its 32-bit programs (i386, arm), x32.
    IO_URING is no ABI: the requests of io_uring have numbers of their own."""

    NATIVE = 0
    COMPAT = 1
    X32 = 2
    IO_URING = 3


class Use(StrEnum):
    """What was done with a file."""

    READ = "read"
    WRITE = "write"
    EXEC = "exec"
    MAP = "map"
    STAT = "stat"
    LIST = "list"
    LINK = "link"  # the text of a symlink was read
    ENTER = "enter"  # became a working directory or root
    CHANGE = "change"  # created, removed, renamed, or its metadata was set


@dataclass(frozen=True, slots=True)
class FileUse:
    """One way in which one process used one path; recorded once, however often it happened.

    `asked` is the text that the program gave, "" where it named the file by a descriptor alone. `base` is the
    directory that the text was relative to, in the container's view, or "" for an absolute path (or where the
    directory is not known). `resolved` is the real path of the file in the container's view, "" where the call
    opened none (it only looked, or failed). `error` is 0 or the positive errno: with ENOENT the file was
    missing. `foreign` says that the resolved file lies on another file system than the container's root: a
    volume, tmpfs, /proc, /dev; `filesystem` is the type of that one, as mount(8) names it, or its magic number.
    `deleted` says that the file had no name any more: `resolved` is its last one. `program` is what the process
    had executed by then, as it was asked for. `abi` is the ABI of `call`: the same name can be another
    number's.
    """

    use: Use
    asked: str
    base: str = ""
    resolved: str = ""
    error: int = 0
    foreign: bool = False
    created: bool = False  # opened with O_CREAT
    truncated: bool = False  # a path was longer than the recorder could carry
    call: str = ""
    pid: int = 0
    origin: Origin = Origin.CONTAINER
    filesystem: str = ""
    deleted: bool = False
    program: str = ""
    abi: Abi = Abi.NATIVE


@dataclass(frozen=True, slots=True)
class Exec:
    """A program that was executed: the path `asked` for (of a script its own), relative to `base` if not
    absolute, the `binary` that ran (for a script its interpreter), and the arguments, as far as they could be
    read (4095 bytes of them at most)."""

    asked: str
    base: str
    binary: str
    pid: int
    parent: int
    origin: Origin = Origin.CONTAINER
    foreign: bool = False
    argv: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listen:
    """A TCP socket that began to listen inside the container."""

    port: int
    address: str
    pid: int
    origin: Origin = Origin.CONTAINER


@dataclass(frozen=True, slots=True)
class Socket:
    """What was done with a socket, by `call` (socket, socketpair, bind, connect, sendto, sendmsg): its `family`
    and `kind` as socket(2) names them without their prefixes ("inet", "stream"), or their numbers; the
    protocol's number; for the last four the `address` and `port`, as far as the family has them. A UNIX
    socket's path is a FileUse. `error` is 0 or the positive errno (115, EINPROGRESS, for a connect that does
    not wait)."""

    call: str
    family: str
    kind: str
    protocol: int = 0
    address: str = ""
    port: int = 0
    error: int = 0
    pid: int = 0
    origin: Origin = Origin.CONTAINER


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount point in the container, other than the root: the type and source of the file system, and as
    `root` the directory or file of the file system that is mounted there (of a bind mount the host's path, or
    the end of it), as in mountinfo (proc(5)), "" where they are not known."""

    path: str
    filesystem: str = ""
    source: str = ""
    root: str = ""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something that makes the result less than certain: a stable `code`, a sentence, and as `subject` the path
    or name that it is about."""

    code: str
    text: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class CallSet:
    """The system calls of one phase, origin and ABI, by name, sorted; for Abi.IO_URING io_uring's operations.
    `calls` are those that were made, with any result but ENOSYS. `refused` are those that the kernel or the
    engine's own seccomp profile answered with ENOSYS; the program then fell back to another call, and a profile
    that answers otherwise would break it. `nameless` are the numbers that this libseccomp has no name for."""

    phase: Phase
    origin: Origin
    calls: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    nameless: tuple[int, ...] = ()
    abi: Abi = Abi.NATIVE


MAX_VALUES = 64  # distinct values of one argument that are recorded


@dataclass(frozen=True, slots=True)
class CallArguments:
    """The values that the argument number `index` (from 0) of `call` had in one phase, origin and ABI, sorted;
    for flags of which a profile compares only some (clone's namespaces) with the other bits cleared. `more`
    says that there were more than MAX_VALUES. Recorded for the calls and arguments on which a profile depends
    (observe/kernel/syscalls.py)."""

    call: str
    index: int
    values: tuple[int, ...]
    phase: Phase = Phase.APP
    origin: Origin = Origin.CONTAINER
    abi: Abi = Abi.NATIVE
    more: bool = False


@dataclass(frozen=True, slots=True)
class FirstCall:
    """The first caller of a system call in one phase, origin and ABI: the program as it was executed ("" before
    the first exec), and the process."""

    call: str
    program: str
    pid: int = 0
    phase: Phase = Phase.APP
    origin: Origin = Origin.CONTAINER
    abi: Abi = Abi.NATIVE


@dataclass(frozen=True, slots=True)
class CapabilitySet:
    """The capabilities that the kernel checked in one phase and origin, by the outcome of the check; names as
    in capabilities(7), without CAP_ and in lower case, sorted."""

    phase: Phase
    origin: Origin
    granted: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()


# linux/capability.h, in the order of their numbers
CAPABILITIES = (
    "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap",
    "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner",
    "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice",
    "sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap",
    "mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf",
    "checkpoint_restore",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trace:
    """All that was seen of a run, or of several (reason/merge.py). Every `pid` is one of `process_key`.
    `mounts` are the mount points in the container, other than the root. `parents` maps a process to the one
    that forked it; `lost` counts the records that the kernel could not hand over (of several runs the largest
    count)."""

    uses: tuple[FileUse, ...] = ()
    execs: tuple[Exec, ...] = ()
    listens: tuple[Listen, ...] = ()
    calls: tuple[CallSet, ...] = ()
    capabilities: tuple[CapabilitySet, ...] = ()
    mounts: tuple[Mount, ...] = ()
    parents: Mapping[int, int] = field(default_factory=dict)
    lost: int = 0
    doubts: tuple[Doubt, ...] = ()
    sockets: tuple[Socket, ...] = ()
    own_execs: tuple[int, ...] = ()  # pids of slimtrace's own --exec commands: not the container's doing
    arguments: tuple[CallArguments, ...] = ()
    first_calls: tuple[FirstCall, ...] = ()
