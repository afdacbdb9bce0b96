"""What a jar (or war, or any zip) names: its manifest's class path, services, and the jars and libraries in it.

Kinds of mention (`line` is always 0):

    class-path  an element of the manifest's Class-Path or Boot-Class-Path, as written (a relative URL)
    service     an interface that META-INF/services has providers for
    jar         a jar inside (BOOT-INF/lib/x.jar)
    native      a library inside (x.so)

Sources: PKWARE APPNOTE.TXT 4.3 (the records), the JAR File Specification (manifest, services). Only the end of
the archive, its central directory and the manifest are read; the central directory entry by entry, so that a
million entries cost time and no memory. Archives in several parts, and encrypted or ZIP64 manifests,
are not read.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from slimtrace.facts.mentions import Mention

END_RECORD = b"PK\x05\x06"  # the signature of the end of central directory record
MAX_END_RECORD = (1 << 16) + 22  # bytes: that record and the longest comment after it
MAX_DIRECTORY = 1 << 26  # bytes of a central directory
MAX_MANIFEST = 1 << 20  # bytes, unpacked: the rest of a longer one is not read
MAX_NAMED = 10_000  # entries that are mentions, and words of one Class-Path
MANIFEST = b"META-INF/MANIFEST.MF"
_SERVICES = b"META-INF/services/"
_CENTRAL_HEADER = struct.Struct("<4s4B4H3I5H2I")
_LENGTH_FIELDS = 12  # the first of its fields with the lengths of name, extra field and comment
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_CLASS_PATH = re.compile(r"^(?:Boot-)?Class-Path: *(.*)$", re.MULTILINE | re.IGNORECASE)


def mentions(stream: BinaryIO) -> tuple[Mention, ...]:
    """What the archive in `stream` names, sorted; empty for a file that is no archive."""
    try:
        return tuple(sorted(set(_mentions(stream))))
    except (struct.error, zlib.error, ValueError, OverflowError):
        return ()


def _mentions(stream: BinaryIO) -> Iterator[Mention]:
    size = stream.seek(0, 2)
    stream.seek(max(0, size - MAX_END_RECORD))
    tail = stream.read(MAX_END_RECORD)
    end_record = tail.rfind(END_RECORD)
    if end_record < 0:
        return
    length, directory_offset = struct.unpack_from("<II", tail, end_record + 12)
    begin = size - len(tail) + end_record - length
    if begin < 0 or length > MAX_DIRECTORY:
        return
    prepended = begin - directory_offset  # the size of what stands before the archive (a launcher script)
    manifest = -1
    names_left = MAX_NAMED
    for name, offset in _entries(stream, begin, length):
        if name == MANIFEST:
            manifest = offset + prepended
        elif names_left > 0 and (found := _of_entry(name)):
            names_left -= 1
            yield found
    if manifest >= 0:
        for element in _CLASS_PATH.findall(_manifest_text(stream, manifest)):
            yield from (Mention("class-path", word) for word in element.split()[:MAX_NAMED])


def _entries(stream: BinaryIO, begin: int, length: int) -> Iterator[tuple[bytes, int]]:
    """The name and the offset of the local header of each entry in the central directory."""
    stream.seek(begin)
    while length >= _CENTRAL_HEADER.size:
        data = stream.read(_CENTRAL_HEADER.size)
        if len(data) < _CENTRAL_HEADER.size or not data.startswith(b"PK\x01\x02"):
            return
        head = _CENTRAL_HEADER.unpack(data)
        name, extra, comment = head[_LENGTH_FIELDS : _LENGTH_FIELDS + 3]
        yield stream.read(name), head[-1]
        if extra or comment:
            stream.seek(extra + comment, 1)
        length -= _CENTRAL_HEADER.size + name + extra + comment


def _of_entry(name: bytes) -> Mention | None:
    text = name.decode("utf-8", "surrogateescape")
    if name.startswith(_SERVICES) and name.count(b"/") == 2 and len(name) > len(_SERVICES):
        return Mention("service", text[len(_SERVICES) :])
    if name.endswith(b".jar"):
        return Mention("jar", text)
    return Mention("native", text) if name.endswith(b".so") else None


def _manifest_text(stream: BinaryIO, offset: int) -> str:
    """The text of the manifest with the local header at `offset`, its continued lines (those that begin with a
    blank) joined."""
    stream.seek(offset)
    head = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    if head[0] != b"PK\x03\x04":
        return ""
    stream.seek(head[-2] + head[-1], 1)
    if head[3] == 8:
        # The packed size may be given only after the data; the deflate stream has its own end mark.
        text = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(MAX_MANIFEST), MAX_MANIFEST)
    elif head[3] == 0:
        text = stream.read(min(head[7], MAX_MANIFEST))
    else:
        return ""
    lines = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n ", b"")
    return lines.decode("utf-8", "surrogateescape")
