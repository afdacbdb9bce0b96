"""io_uring's operations: their names, and which of them name a file.

A request is no system call: it is seen when it is submitted (bpf/io_uring.c), with the kernel's own copy of the
names in it. The structures are io_uring's own (io_uring/*.c) and known by BTF alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from slimtrace.facts.events import Abi, CallSet, Doubt, Phase, Use

# enum io_uring_op, include/uapi/linux/io_uring.h; the operations keep their numbers
OPERATIONS = (
    "nop", "readv", "writev", "fsync", "read_fixed", "write_fixed", "poll_add", "poll_remove",
    "sync_file_range", "sendmsg", "recvmsg", "timeout", "timeout_remove", "accept", "async_cancel",
    "link_timeout", "connect", "fallocate", "openat", "close", "files_update", "statx", "read", "write",
    "fadvise", "madvise", "send", "recv", "openat2", "epoll_ctl", "splice", "provide_buffers",
    "remove_buffers", "tee", "shutdown", "renameat", "unlinkat", "mkdirat", "symlinkat", "linkat", "msg_ring",
    "fsetxattr", "setxattr", "fgetxattr", "getxattr", "socket", "uring_cmd", "send_zc", "sendmsg_zc",
    "read_multishot", "waitid", "futex_wait", "futex_wake", "futex_waitv", "fixed_fd_install", "ftruncate",
    "bind", "listen", "recv_zc", "epoll_wait", "readv_fixed", "writev_fixed", "pipe",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PathMembers:
    """In which members of its structure a request keeps the path (`name`) and the descriptor that it is
    relative to, those of a `second` path, and the flags; "" for none."""

    use: Use
    name: str
    dirfd: str = ""
    second: tuple[str, str] = ("", "")
    flags: str = ""


# Operation -> where its paths are, as structure.member. A socket's address (connect, bind) is not among them.
PATH_OPERATIONS: Mapping[str, PathMembers] = {
    "openat": PathMembers(Use.READ, "io_open.filename", "io_open.dfd", flags="io_open.how.flags"),
    "openat2": PathMembers(Use.READ, "io_open.filename", "io_open.dfd", flags="io_open.how.flags"),
    "statx": PathMembers(Use.STAT, "io_statx.filename", "io_statx.dfd", flags="io_statx.flags"),
    "renameat": PathMembers(
        Use.CHANGE, "io_rename.oldpath", "io_rename.old_dfd", ("io_rename.newpath", "io_rename.new_dfd")
    ),
    "unlinkat": PathMembers(Use.CHANGE, "io_unlink.filename", "io_unlink.dfd"),
    "mkdirat": PathMembers(Use.CHANGE, "io_mkdir.filename", "io_mkdir.dfd"),
    "symlinkat": PathMembers(Use.CHANGE, "io_link.newpath", "io_link.new_dfd"),
    "linkat": PathMembers(
        Use.CHANGE, "io_link.oldpath", "io_link.old_dfd", ("io_link.newpath", "io_link.new_dfd")
    ),
    "getxattr": PathMembers(Use.STAT, "io_xattr.filename"),
    "setxattr": PathMembers(Use.CHANGE, "io_xattr.filename"),
}
# Operations that may reach for a file by the path in a socket's address, which is not seen.
SOCKET_OPERATIONS = frozenset(("connect", "bind", "sendmsg", "sendmsg_zc", "send_zc"))
SYSTEM_CALLS = frozenset(("io_uring_setup", "io_uring_enter"))
MEMBERS = tuple(
    member
    for paths in PATH_OPERATIONS.values()
    for member in (paths.name, paths.dirfd, *paths.second, paths.flags)
    if member
)


def name_of(number: int) -> str:
    """An operation's name, or its number where it is younger than this table."""
    return OPERATIONS[number] if number < len(OPERATIONS) else str(number)


def number_of(name: str) -> int:
    """The number of an operation. Raises ValueError for a name that is none."""
    return OPERATIONS.index(name)


def doubts(sets: Iterable[CallSet], seen: bool, unnamed: frozenset[str]) -> Iterator[Doubt]:
    """What the program may have reached through io_uring without our knowing it. With `seen` the kernel reports
    each request's operation, and only for the operations in `unnamed` not the file."""
    program = [one for one in sets if one.phase is Phase.APP]
    if not seen and any(SYSTEM_CALLS & set(one.calls) for one in program):
        yield Doubt("io-uring", "the program uses io_uring, of which this kernel does not tell")
    used = {name for one in program if one.abi is Abi.IO_URING for name in one.calls}
    for name in sorted(name for name in used if name in unnamed or name not in OPERATIONS):
        yield Doubt(
            "io-uring", f"the program asked io_uring for {name}: what file it reached is not seen", name
        )
