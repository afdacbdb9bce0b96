"""The headers of a tar stream, as far as an image's layers need them: POSIX ustar and pax (pax(1)), GNU long
names and sparse files (GNU tar manual, "Basic Tar Format"), numbers in base 256.

Nothing here trusts the stream: what is no header, or asks for too much, is Malformed.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from slimtrace.facts import paths

BLOCK = 512
EXTENSION_LIMIT = 1 << 20  # bytes of a pax header or a long name: an extended attribute has at most 64 KiB
PATH_LIMIT = 1 << 14  # bytes; PATH_MAX is 4096

_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s")


class Malformed(ValueError):
    """A stream that is no tar archive, or one that no honest program writes."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an archive. `path` and `link` are as they were written. `type` is the type flag, of which
    ``0`` stands for all that mean a regular file. `stored` is the number of bytes that follow in the stream,
    `size` the file's."""

    path: str
    type: str
    mode: int
    uid: int
    gid: int
    size: int
    stored: int
    link: str
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Header:
    """A header block by itself, without the pax header and long names in front of it. `more` says that old GNU
    sparse extension blocks follow; `real` is the size of such a sparse file, else -1."""

    name: bytes
    type: str
    mode: int
    uid: int
    gid: int
    size: int
    link: bytes
    real: int = -1
    more: bool = False


def header(block: bytes) -> Header | None:
    """The header in a block of BLOCK bytes; None for a block of zeros, which ends an archive."""
    if len(block) != BLOCK:
        raise Malformed("the archive is cut off")
    found = _FIELDS.unpack_from(block)
    name, mode, uid, gid, size, _, checksum, kind, link, magic, _, _, _, _, _, prefix = found
    total = sum(block) - sum(checksum) + 8 * 32
    if number(checksum) != total:
        if not block.strip(b"\0"):
            return None
        raise Malformed("what should be a header has another checksum")
    name = name.partition(b"\0")[0]
    type_ = kind.decode("latin-1")
    if magic == b"ustar\0" and prefix[0]:
        name = prefix.partition(b"\0")[0] + b"/" + name
    real, more = -1, False
    if type_ == "S":
        real, more, type_ = number(block[483:495]), block[482] != 0, "0"
    elif type_ in ("\0", "7"):
        type_ = "0"
    return Header(
        name,
        type_,
        number(mode) & 0o7777,
        number(uid),
        number(gid),
        number(size),
        link.partition(b"\0")[0],
        real,
        more,
    )


def number(raw: bytes) -> int:
    """A numeric field: octal digits, or base 256 where the first bit is set."""
    if raw[0] & 0x80:
        if raw[0] != 0x80:
            raise Malformed("a number is negative, or beyond all measure")
        value = int.from_bytes(raw[1:])
        if value >= 1 << 63:
            raise Malformed("a number is beyond all measure")
        return value
    digits = raw.partition(b"\0")[0].strip(b" ")
    if not digits:
        return 0
    if digits.strip(b"01234567"):
        raise Malformed("a number is no number")
    return int(digits, 8)


def records(data: bytes) -> dict[str, bytes]:
    """The keywords of a pax header: each ``LENGTH KEY=VALUE`` and a newline."""
    found: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 9)
        digits = data[at:space] if space > at else b""
        if not digits.isdigit():
            raise Malformed("a pax header has no length")
        end = at + int(digits)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end <= space or end > len(data) or not equals or data[end - 1 : end] != b"\n":
            raise Malformed("a pax header's record has another length than it says")
        found[paths.decode(key)] = value
        at = end
    return found


def member(head: Header, extended: Mapping[str, bytes], long_name: bytes, long_link: bytes) -> Member:
    """The member of a header and of what stood before it: the pax keywords and GNU's long names."""
    name = extended.get("GNU.sparse.name") or extended.get("path") or long_name or head.name
    link = extended.get("linkpath") or long_link or head.link
    if len(name) > PATH_LIMIT or len(link) > PATH_LIMIT:
        raise Malformed(f"a path is longer than {PATH_LIMIT} bytes")
    # Before POSIX, a directory was a file whose name ends in a slash: the whole name, as a short one is cut.
    type_ = "5" if head.type == "0" and name.endswith(b"/") else head.type
    stored = decimal(extended, "size", head.size)
    # Links and devices have no content, whatever their size says (pax(1)).
    if type_ in "123456":
        stored = 0
    real = max(head.real, decimal(extended, "GNU.sparse.realsize", decimal(extended, "GNU.sparse.size", -1)))
    prefix = "SCHILY.xattr."
    return Member(
        path=paths.decode(name),
        type=type_,
        mode=head.mode,
        uid=decimal(extended, "uid", head.uid),
        gid=decimal(extended, "gid", head.gid),
        size=stored if real < 0 else real,
        stored=stored,
        link=paths.decode(link),
        xattrs={key.removeprefix(prefix): value for key, value in extended.items() if key.startswith(prefix)}
        if extended
        else {},
    )


def decimal(extended: Mapping[str, bytes], key: str, default: int) -> int:
    """The number of a pax keyword, `default` where the header has none. Raises Malformed."""
    value = extended.get(key)
    if value is None:
        return default
    if not value.isdigit() or len(value) > 19:
        raise Malformed(f"the pax keyword {key} is no number")
    return int(value)


__all__ = ["BLOCK", "EXTENSION_LIMIT", "Header", "Malformed", "Member", "header", "member", "records"]
