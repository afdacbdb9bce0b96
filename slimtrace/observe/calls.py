"""System calls: names by number, and which of them reach for a file by path.

The table is the single place that says so; bpf/files.c reads it from a map. Adding a row here is all that it
takes to record another call.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from slimtrace.facts.events import Use

NONE = -1  # no such argument
CALL_NUMBERS = 512  # rows of the kernel side's tables, bpf/calls.c


@dataclass(frozen=True, slots=True)
class Shape:
    """Where a call has its path (`path`, and the directory descriptor `dirfd` it is relative to), in argument
    positions 0 to 5; whether it `opens` the file, and where open(2) or AT_* flags or a struct open_how are.
    `second` is the path and descriptor of a second name."""

    use: Use
    path: int
    dirfd: int = NONE
    opens: bool = False
    flags: int = NONE
    how: int = NONE
    second: tuple[int, int] = (NONE, NONE)


# man 2 of each. A success of open's family says read, write or list by its flags and the file's type.
SHAPES: Mapping[str, Shape] = {
    "open": Shape(Use.READ, 0, opens=True, flags=1),
    "creat": Shape(Use.WRITE, 0, opens=True),
    "openat": Shape(Use.READ, 1, 0, opens=True, flags=2),
    "openat2": Shape(Use.READ, 1, 0, opens=True, how=2),
    "execve": Shape(Use.EXEC, 0),
    "execveat": Shape(Use.EXEC, 1, 0),
    "stat": Shape(Use.STAT, 0),
    "lstat": Shape(Use.LINK, 0),
    "newfstatat": Shape(Use.STAT, 1, 0, flags=3),
    "statx": Shape(Use.STAT, 1, 0, flags=2),
    "access": Shape(Use.STAT, 0),
    "faccessat": Shape(Use.STAT, 1, 0),
    "faccessat2": Shape(Use.STAT, 1, 0, flags=3),
    "statfs": Shape(Use.STAT, 0),
    "readlink": Shape(Use.LINK, 0),
    "readlinkat": Shape(Use.LINK, 1, 0),
    "getxattr": Shape(Use.STAT, 0),
    "lgetxattr": Shape(Use.LINK, 0),
    "listxattr": Shape(Use.STAT, 0),
    "llistxattr": Shape(Use.LINK, 0),
    "name_to_handle_at": Shape(Use.STAT, 1, 0),
    "inotify_add_watch": Shape(Use.STAT, 1),
    "fanotify_mark": Shape(Use.STAT, 4, 3),
    "chdir": Shape(Use.ENTER, 0),
    "chroot": Shape(Use.ENTER, 0),
    "truncate": Shape(Use.WRITE, 0),
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
    "linkat": Shape(Use.CHANGE, 1, 0, second=(3, 2)),
    "rename": Shape(Use.CHANGE, 0, second=(1, NONE)),
    "renameat": Shape(Use.CHANGE, 1, 0, second=(3, 2)),
    "renameat2": Shape(Use.CHANGE, 1, 0, second=(3, 2)),
    "chmod": Shape(Use.CHANGE, 0),
    "fchmodat": Shape(Use.CHANGE, 1, 0),
    "fchmodat2": Shape(Use.CHANGE, 1, 0),
    "chown": Shape(Use.CHANGE, 0),
    "lchown": Shape(Use.CHANGE, 0),
    "fchownat": Shape(Use.CHANGE, 1, 0),
    "utime": Shape(Use.CHANGE, 0),
    "utimes": Shape(Use.CHANGE, 0),
    "utimensat": Shape(Use.CHANGE, 1, 0),
    "futimesat": Shape(Use.CHANGE, 1, 0),
    "setxattr": Shape(Use.CHANGE, 0),
    "lsetxattr": Shape(Use.CHANGE, 0),
    "removexattr": Shape(Use.CHANGE, 0),
    "lremovexattr": Shape(Use.CHANGE, 0),
}


def number_of(name: str) -> int:
    """The number of a call on this machine, negative where the architecture has none or libseccomp does not
    know it (seccomp_syscall_resolve_name(3))."""
    import pyseccomp  # loads libseccomp: only where something is traced

    try:
        return int(pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name))
    except (ValueError, OSError):
        return -1


@cache
def names() -> Mapping[int, str]:
    """Every call that libseccomp knows on this machine, by number."""
    import pyseccomp

    found = {}
    for number in range(CALL_NUMBERS):
        try:
            name = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, number)
        except (ValueError, OSError):
            continue
        if name:
            found[number] = name.decode() if isinstance(name, bytes) else str(name)
    return found


@cache
def shapes_by_number() -> Mapping[int, tuple[str, Shape]]:
    """SHAPES for this machine: number to name and shape."""
    by_name = {name: number for number, name in names().items()}
    return {by_name[name]: (name, shape) for name, shape in SHAPES.items() if name in by_name}
