"""System calls: names by number and ABI, and which of them reach for a file, and how.

SHAPES is the single place that says so; bpf/exit.c reads it from the map `call_shapes`. Adding a row to it is
all that it takes to record another call.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache

from slimtrace.facts.events import Abi, Use
from slimtrace.observe.kernel import io_uring

NONE = -1  # no such argument
CALL_NUMBERS = 1024  # in each row of the kernel side's maps, bpf/syscalls.h


class Act(IntEnum):
    """How a call reaches for a file: enum act of bpf/wire.h."""

    NAME = 1
    DESCRIPTOR = 2
    ADDRESS = 3
    SOCKET = 4
    FILTER = 5
    FS = 6
    LISTEN = 7
    VALUE = 8


class FsChange(IntEnum):
    """What a call changes in the process's struct fs_struct: the working directory, the root."""

    NONE = 0
    PWD = 1
    ROOT = 2
    BOTH = 3


@dataclass(frozen=True, slots=True)
class Shape:
    """Where a call has its path (`path`, and the directory descriptor `dirfd` that the path is relative to), in
    argument positions 0 to 5; whether it `opens` the file, and where open(2) or AT_* flags or a struct open_how
    are. `second` is the position of a second path and of its descriptor. With DESCRIPTOR the file is that of
    `dirfd`; with `empty_path` it is that where the path is NULL or empty. With ADDRESS `path` is the address,
    `dirfd` the socket, `flags` the length, or `how` says that the address is in a struct msghdr. The call
    counts only where the argument `needs`, masked with `mask` (0: whole), is not 0. `value_bits` are the bits
    of the first argument whose values are recorded (events.CallArguments); with `indirect` they are bits of the
    word of memory that it points to."""

    use: Use
    path: int = NONE
    dirfd: int = NONE
    opens: bool = False
    flags: int = NONE
    how: int = NONE
    second: tuple[int, int] = (NONE, NONE)
    act: Act = Act.NAME
    fs_change: FsChange = FsChange.NONE
    empty_path: bool = False
    needs: int = NONE
    mask: int = 0
    value_bits: int = 0
    indirect: bool = False


def _by_descriptor(use: Use, dirfd: int = 0) -> Shape:
    return Shape(use, dirfd=dirfd, act=Act.DESCRIPTOR)


_PROT_EXEC = 4
_INT, _LONG = 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF  # what the kernel takes of a register
# linux/sched.h, CLONE_NEW*; CLONE_NEWTIME is clone3's alone: clone(2) has the signal in these bits
NEW_NAMESPACES, _NEW_TIME = 0x7E02_0000, 0x80
_MAPPED = Shape(Use.MAP, dirfd=4, act=Act.DESCRIPTOR, needs=2, mask=_PROT_EXEC)

