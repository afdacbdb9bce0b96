"""The header of one entry in a tar, in the PAX format (pax(1), POSIX.1-2017): a "ustar" block, and before that
block extended records for the values that do not fit into it.

The header is not written by tarfile, which takes text where a file system has bytes: a name that is not UTF-8,
an extended attribute of any content.
"""

from collections.abc import Mapping

from slimtrace.facts import paths
from slimtrace.facts.tree import Entry, Kind

BLOCK = 512
# Bytes of one entry's extended records: the engines' reader refuses more than 1 MiB (Go's archive/tar
# reader.go, maxSpecialFileSize).
RECORDS_LIMIT = 1 << 20
_TYPES = {
    Kind.FILE: b"0",
    Kind.LINK: b"2",
    Kind.CHAR: b"3",
    Kind.BLOCK: b"4",
    Kind.DIR: b"5",
    Kind.FIFO: b"6",
}
_HARDLINK, _EXTENDED = b"1", b"x"
_EXTENDED_NAME = b"././@PaxHeader"
_OCTAL7, _OCTAL11 = 0o7777777, 0o77777777777  # the largest numbers of the short fields and of the long ones


def header(entry: Entry, hardlink_to: str, xattrs: Mapping[str, bytes]) -> bytes:
    """The header blocks of `entry`. With `hardlink_to`, the path of an earlier entry, `entry` is a hardlink to
    that path. A hardlink repeats the xattrs, since an engine that unpacks it sets the owner once more, and
    chown(2) clears file capabilities. Every name in `xattrs` must be one that `can_carry_xattr` accepts."""
    name = (_relative(entry.path) or b".") + (b"/" if entry.kind is Kind.DIR else b"")
    link = _relative(hardlink_to) if hardlink_to else paths.encode(entry.target)
    size = entry.size if entry.kind is Kind.FILE and not hardlink_to else 0
    seconds, part = divmod(entry.mtime_ns, 10**9)
    records: dict[bytes, bytes] = {
        b"SCHILY.xattr." + paths.encode(key): value for key, value in sorted(xattrs.items())
    }
    if len(name) > 100 or not name.isascii():
        records[b"path"] = name
    if len(link) > 100 or not link.isascii():
        records[b"linkpath"] = link
    if entry.uid > _OCTAL7:
        records[b"uid"] = b"%d" % entry.uid
    if entry.gid > _OCTAL7:
        records[b"gid"] = b"%d" % entry.gid
    if size > _OCTAL11:
        records[b"size"] = b"%d" % size
    if part or not 0 <= seconds <= _OCTAL11:
        records[b"mtime"] = decimal(entry.mtime_ns).encode()
    block = _block(
        name=name[:100],
        mode=entry.mode,
        uid=entry.uid if entry.uid <= _OCTAL7 else 0,
        gid=entry.gid if entry.gid <= _OCTAL7 else 0,
        size=size if size <= _OCTAL11 else 0,
        seconds=min(max(seconds, 0), _OCTAL11),
        kind=_HARDLINK if hardlink_to else _TYPES[entry.kind],
        link=link[:100],
        device=(entry.major, entry.minor),
    )
    if not records:
        return block
    body = b"".join(_record(key, value) for key, value in records.items())
    before = _block(name=_EXTENDED_NAME, size=len(body), kind=_EXTENDED)
    return before + body + bytes(-len(body) % BLOCK) + block


def can_carry_xattr(name: str, value: bytes) -> bool:
    """Whether an extended attribute can be written: a record's key ends at its first ``=``, and a record with
    an empty value deletes the attribute (pax(1), "pax Extended Header")."""
    return "=" not in name and bool(value)


def decimal(nanoseconds: int) -> str:
    """The decimal seconds of a PAX record, without zeros at the end."""
    sign = "-" if nanoseconds < 0 else ""
    whole, part = divmod(abs(nanoseconds), 10**9)
    return f"{sign}{whole}.{part:09}".rstrip("0").rstrip(".")


def _relative(path: str) -> bytes:
    return paths.encode(path.lstrip("/"))


def _record(key: bytes, value: bytes) -> bytes:
    """``LENGTH KEY=VALUE\\n``, where the length counts its own digits too."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) > len(str(rest)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _block(
    name: bytes,
    size: int,
    kind: bytes,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    seconds: int = 0,
    link: bytes = b"",
    device: tuple[int, int] = (0, 0),
) -> bytes:
    block = b"%-100b%07o\0%07o\0%07o\0%011o\0%011o\0        %b%b" % (
        name.ljust(100, b"\0"), mode, uid, gid, size, seconds, kind, link.ljust(100, b"\0"),
    )  # fmt: skip
    block += b"ustar\00000%b%07o\0%07o\0" % (bytes(64), *device)
    block = block.ljust(BLOCK, b"\0")
    # The checksum: the sum of all bytes, with the checksum field itself taken as spaces.
    return b"%b%06o\0 %b" % (block[:148], sum(block), block[156:])


__all__ = ["BLOCK", "RECORDS_LIMIT", "can_carry_xattr", "decimal", "header"]
