"""What a jar (or war, or any zip) names: its manifest's class path, services, and what is packed in it.

Kinds of mention (`line` is always 0):

    class-path  an element of the manifest's Class-Path or Boot-Class-Path, as it stands there (a relative URL)
    service     an interface that META-INF/services has providers for
    jar         a jar inside (BOOT-INF/lib/x.jar)
    native      a library inside (x.so)

Sources: PKWARE APPNOTE.TXT 4.3 (the records), the JAR File Specification (manifest, services). Only the end of
the archive, its central directory and the manifest are read; the central directory in pieces, so that a million
entries cost time and no memory. An archive in several parts, an encrypted or a ZIP64 manifest are passed over.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from slimtrace.facts.mentions import Mention

END = b"PK\x05\x06"
TAIL = (1 << 16) + 22  # bytes: the end record and the longest comment after it
MAX_DIRECTORY = 1 << 26  # bytes of a central directory
MAX_MANIFEST = 1 << 20  # bytes, unpacked: of an entry that says more the rest is left
MAX_FOUND = 10_000
MANIFEST = b"META-INF/MANIFEST.MF"
_SERVICES = b"META-INF/services/"
_ENTRY = struct.Struct("<4s4B4H3I5H2I")
_NAME = 12  # the fields of _ENTRY that say how long the name, the extra field and the comment are
_LOCAL = struct.Struct("<4s5H3I2H")
_CLASS_PATH = re.compile(r"^(?:Boot-)?Class-Path: *(.*)$", re.MULTILINE | re.IGNORECASE)


def mentions(stream: BinaryIO) -> tuple[Mention, ...]:
    """What the archive in `stream` names, sorted; empty for what is none."""
    try:
        return tuple(sorted(set(_mentions(stream))))
    except (struct.error, zlib.error, ValueError, OverflowError):
        return ()


def _mentions(stream: BinaryIO) -> Iterator[Mention]:
    size = stream.seek(0, 2)
    stream.seek(max(0, size - TAIL))
    tail = stream.read(TAIL)
    at = tail.rfind(END)
    if at < 0:
        return
    length, offset = struct.unpack_from("<II", tail, at + 12)
    begin = size - len(tail) + at - length
    if begin < 0 or length > MAX_DIRECTORY:
        return
    shift = begin - offset  # what was put before the archive: a launcher script
    manifest = -1
    left = MAX_FOUND
    for name, where in _entries(stream, begin, length):
        if name == MANIFEST:
            manifest = where + shift
        elif left > 0 and (found := _of_name(name)):
            left -= 1
            yield found
    if manifest >= 0:
        for element in _CLASS_PATH.findall(_manifest(stream, manifest)):
            yield from (Mention("class-path", word) for word in element.split()[:MAX_FOUND])


def _entries(stream: BinaryIO, begin: int, length: int) -> Iterator[tuple[bytes, int]]:
    """Name and offset of each entry of the central directory."""
    stream.seek(begin)
    while length >= _ENTRY.size:
        data = stream.read(_ENTRY.size)
        if len(data) < _ENTRY.size or not data.startswith(b"PK\x01\x02"):
            return
        head = _ENTRY.unpack(data)
        name, extra, comment = head[_NAME : _NAME + 3]
        yield stream.read(name), head[-1]
        if extra or comment:
            stream.seek(extra + comment, 1)
        length -= _ENTRY.size + name + extra + comment


def _of_name(name: bytes) -> Mention | None:
    text = name.decode("utf-8", "surrogateescape")
    if name.startswith(_SERVICES) and name.count(b"/") == 2 and len(name) > len(_SERVICES):
        return Mention("service", text[len(_SERVICES) :])
    if name.endswith(b".jar"):
        return Mention("jar", text)
    return Mention("native", text) if name.endswith(b".so") else None


def _manifest(stream: BinaryIO, where: int) -> str:
    """The text of the entry at `where`, its continued lines (those that begin with a blank) joined."""
    stream.seek(where)
    head = _LOCAL.unpack(stream.read(_LOCAL.size))
    if head[0] != b"PK\x03\x04":
        return ""
    stream.seek(head[-2] + head[-1], 1)
    if head[3] == 8:
        # The packed size may stand only behind the data: the stream of deflate knows its own end.
        text = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(MAX_MANIFEST), MAX_MANIFEST)
    elif head[3] == 0:
        text = stream.read(min(head[7], MAX_MANIFEST))
    else:
        return ""
    lines = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n ", b"")
    return lines.decode("utf-8", "surrogateescape")
