"""Streams that are read forwards and never held in memory: a download in pieces, a tar archive in the download,
a compressed file in the archive. Memory is bounded by the size of a piece, whatever sizes the stream claims.
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
_WINDOW = (
    1 << 27
)  # bytes: the limit of the window (zstd) and of the memory (xz); zstd's own default (--long=27)


class ForwardReader:
    """Reads a stream that comes in pieces of any size, in the amounts that the caller asks for."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._piece = b""
        self._at = 0
        self.offset = 0  # bytes read so far

    def _next(self) -> bytes:
        """The next piece that is not empty; b"" at the end of the stream."""
        return next((piece for piece in self._pieces if piece), b"")

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, which are not consumed; fewer at the end of the stream."""
        while len(self._piece) - self._at < count and (piece := self._next()):
            self._piece = self._piece[self._at :] + piece
            self._at = 0
        return self._piece[self._at : self._at + count]

    def rest(self) -> Iterator[bytes]:
        """All bytes that are left, in pieces as they come."""
        while piece := self._piece[self._at :] or self._next():
            self._piece, self._at = b"", 0
            self.offset += len(piece)
            yield piece

    def take(self, count: int) -> bytes:
        """Read the next `count` bytes into memory. Raises Malformed where the stream ends before."""
        found = self.peek(count)
        if len(found) < count:
            raise Malformed("the stream is cut off")
        self._at += count
        self.offset += count
        return found

    def chunks(self, count: int) -> Iterator[memoryview]:
        """Read the next `count` bytes, in pieces as they come. Raises Malformed where the stream ends
        before."""
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


def read_members(source: ForwardReader) -> Iterator[Member]:
    """The members of the tar archive that `source` begins with. After a member is given, as much of its content
    as the caller wants may be read from `source`. Raises Malformed."""
    pax_records: dict[str, bytes] = {}
    global_records: dict[str, bytes] = {}
    long_name = long_link = b""
    while True:
        block = source.peek(BLOCK)
        head = header(source.take(BLOCK)) if block else None
        if head is None:  # the end-of-archive block, or an archive that ends without one
            return
        if head.type in "xgLKX":
            if head.size > EXTENSION_LIMIT:
                raise Malformed(f"a header claims to be {head.size} bytes long")
            data = source.take(head.size)
            source.skip(-head.size % BLOCK)
            if head.type == "g":
                global_records |= records(data)
            elif head.type == "L":
                long_name = data.partition(b"\0")[0]
            elif head.type == "K":
                long_link = data.partition(b"\0")[0]
            else:
                pax_records = records(data)
            continue
        found = member(head, {**global_records, **pax_records}, long_name, long_link)
        more = head.more
        while more:  # the map of an old GNU sparse file continues in further blocks
            more = source.take(BLOCK)[504] != 0
        end = source.offset + found.stored + -found.stored % BLOCK
        yield found
        source.skip(end - source.offset)
        pax_records, long_name, long_link = {}, b"", b""


def decompressed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The content of `pieces`, decompressed if they are gzip (RFC 1952), zstd (RFC 8878), bzip2 or xz; any
    other stream is given unchanged. Raises Malformed, and SlimtraceError where the module for zstd is
    missing."""
    source = ForwardReader(pieces)
    head = source.peek(MAGIC_BYTES)
    if head.startswith(_ZSTD):
        return _decompress_zstd(source)
    for magic, make in _DECOMPRESSORS.items():
        if head.startswith(magic):
            return _decompress(source, make)
    return source.rest()


def is_compressed(head: bytes) -> bool:
    """Whether `decompressed` decompresses a stream that begins with `head` (MAGIC_BYTES long)."""
    return head.startswith((_ZSTD, *_DECOMPRESSORS))


class _GzipDecompressor:
    """zlib's decompressor with the interface of bz2's and lzma's."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._output_full = False  # the last output had its full size: more may come without more input

    def decompress(self, data: bytes, most: int) -> bytes:
        found = self._inner.decompress(self._inner.unconsumed_tail + data, most)
        self._output_full = len(found) == most
        return found

    @property
    def needs_input(self) -> bool:
        return not self._output_full and not self._inner.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


_ZSTD = b"\x28\xb5\x2f\xfd"
_DECOMPRESSORS: Mapping[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": _GzipDecompressor,
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": partial(lzma.LZMADecompressor, memlimit=_WINDOW),
}


def _decompress(source: ForwardReader, make: Callable[[], Any]) -> Iterator[bytes]:
    """What `source` holds, by decompressors that `make` makes, one for each member of the stream."""
    decompressor = make()
    unfinished = False
    try:
        for data in source.rest():
            while data or not decompressor.needs_input:
                unfinished = True
                if found := decompressor.decompress(data, PIECE):
                    yield found
                data = b""
                if decompressor.eof:  # another member may follow; zeros after the last one are padding
                    data = decompressor.unused_data.lstrip(b"\0")
                    decompressor, unfinished = make(), False
    except (zlib.error, lzma.LZMAError, OSError) as error:
        raise Malformed(f"packed data: {error}") from error
    if unfinished:
        raise Malformed("the packed stream is cut off")


class _RawStream(io.RawIOBase):
    """The stream as a file object for zstandard, which only reads from it."""

    def __init__(self, source: ForwardReader) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        found = self._source.take(len(self._source.peek(len(buffer))))
        buffer[: len(found)] = found
        return len(found)


def _decompress_zstd(source: ForwardReader) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise SlimtraceError(
            "cannot read the image's layers: they are packed with zstd", "pip install zstandard"
        ) from None
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    try:
        with decompressor.stream_reader(
            io.BufferedReader(_RawStream(source)), read_across_frames=True
        ) as stream:
            while piece := stream.read(PIECE):
                yield piece
    except zstandard.ZstdError as error:
        raise Malformed(f"zstd: {error}") from error


__all__ = ["MAGIC_BYTES", "ForwardReader", "decompressed", "is_compressed", "read_members"]
