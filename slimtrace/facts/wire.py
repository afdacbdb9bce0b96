"""The records of bpf/wire.h, on this side.

`LAYOUTS` repeats every struct of wire.h field by field; tests/facts/test_wire.py compiles the header and
compares. `decode` turns one record's bytes into a fact; it trusts the kernel side's framing and nothing else.
"""

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import accumulate, pairwise
from struct import Struct, calcsize, error

from slimtrace.facts import paths
from slimtrace.facts.events import Exec, FileUse, Listen, Origin, Use, process

RECORD_FILE, RECORD_EXEC, RECORD_FORK, RECORD_EXIT, RECORD_LISTEN, RECORD_CGROUP = range(1, 7)
FLAG_OPENED, FLAG_FOREIGN, FLAG_TRUNCATED, FLAG_BASED = 1, 2, 4, 8
NO_ARGUMENT, KNOWN, KNOWN_BY_FAILURE = 65535, 1, 2
FAMILY_INET6 = 10

_HEAD = (("type", "I"), ("pid", "I"), ("phase", "B"), ("origin", "B"), ("flags", "H"), ("length", "I"))

# struct of wire.h -> its fields behind the common head, in order, as struct(3) letters
LAYOUTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "record": (),
    "path_record": (
        ("dev", "Q"), ("ino", "Q"), ("open_flags", "Q"), ("error", "i"), ("file_mode", "I"), ("parent", "I"),
        ("call", "H"), ("asked_length", "H"), ("base_length", "H"), ("resolved_length", "H"),
        ("args_length", "H"), ("unused", "H"),
    ),
    "fork_record": (("child", "I"), ("unused", "I")),
    "exit_record": (("code", "i"), ("unused", "I")),
    "listen_record": (("family", "H"), ("port", "H"), ("unused", "I"), ("address", "16s")),
    "cgroup_record": (("id", "Q"),),
}  # fmt: skip


def fields(name: str) -> tuple[tuple[str, str], ...]:
    """All fields of a struct of wire.h, the common head first."""
    return _HEAD + LAYOUTS[name]


def format_of(name: str) -> str:
    """The struct module's format of a record: little-endian as both supported machines are, no padding
    (wire.h is laid out so that the compiler adds none)."""
    return "<" + "".join(letter for _, letter in fields(name))


_HEADER = Struct(format_of("record"))
_PATH = Struct(format_of("path_record"))
_FORK = Struct(format_of("fork_record"))
_EXIT = Struct(format_of("exit_record"))
_LISTEN = Struct(format_of("listen_record"))
_CGROUP = Struct(format_of("cgroup_record"))
HEADER_SIZE = calcsize(format_of("record"))


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
    """The container's cgroup, or one nested in it, came into being and is watched."""

    id: int


Record = FileUse | Exec | Fork | Exit | Listen | CgroupArmed

# open(2) flags; the same numbers on x86_64 and aarch64 but O_DIRECTORY (asm/fcntl.h)
_AT_SYMLINK_NOFOLLOW = 0x100
_ACCESS_MODE, _O_CREAT, _O_TRUNC, _O_PATH = 0o3, 0o100, 0o1000, 0o10000000


def walked(raw: bytes) -> str:
    """A walked path: NUL-terminated names from the leaf up."""
    names = raw.split(b"\0")[:-1]
    return "/" + "/".join(paths.decode(name) for name in reversed(names))


def decode(raw: bytes, call_names: Mapping[int, tuple[str, Use]], run: int = 0) -> Record | None:
    """The fact in one record; None for a type that this version does not know. `call_names` gives a system
    call's name and what it does with a file; `run` numbers the recording (events.process). Raises struct.error
    on a record cut short, ValueError on an origin that this version does not know."""
    kind, pid, _, origin, flags, _ = _HEADER.unpack_from(raw)
    pid = process(run, pid)
    if kind == RECORD_FILE:
        return _file(raw, pid, Origin(origin), flags, call_names)
    if kind == RECORD_EXEC:
        return _exec(raw, pid, Origin(origin), flags, run)
    if kind == RECORD_FORK:
        return Fork(pid, process(run, _FORK.unpack_from(raw)[6]))
    if kind == RECORD_EXIT:
        return Exit(pid, _EXIT.unpack_from(raw)[6])
    if kind == RECORD_LISTEN:
        *_, family, port, _, address = _LISTEN.unpack_from(raw)
        text = str(IPv6Address(address) if family == FAMILY_INET6 else IPv4Address(address[:4]))
        return Listen(port, text, pid, Origin(origin))
    if kind == RECORD_CGROUP:
        return CgroupArmed(_CGROUP.unpack_from(raw)[6])
    return None


@dataclass(frozen=True, slots=True)
class _Named:
    """What FILE and EXEC records have in common."""

    open_flags: int
    error: int
    file_mode: int
    parent: int
    call: int
    asked: str
    base: str
    resolved: str
    args: bytes


def _named(raw: bytes, flags: int) -> _Named:
    body = _PATH.unpack_from(raw)[6:]
    _, _, open_flags, result, file_mode, parent, call, asked, base, resolved, args, _ = body
    ends = list(accumulate((asked, base, resolved, args), initial=_PATH.size))
    if ends[-1] > len(raw):
        raise error(f"record cut short: {len(raw)} of {ends[-1]} bytes")
    texts = [raw[start:end] for start, end in pairwise(ends)]
    return _Named(
        open_flags=open_flags,
        error=-result,
        file_mode=file_mode,
        parent=parent,
        call=call,
        asked=paths.decode(texts[0]),
        base=walked(texts[1]) if flags & FLAG_BASED else "",
        resolved=walked(texts[2]) if flags & FLAG_OPENED else "",
        args=texts[3],
    )


def _file(
    raw: bytes, pid: int, origin: Origin, flags: int, call_names: Mapping[int, tuple[str, Use]]
) -> FileUse:
    seen = _named(raw, flags)
    name, use = call_names.get(seen.call, (str(seen.call), Use.STAT))
    if use is Use.READ:
        use = _use_of_open(seen.open_flags, seen.file_mode)
    elif use is Use.STAT and seen.open_flags & _AT_SYMLINK_NOFOLLOW:
        use = Use.LINK
    opening = use in (Use.READ, Use.WRITE, Use.LIST)
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
    )


def _use_of_open(open_flags: int, file_mode: int) -> Use:
    if open_flags & _O_PATH:
        return Use.STAT
    if open_flags & _ACCESS_MODE or open_flags & (_O_CREAT | _O_TRUNC):
        return Use.WRITE
    return Use.LIST if stat.S_ISDIR(file_mode) else Use.READ


def _exec(raw: bytes, pid: int, origin: Origin, flags: int, run: int) -> Exec:
    seen = _named(raw, flags)
    argv = tuple(paths.decode(arg) for arg in seen.args.split(b"\0")[:-1])
    foreign = bool(flags & FLAG_FOREIGN)
    parent = process(run, seen.parent)
    return Exec(seen.asked, seen.base, seen.resolved, pid, parent, origin, foreign, argv)
