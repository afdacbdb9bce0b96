"""The records of bpf/wire.h as Python reads them.

`LAYOUTS` repeats every struct of wire.h field by field; tests/facts/test_wire.py compiles the header and
compares. `decode` turns one record's bytes into a fact; it trusts the framing by the kernel and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import accumulate, pairwise
from struct import Struct, calcsize, error

from slimtrace.facts import paths
from slimtrace.facts.events import Abi, Exec, FileUse, Listen, Origin, Phase, Socket, Use, process_key

RECORD_FILE, RECORD_EXEC, RECORD_FORK, RECORD_EXIT, RECORD_LISTEN, RECORD_CGROUP, RECORD_SOCKET = range(1, 8)
FLAG_OPENED, FLAG_FOREIGN, FLAG_TRUNCATED, FLAG_BASED, FLAG_DELETED = 1, 2, 4, 8, 16
NO_ARGUMENT = 255
OUTCOME_ANY, OUTCOME_FAILURE, OUTCOME_SUCCESS, OUTCOME_SOMETHING = range(4)
FAMILY_INET, FAMILY_INET6 = 2, 10

_HEAD = (("type", "I"), ("pid", "I"), ("phase", "B"), ("origin", "B"), ("flags", "H"), ("length", "I"))

# struct of wire.h -> its fields behind the common head, in order, as struct(3) letters
LAYOUTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "record": (),
    "path_record": (
        ("dev", "Q"), ("ino", "Q"), ("open_flags", "Q"), ("error", "i"), ("file_mode", "I"), ("parent", "I"),
        ("magic", "I"), ("call", "H"), ("asked_length", "H"), ("base_length", "H"), ("resolved_length", "H"),
        ("args_length", "H"), ("abi", "H"), ("program", "I"),
    ),
    "fork_record": (("child", "I"), ("unused", "I")),
    "exit_record": (("code", "i"), ("unused", "I")),
    "listen_record": (("family", "H"), ("port", "H"), ("unused", "I"), ("address", "16s")),
    "cgroup_record": (("id", "Q"),),
    "socket_record": (
        ("call", "H"), ("abi", "H"), ("family", "H"), ("kind", "H"), ("protocol", "H"), ("port", "H"),
        ("error", "i"), ("address", "16s"),
    ),
}  # fmt: skip


def struct_fields(name: str) -> tuple[tuple[str, str], ...]:
    """All fields of a struct of wire.h, the common head first."""
    return _HEAD + LAYOUTS[name]


def struct_format(name: str) -> str:
    """The struct module's format of a record: little-endian as both supported machines are, no padding
    (wire.h is laid out so that the compiler adds none)."""
    return "<" + "".join(letter for _, letter in struct_fields(name))


_HEADER = Struct(struct_format("record"))
_PATH = Struct(struct_format("path_record"))
_FORK = Struct(struct_format("fork_record"))
_EXIT = Struct(struct_format("exit_record"))
_LISTEN = Struct(struct_format("listen_record"))
_CGROUP = Struct(struct_format("cgroup_record"))
_SOCKET = Struct(struct_format("socket_record"))
HEADER_SIZE = calcsize(struct_format("record"))


@dataclass(frozen=True, slots=True)
class Fork:
    """Process `pid` made the process `child`."""

    pid: int
    child: int


@dataclass(frozen=True, slots=True)
class Exit:
    """Process `pid` ended with the wait(2) status `code`."""

    pid: int
    code: int


@dataclass(frozen=True, slots=True)
class CgroupArmed:
    """The container's cgroup, or one nested in it, was made and is traced from now on."""

    id: int


Record = FileUse | Exec | Fork | Exit | Listen | Socket | CgroupArmed
Calls = Mapping[tuple[Abi, int], tuple[str, Use]]
"""The name of a system call and its use of a file, by ABI and number."""

