"""Streams that are read forwards and never kept: the pieces of a download, an archive in it, what is packed in
that. Memory is bounded by the piece, whatever the stream says of itself.
"""

import io
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from slimtrace.errors import SlimtraceError
from slimtrace.facts.tar import BLOCK, EXTENSION_LIMIT, Malformed, Member, header, member, records

PIECE = 1 << 20
_WINDOW = 1 << 27  # bytes that zstd may look back; what its own tool allows without asking (--long=27)


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
    """What `pieces` hold, uncompressed where they are gzip (RFC 1952) or zstd (RFC 8878); what is neither comes
    as it is. Raises Malformed, and SlimtraceError where there is nothing here that reads zstd."""
    source = Forward(pieces)
    magic = source.peek(4)
    if magic[:2] == b"\x1f\x8b":
        return _gunzip(source)
    if magic == b"\x28\xb5\x2f\xfd":
        return _unzstd(source)
    return source.rest()


def _gunzip(source: Forward) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        for piece in source.rest():
            while piece:
                yield unpacker.decompress(piece, PIECE)
                piece = unpacker.unconsumed_tail
                if unpacker.eof:  # another member may follow; zeros behind the last are padding
                    piece = unpacker.unused_data.lstrip(b"\0")
                    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        yield unpacker.flush()
    except zlib.error as error:
        raise Malformed(f"gzip: {error}") from error


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


__all__ = ["Forward", "members", "unpacked"]
