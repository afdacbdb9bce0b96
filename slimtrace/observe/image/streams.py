"""Streams that are read forwards and never kept: the pieces of a download, an archive in it, what is packed in
that. Memory is bounded by the piece, whatever the stream says of itself.
"""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from slimtrace.errors import SlimtraceError
from slimtrace.facts.formats.tar import BLOCK, EXTENSION_LIMIT, Malformed, Member, header, member, records

PIECE = 1 << 20
MAGIC_BYTES = 6
_WINDOW = 1 << 27  # bytes that zstd and xz may look back; what zstd itself allows without asking (--long=27)


class Forward:
    """The pieces of a stream, read in the amounts that are asked for."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._piece = b""
        self._at = 0
        self.offset = 0  # bytes read so far

    def _next(self) -> bytes:
        """The next piece that holds something; empty at the end."""
        return next((piece for piece in self._pieces if piece), b"")

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, which stay to be read; less at the end of the stream."""
        while len(self._piece) - self._at < count and (piece := self._next()):
            self._piece = self._piece[self._at :] + piece
            self._at = 0
        return self._piece[self._at : self._at + count]

    def rest(self) -> Iterator[bytes]:
        """All that is left, in pieces as they come."""
        while piece := self._piece[self._at :] or self._next():
            self._piece, self._at = b"", 0
            self.offset += len(piece)
            yield piece

    def take(self, count: int) -> bytes:
        """The next `count` bytes, few enough to be held. Raises Malformed where the stream ends before."""
        found = self.peek(count)
        if len(found) < count:
            raise Malformed("the stream is cut off")
        self._at += count
        self.offset += count
        return found

    def chunks(self, count: int) -> Iterator[memoryview]:
        """The next `count` bytes in pieces as they come. Raises Malformed where the stream ends before."""
        while count:
            if self._at == len(self._piece):
                self._piece, self._at = self._next(), 0
                if not self._piece:
                    raise Malformed("the stream is cut off")
            most = min(count, len(self._piece) - self._at)
            view = memoryview(self._piece)[self._at : self._at + most]
            self._at += most
            self.offset += most
            count -= most
            yield view

    def skip(self, count: int) -> None:
        """Pass over `count` bytes. Raises Malformed where the stream ends before."""
        for _ in self.chunks(count):
            pass


def members(source: Forward) -> Iterator[Member]:
    """The members of the tar archive that `source` begins with. Between two of them the content of the first
    may be read from `source`, as much of it as is wanted. Raises Malformed."""
    extended: dict[str, bytes] = {}
    everywhere: dict[str, bytes] = {}
    long_name = long_link = b""
    while True:
        block = source.peek(BLOCK)
        head = header(source.take(BLOCK)) if block else None
        if head is None:  # the end, or an archive that ends without saying so
            return
        if head.type in "xgLKX":
            if head.size > EXTENSION_LIMIT:
                raise Malformed(f"a header claims to be {head.size} bytes long")
            data = source.take(head.size)
            source.skip(-head.size % BLOCK)
            if head.type == "g":
                everywhere |= records(data)
            elif head.type == "L":
                long_name = data.partition(b"\0")[0]
            elif head.type == "K":
                long_link = data.partition(b"\0")[0]
            else:
                extended = records(data)
            continue
        found = member(head, {**everywhere, **extended}, long_name, long_link)
        more = head.more
        while more:  # the map of an old GNU sparse file goes on
            more = source.take(BLOCK)[504] != 0
        end = source.offset + found.stored + -found.stored % BLOCK
        yield found
        source.skip(end - source.offset)
        extended, long_name, long_link = {}, b"", b""


def unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """What `pieces` hold, uncompressed where they are gzip (RFC 1952), zstd (RFC 8878), bzip2 or xz; what is
    none of these comes as it is. Raises Malformed, and SlimtraceError where nothing here reads zstd."""
    source = Forward(pieces)
    head = source.peek(MAGIC_BYTES)
    if head.startswith(_ZSTD):
        return _unzstd(source)
    for magic, make in _UNPACKERS.items():
        if head.startswith(magic):
            return _unpack(source, make)
    return source.rest()


def is_packed(head: bytes) -> bool:
    """Whether a stream that begins with these MAGIC_BYTES is one that `unpacked` unpacks."""
    return head.startswith((_ZSTD, *_UNPACKERS))


class _Gunzip:
    """zlib's object with the manners of bz2's and lzma's."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._full = False  # there was no room for all of it: more comes without more data

    def decompress(self, data: bytes, most: int) -> bytes:
        found = self._inner.decompress(self._inner.unconsumed_tail + data, most)
        self._full = len(found) == most
        return found

    @property
    def needs_input(self) -> bool:
        return not self._full and not self._inner.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


_ZSTD = b"\x28\xb5\x2f\xfd"
_UNPACKERS: Mapping[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": _Gunzip,
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": partial(lzma.LZMADecompressor, memlimit=_WINDOW),
}


def _unpack(source: Forward, make: Callable[[], Any]) -> Iterator[bytes]:
    unpacker = make()
    begun = False
    try:
        for data in source.rest():
            while data or not unpacker.needs_input:
                begun = True
                if found := unpacker.decompress(data, PIECE):
                    yield found
                data = b""
                if unpacker.eof:  # another member may follow; zeros behind the last are padding
                    data = unpacker.unused_data.lstrip(b"\0")
                    unpacker, begun = make(), False
    except (zlib.error, lzma.LZMAError, OSError) as error:
        raise Malformed(f"packed data: {error}") from error
    if begun:
        raise Malformed("the packed stream is cut off")


class _Readable(io.RawIOBase):
    """The stream as a file, of which zstandard only reads."""

    def __init__(self, source: Forward) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        found = self._source.take(len(self._source.peek(len(buffer))))
        buffer[: len(found)] = found
        return len(found)


def _unzstd(source: Forward) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise SlimtraceError(
            "cannot read the image's layers: they are packed with zstd", "pip install zstandard"
        ) from None
    unpacker = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    try:
        with unpacker.stream_reader(io.BufferedReader(_Readable(source)), read_across_frames=True) as stream:
            while piece := stream.read(PIECE):
                yield piece
    except zstandard.ZstdError as error:
        raise Malformed(f"zstd: {error}") from error


__all__ = ["MAGIC_BYTES", "Forward", "is_packed", "members", "unpacked"]