# linux/magic.h; those that containers use. A file system that is not here is recorded by its number.
_FILE_SYSTEMS = {
    0x9FA0: "proc", 0x62656572: "sysfs", 0x01021994: "tmpfs", 0x1CD1: "devpts", 0x19800202: "mqueue",
    0x63677270: "cgroup2", 0x27E0EB: "cgroup", 0x794C7630: "overlay", 0xEF53: "ext4", 0x58465342: "xfs",
    0x9123683E: "btrfs", 0x2FC12FC1: "zfs", 0x01021997: "9p", 0x65735546: "fuse", 0x6969: "nfs",
    0x50495045: "pipefs", 0x534F434B: "sockfs", 0x09041934: "anon_inodefs", 0x958458F6: "hugetlbfs",
    0xCAFE4A11: "bpf", 0x73636673: "securityfs", 0x64626720: "debugfs", 0x74726163: "tracefs",
    0x6E736673: "nsfs", 0x73717368: "squashfs", 0xE0F5E1E2: "erofs", 0x61756673: "aufs",
}  # fmt: skip
# linux/socket.h and linux/net.h; their names as apparmor.d(5) and others write them
_FAMILIES = {
    0: "unspec", 1: "unix", 2: "inet", 3: "ax25", 4: "ipx", 5: "appletalk", 10: "inet6", 15: "key",
    16: "netlink", 17: "packet", 21: "rds", 29: "can", 30: "tipc", 31: "bluetooth", 38: "alg", 40: "vsock",
    42: "qipcrtr", 43: "smc", 44: "xdp",
}  # fmt: skip
_KINDS = {1: "stream", 2: "dgram", 3: "raw", 4: "rdm", 5: "seqpacket", 6: "dccp", 10: "packet"}


def process_state(word: int) -> tuple[Phase, Origin] | None:
    """The phase and origin in a process's word of the BPF map `process_states` (bpf/scope.h); None for a
    process that is not traced."""
    if not word & 1:
        return None
    return Phase(word >> 1 & 3), Origin(word >> 3 & 1)


def process_state_word(phase: Phase, origin: Origin) -> int:
    """The word of a traced process with this phase and origin."""
    return 1 | phase << 1 | origin << 3


# open(2) flags; the same numbers on x86_64 and aarch64 but O_DIRECTORY (asm/fcntl.h)
_AT_SYMLINK_NOFOLLOW = 0x100
_ACCESS_MODE, _O_CREAT, _O_TRUNC, _O_PATH = 0o3, 0o100, 0o1000, 0o10000000


def program_hash(raw: bytes) -> int:
    """The 24 bits of a hash by which the BPF programs tell the program of an EXEC record from others; 0 for a
    record of another type."""
    return int(_PATH.unpack_from(raw)[-1]) if _HEADER.unpack_from(raw)[0] == RECORD_EXEC else 0


def path_from_leaf(raw: bytes) -> str:
    """The path in a record's NUL-terminated names, which the BPF programs collect from the leaf up."""
    names = raw.split(b"\0")[:-1]
    return "/" + "/".join(paths.decode(name) for name in reversed(names))


def record_head(raw: bytes) -> tuple[int, int]:
    """A record's type and the host's pid of its process. Raises struct.error on a record cut short."""
    kind, pid, *_ = _HEADER.unpack_from(raw)
    return kind, pid


def path_bytes(raw: bytes) -> bytes:
    """The bytes of all paths in a FILE record: the same for the same paths."""
    return raw[_PATH.size :]


def decode(raw: bytes, calls: Calls, run: int = 0, program: str = "") -> Record | None:
    """The fact in one record; None for a type that this version does not know. `calls` gives a system
    call's name and its use of a file; `run` numbers the recording (events.process_key); `program`
    is what the process of a FILE record executed last. Raises struct.error on a record cut short,
    ValueError on an origin that this version does not know."""
    kind, pid, _, origin, flags, _ = _HEADER.unpack_from(raw)
    pid = process_key(run, pid)
    if kind == RECORD_FILE:
        return _file(raw, pid, Origin(origin), flags, calls, program)
    if kind == RECORD_EXEC:
        return _exec(raw, pid, Origin(origin), flags, run)
    if kind == RECORD_FORK:
        return Fork(pid, process_key(run, _FORK.unpack_from(raw)[6]))
    if kind == RECORD_EXIT:
        return Exit(pid, _EXIT.unpack_from(raw)[6])
    if kind == RECORD_LISTEN:
        *_, family, port, _, address = _LISTEN.unpack_from(raw)
        return Listen(port, _address(family, address), pid, Origin(origin))
    if kind == RECORD_SOCKET:
        return _socket(raw, pid, Origin(origin), calls)
    if kind == RECORD_CGROUP:
        return CgroupArmed(_CGROUP.unpack_from(raw)[6])
    return None