# Section 2 of the manual has each call. What a call of open's family does with the file its flags say.
SHAPES: Mapping[str, Shape] = {
    "open": Shape(Use.READ, 0, opens=True, flags=1),
    "creat": Shape(Use.WRITE, 0, opens=True),
    "openat": Shape(Use.READ, 1, 0, opens=True, flags=2),
    "openat2": Shape(Use.READ, 1, 0, opens=True, how=2),
    "open_by_handle_at": Shape(Use.READ, opens=True, act=Act.DESCRIPTOR),
    "open_tree": Shape(Use.STAT, 1, 0, opens=True),
    "execve": Shape(Use.EXEC, 0),
    "execveat": Shape(Use.EXEC, 1, 0),
    "uselib": Shape(Use.MAP, 0),
    "mmap": _MAPPED,
    "mmap2": _MAPPED,
    "stat": Shape(Use.STAT, 0),
    "stat64": Shape(Use.STAT, 0),
    "oldstat": Shape(Use.STAT, 0),
    "lstat": Shape(Use.LINK, 0),
    "lstat64": Shape(Use.LINK, 0),
    "oldlstat": Shape(Use.LINK, 0),
    "newfstatat": Shape(Use.STAT, 1, 0, flags=3),
    "fstatat64": Shape(Use.STAT, 1, 0, flags=3),
    "statx": Shape(Use.STAT, 1, 0, flags=2),
    "access": Shape(Use.STAT, 0),
    "faccessat": Shape(Use.STAT, 1, 0),
    "faccessat2": Shape(Use.STAT, 1, 0, flags=3),
    "statfs": Shape(Use.STAT, 0),
    "statfs64": Shape(Use.STAT, 0),
    "fstatfs": _by_descriptor(Use.STAT),
    "fstatfs64": _by_descriptor(Use.STAT),
    "readlink": Shape(Use.LINK, 0),
    "readlinkat": Shape(Use.LINK, 1, 0, empty_path=True),
    "getxattr": Shape(Use.STAT, 0),
    "lgetxattr": Shape(Use.LINK, 0),
    "fgetxattr": _by_descriptor(Use.STAT),
    "getxattrat": Shape(Use.STAT, 1, 0, flags=2, empty_path=True),
    "listxattr": Shape(Use.STAT, 0),
    "llistxattr": Shape(Use.LINK, 0),
    "flistxattr": _by_descriptor(Use.STAT),
    "listxattrat": Shape(Use.STAT, 1, 0, flags=2, empty_path=True),
    "file_getattr": Shape(Use.STAT, 1, 0, flags=4, empty_path=True),
    "name_to_handle_at": Shape(Use.STAT, 1, 0, empty_path=True),
    "inotify_add_watch": Shape(Use.STAT, 1),
    "fanotify_mark": Shape(Use.STAT, 4, 3, empty_path=True),
    "quotactl": Shape(Use.STAT, 1),
    "chdir": Shape(Use.ENTER, 0, fs_change=FsChange.PWD),
    "fchdir": replace(_by_descriptor(Use.ENTER), fs_change=FsChange.PWD),
    "chroot": Shape(Use.ENTER, 0, fs_change=FsChange.ROOT),
    "pivot_root": Shape(Use.ENTER, 0, second=(1, NONE), fs_change=FsChange.BOTH),
    "unshare": Shape(Use.ENTER, act=Act.FS),
    "setns": Shape(Use.ENTER, act=Act.FS),
    "getdents": _by_descriptor(Use.LIST),
    "getdents64": _by_descriptor(Use.LIST),
    "readdir": _by_descriptor(Use.LIST),
    "truncate": Shape(Use.WRITE, 0),
    "truncate64": Shape(Use.WRITE, 0),
    "mkdir": Shape(Use.CHANGE, 0),
    "mkdirat": Shape(Use.CHANGE, 1, 0),
    "mknod": Shape(Use.CHANGE, 0),
    "mknodat": Shape(Use.CHANGE, 1, 0),
    "rmdir": Shape(Use.CHANGE, 0),
    "unlink": Shape(Use.CHANGE, 0),
    "unlinkat": Shape(Use.CHANGE, 1, 0),
    "symlink": Shape(Use.CHANGE, 1),
    "symlinkat": Shape(Use.CHANGE, 2, 1),
    "link": Shape(Use.CHANGE, 0, second=(1, NONE)),
    "linkat": Shape(Use.CHANGE, 1, 0, second=(3, 2), empty_path=True),
    "rename": Shape(Use.CHANGE, 0, second=(1, NONE)),
    "renameat": Shape(Use.CHANGE, 1, 0, second=(3, 2)),
    "renameat2": Shape(Use.CHANGE, 1, 0, second=(3, 2)),
    "chmod": Shape(Use.CHANGE, 0),
    "fchmod": _by_descriptor(Use.CHANGE),
    "fchmodat": Shape(Use.CHANGE, 1, 0),
    "fchmodat2": Shape(Use.CHANGE, 1, 0, empty_path=True),
    "chown": Shape(Use.CHANGE, 0),
    "chown32": Shape(Use.CHANGE, 0),
    "lchown": Shape(Use.CHANGE, 0),
    "lchown32": Shape(Use.CHANGE, 0),
    "fchown": _by_descriptor(Use.CHANGE),
    "fchown32": _by_descriptor(Use.CHANGE),
    "fchownat": Shape(Use.CHANGE, 1, 0, empty_path=True),
    "utime": Shape(Use.CHANGE, 0),
    "utimes": Shape(Use.CHANGE, 0),
    "utimensat": Shape(Use.CHANGE, 1, 0, empty_path=True),
    "utimensat_time64": Shape(Use.CHANGE, 1, 0, empty_path=True),
    "futimesat": Shape(Use.CHANGE, 1, 0, empty_path=True),
    "setxattr": Shape(Use.CHANGE, 0),
    "lsetxattr": Shape(Use.CHANGE, 0),
    "fsetxattr": _by_descriptor(Use.CHANGE),
    "setxattrat": Shape(Use.CHANGE, 1, 0, empty_path=True),
    "removexattr": Shape(Use.CHANGE, 0),
    "lremovexattr": Shape(Use.CHANGE, 0),
    "fremovexattr": _by_descriptor(Use.CHANGE),
    "removexattrat": Shape(Use.CHANGE, 1, 0, empty_path=True),
    "file_setattr": Shape(Use.CHANGE, 1, 0, empty_path=True),
    "swapon": Shape(Use.WRITE, 0),
    "swapoff": Shape(Use.WRITE, 0),
    "acct": Shape(Use.WRITE, 0),
    # of mount's source only what is a path: for a file system without a device the source is any word
    "mount": Shape(Use.STAT, 1, second=(0, NONE)),
    "umount": Shape(Use.STAT, 0),
    "umount2": Shape(Use.STAT, 0),
    "move_mount": Shape(Use.STAT, 1, 0, second=(3, 2), empty_path=True),
    "mount_setattr": Shape(Use.STAT, 1, 0, empty_path=True),
    "open_tree_attr": Shape(Use.STAT, 1, 0, opens=True),
    "fspick": Shape(Use.STAT, 1, 0),
    # unix(7): to connect or send to a socket takes write permission on its file, to bind makes it
    "bind": Shape(Use.CHANGE, 1, 0, flags=2, act=Act.ADDRESS),
    "connect": Shape(Use.WRITE, 1, 0, flags=2, act=Act.ADDRESS),
    "sendto": Shape(Use.WRITE, 4, 0, flags=5, act=Act.ADDRESS, needs=4),
    "sendmsg": Shape(Use.WRITE, 1, 0, how=1, act=Act.ADDRESS),
    "socket": Shape(Use.READ, act=Act.SOCKET, value_bits=_INT),
    "socketpair": Shape(Use.READ, act=Act.SOCKET, value_bits=_INT),
    "listen": Shape(Use.READ, act=Act.LISTEN),
    "seccomp": Shape(Use.READ, act=Act.FILTER),
    "prctl": Shape(Use.READ, act=Act.FILTER, value_bits=_INT),
    # recorded for their arguments alone, which a seccomp filter looks at
    "clone": Shape(Use.READ, act=Act.VALUE, value_bits=NEW_NAMESPACES),
    "clone3": Shape(Use.READ, act=Act.VALUE, value_bits=NEW_NAMESPACES | _NEW_TIME, indirect=True),
    "personality": Shape(Use.READ, act=Act.VALUE, value_bits=_LONG),
    "ptrace": Shape(Use.READ, act=Act.VALUE, value_bits=_INT),
}

# Where a 32-bit call has its arguments elsewhere: a 64-bit argument takes two registers (fanotify_mark(2)).
COMPAT_SHAPES: Mapping[str, Shape] = {"fanotify_mark": Shape(Use.STAT, 5, 4, empty_path=True)}

# Calls that libseccomp's table may be too old for; since 5.1 a number is the same on every architecture
# (scripts/syscall.tbl).
YOUNGER: Mapping[int, str] = {
    451: "cachestat", 452: "fchmodat2", 453: "map_shadow_stack", 454: "futex_wake", 455: "futex_wait",
    456: "futex_requeue", 457: "statmount", 458: "listmount", 459: "lsm_get_self_attr",
    460: "lsm_set_self_attr", 461: "lsm_list_modules", 462: "mseal", 463: "setxattrat", 464: "getxattrat",
    465: "listxattrat", 466: "removexattrat", 467: "open_tree_attr", 468: "file_getattr", 469: "file_setattr",
    470: "listns",
}  # fmt: skip

# The architectures whose programs a kernel of this one runs: platform.machine() and ABI to seccomp's name.
ARCHITECTURES: Mapping[tuple[str, Abi], str] = {
    ("x86_64", Abi.NATIVE): "X86_64",
    ("x86_64", Abi.COMPAT): "X86",
    ("x86_64", Abi.X32): "X32",
    ("aarch64", Abi.NATIVE): "AARCH64",
    ("aarch64", Abi.COMPAT): "ARM",
}


@cache
def names(abi: Abi = Abi.NATIVE, machine: str = "") -> Mapping[int, str]:
    """Every call of an ABI of `machine` (as platform.machine() says; by default this one) by number: those that
    libseccomp knows (seccomp_syscall_resolve_num_arch(3)) and YOUNGER. Empty for an ABI that the machine does
    not have."""
    import platform

    import pyseccomp  # loads libseccomp: only where something is traced

    if abi is Abi.IO_URING:
        return dict(enumerate(io_uring.OPERATIONS))
    name = ARCHITECTURES.get((machine or platform.machine(), abi))
    if name is None:
        return {}
    architecture = getattr(pyseccomp.Arch, name)
    found = dict(YOUNGER)
    for number in range(CALL_NUMBERS):
        try:
            call = pyseccomp.resolve_syscall(architecture, number)
        except (ValueError, OSError):
            continue
        if call:
            found[number] = call.decode() if isinstance(call, bytes) else str(call)
    return found


@cache
def _numbers(abi: Abi, machine: str) -> Mapping[str, int]:
    return {name: number for number, name in names(abi, machine).items()}


def number_of(name: str, abi: Abi = Abi.NATIVE, machine: str = "") -> int:
    """The number of a call, -1 where the ABI has none of that name or libseccomp does not know it."""
    return _numbers(abi, machine).get(name, -1)


@cache
def shapes_by_number(abi: Abi = Abi.NATIVE, machine: str = "") -> Mapping[int, tuple[str, Shape]]:
    """SHAPES for an ABI: number to name and shape."""
    shapes = {**SHAPES, **COMPAT_SHAPES} if abi is Abi.COMPAT else SHAPES
    numbers = _numbers(abi, machine)
    return {numbers[name]: (name, shape) for name, shape in shapes.items() if name in numbers}


@cache
def names_and_uses() -> Mapping[tuple[Abi, int], tuple[str, Use]]:
    """The name of each call and what it does with a file, by ABI and number, as wire.decode takes them."""
    found = {
        (abi, number): (name, shape.use)
        for abi in (Abi.NATIVE, Abi.COMPAT, Abi.X32)
        for number, (name, shape) in shapes_by_number(abi).items()
    }
    for name, members in io_uring.PATH_OPERATIONS.items():
        found[Abi.IO_URING, io_uring.number_of(name)] = (f"io_uring {name}", members.use)
    return found