def _address(family: int, raw: bytes) -> str:
    """An IP address as text, "" for another family's."""
    if family == FAMILY_INET6:
        return str(IPv6Address(raw))
    return str(IPv4Address(raw[:4])) if family == FAMILY_INET else ""


def _socket(raw: bytes, pid: int, origin: Origin, calls: Calls) -> Socket:
    call, abi, family, kind, protocol, port, error, address = _SOCKET.unpack_from(raw)[6:]
    name, _ = calls.get((Abi(abi), call), (str(call), Use.READ))
    made = name in ("socket", "socketpair")
    return Socket(
        call=name,
        family=_FAMILIES.get(family, str(family)),
        kind=_KINDS.get(kind, str(kind)),
        protocol=protocol,
        address="" if made else _address(family, address),
        port=port,
        error=-error,
        pid=pid,
        origin=origin,
    )


@dataclass(frozen=True, slots=True)
class _PathRecord:
    """What FILE and EXEC records have in common."""

    open_flags: int
    error: int
    file_mode: int
    parent: int
    filesystem: str
    call: int
    abi: Abi
    asked: str
    base: str
    resolved: str
    args: bytes


def _path_record(raw: bytes, flags: int) -> _PathRecord:
    body = _PATH.unpack_from(raw)[6:]
    _, _, open_flags, result, file_mode, parent, magic, call, asked, base, resolved, args, abi, _ = body
    ends = list(accumulate((asked, base, resolved, args), initial=_PATH.size))
    if ends[-1] > len(raw):
        raise error(f"record cut short: {len(raw)} of {ends[-1]} bytes")
    texts = [raw[start:end] for start, end in pairwise(ends)]
    return _PathRecord(
        open_flags=open_flags,
        error=-result,
        file_mode=file_mode,
        parent=parent,
        filesystem=_FILE_SYSTEMS.get(magic, f"{magic:#x}") if flags & FLAG_FOREIGN else "",
        call=call,
        abi=Abi(abi),
        asked=paths.decode(texts[0]),
        base=path_from_leaf(texts[1]) if flags & FLAG_BASED else "",
        resolved=path_from_leaf(texts[2]) if flags & FLAG_OPENED else "",
        args=texts[3],
    )


def _file(raw: bytes, pid: int, origin: Origin, flags: int, calls: Calls, program: str) -> FileUse:
    seen = _path_record(raw, flags)
    name, use = calls.get((seen.abi, seen.call), (str(seen.call), Use.STAT))
    if use is Use.READ:
        use = _use_of_open(seen.open_flags)
    elif use is Use.STAT and seen.open_flags & _AT_SYMLINK_NOFOLLOW:
        use = Use.LINK
    opening = use in (Use.READ, Use.WRITE)
    return FileUse(
        use=use,
        asked=seen.asked,
        base=seen.base,
        resolved=seen.resolved,
        error=seen.error,
        foreign=bool(flags & FLAG_FOREIGN),
        created=opening and (name == "creat" or bool(seen.open_flags & _O_CREAT)),  # creat(2) has no flags
        truncated=bool(flags & FLAG_TRUNCATED),
        call=name,
        pid=pid,
        origin=origin,
        filesystem=seen.filesystem,
        deleted=bool(flags & FLAG_DELETED),
        program=program,
        abi=Abi.NATIVE if seen.abi is Abi.IO_URING else seen.abi,
    )


def _use_of_open(open_flags: int) -> Use:
    """A directory that was opened is read too: getdents(2) is what lists it."""
    if open_flags & _O_PATH:
        return Use.STAT
    if open_flags & _ACCESS_MODE or open_flags & (_O_CREAT | _O_TRUNC):
        return Use.WRITE
    return Use.READ


def _exec(raw: bytes, pid: int, origin: Origin, flags: int, run: int) -> Exec:
    seen = _path_record(raw, flags)
    argv = tuple(paths.decode(arg) for arg in seen.args.split(b"\0")[:-1])
    foreign = bool(flags & FLAG_FOREIGN)
    parent = process_key(run, seen.parent)
    return Exec(seen.asked, seen.base, seen.resolved, pid, parent, origin, foreign, argv)
