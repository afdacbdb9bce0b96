"""A Capture as a folder, and back.

    capture.json       the schema number, then the image
    tree.jsonl.gz      one entry of the file tree a line
    trace.json.gz      what happened
    contents.json.gz   the answers that decisions needed from the files' contents
    runs.json.gz       the result of each run

The same capture gives the same bytes. Bytes of paths that are not UTF-8 are kept as JSON escapes of lone
surrogates.
A folder may come from anyone: it is read as plain data, in bounded amounts, and checked against the types.
"""

import gzip
import json
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from slimtrace.codec import Malformed, decode, encode
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts import paths
from slimtrace.facts.capture import Answers, Capture
from slimtrace.facts.events import Trace
from slimtrace.facts.image import Image
from slimtrace.facts.runs import Run
from slimtrace.facts.tree import Entry, FileTree, Kind

SCHEMA = 4
FILES = ("capture.json", "tree.jsonl.gz", "trace.json.gz", "contents.json.gz", "runs.json.gz")
LIMIT = 1 << 28  # bytes of one file, unpacked: about two million tree entries
LINE_LIMIT = 1 << 17  # bytes of a tree entry: two paths of PATH_MAX, each byte an escape, and some numbers
_GZIP = 16 + zlib.MAX_WBITS  # zlib's wbits for a gzip header, which has no time and no name
_quoted = json.JSONEncoder().encode  # the JSON text of a string
_PIECE = 4096  # tree entries that are packed at a time


def pack(capture: Capture) -> dict[str, bytes]:
    """The capture's files by name. Its contents must be Answers, or offer them as ``answers()``."""
    contents = capture.contents
    answers = contents if isinstance(contents, Answers) else getattr(contents, "answers", Answers)()
    head = {"schema": SCHEMA, "image": encode(capture.image)}
    return {
        "capture.json": (json.dumps(head, indent=1) + "\n").encode(),
        "tree.jsonl.gz": _gzip(_tree_lines(capture.tree)),
        "trace.json.gz": _gzip([_line(encode(capture.trace))]),
        "contents.json.gz": _gzip([_line(encode(answers))]),
        "runs.json.gz": _gzip([_line(encode(capture.runs))]),
    }


def save(capture: Capture, folder: Path) -> None:
    """Write the capture into `folder`, which is made if need be; the files are readable by everyone. Raises
    SlimtraceError."""
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        for name, data in pack(capture).items():
            (folder / name).unlink(missing_ok=True)
            with (folder / name).open("xb") as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(data)
    except OSError as error:
        code = Exit.NO_SPACE if error.errno in (28, 122) else Exit.BAD_INPUT
        raise SlimtraceError(f"cannot write the capture {folder}: {error.strerror}", exit_code=code) from error


def load(folder: Path) -> Capture:
    """The capture that `save` has written. Raises SlimtraceError (BAD_INPUT) for anything else; for the schema
    of another slimtrace, with a hint to use that one."""
    where = paths.printable(str(folder))
    try:
        head = json.loads(_read(folder / "capture.json"))
        if not isinstance(head, dict) or "schema" not in head:
            raise Malformed("capture.json has no schema number")
        if head["schema"] != SCHEMA:
            raise SlimtraceError(
                f"cannot read the capture {where}: its schema is {paths.printable(str(head['schema']))[:20]}",
                f"this slimtrace knows schema {SCHEMA}: use the one that made the capture, or record it again",
            )
        image = decode(Image, head.get("image"))
        tree = _tree(decode(Entry, json.loads(line.decode())) for line in _lines(folder / "tree.jsonl.gz"))
        trace = decode(Trace, json.loads(_gunzip(folder / "trace.json.gz")))
        answers = decode(Answers, json.loads(_gunzip(folder / "contents.json.gz")))
        runs = decode(tuple[Run, ...], json.loads(_gunzip(folder / "runs.json.gz")))
        return Capture(image, tree, trace, answers, runs)
    except OSError as error:
        raise SlimtraceError(f"cannot read the capture {where}: {error.strerror or error}") from error
    except (Malformed, ValueError, EOFError, RecursionError, MemoryError, zlib.error) as error:
        raise SlimtraceError(
            f"cannot read the capture {where}: {paths.printable(str(error))[:200]}", "record it again"
        ) from error


def _tree(entries: Iterable[Entry]) -> FileTree:
    """The tree of the entries. Raises Malformed unless all paths are clean, absolute and distinct, and every
    parent is a directory."""
    found: dict[str, Entry] = {}
    for entry in entries:
        if entry.path in found or paths.clean(entry.path) != entry.path or "/../" in f"{entry.path}/":
            raise Malformed(f"the tree's path {entry.path!r} is not clean, or comes twice")
        found[entry.path] = entry
    if "/" not in found:
        raise Malformed("the tree has no root")
    for path in found:
        above = found.get(paths.parent(path))
        if above is None or above.kind is not Kind.DIR:
            raise Malformed(f"the tree's path {path!r} lies in no directory")
    return FileTree(found)


def _line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _tree_lines(tree: FileTree) -> Iterator[str]:
    """The text of the tree, _PIECE lines at a time: an image may have half a million."""
    entries = iter(tree)
    while some := list(islice(entries, _PIECE)):
        yield "".join(map(entry_line, some))


def entry_line(entry: Entry) -> str:
    """The line of an entry: the same as ``encode`` and ``json.dumps`` make, in a fifth of their time."""
    line = f'{{"path":{_quoted(entry.path)},"kind":"{entry.kind.value}"'
    if entry.mode != 0o644:
        line += f',"mode":{entry.mode}'
    if entry.uid:
        line += f',"uid":{entry.uid}'
    if entry.gid:
        line += f',"gid":{entry.gid}'
    if entry.size:
        line += f',"size":{entry.size}'
    if entry.mtime_ns:
        line += f',"mtime_ns":{entry.mtime_ns}'
    if entry.target:
        line += f',"target":{_quoted(entry.target)}'
    if entry.inode:
        line += f',"inode":{entry.inode}'
    if entry.major or entry.minor:
        line += f',"major":{entry.major}' if entry.major else ""
        line += f',"minor":{entry.minor}' if entry.minor else ""
    return line + "}\n"


def _gzip(pieces: Iterable[str]) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    return b"".join([*(packer.compress(piece.encode("ascii")) for piece in pieces), packer.flush()])


def _read(path: Path) -> bytes:
    with _opened(path) as file:
        return _bounded(file, path.name)


def _gunzip(path: Path) -> bytes:
    with _opened(path) as file, gzip.GzipFile(fileobj=file) as unpacked:
        return _bounded(unpacked, path.name)


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a gzipped file, one at a time. Raises Malformed for a file longer than LIMIT, or a line
    longer than LINE_LIMIT."""
    left = LIMIT
    with _opened(path) as file, gzip.GzipFile(fileobj=file) as unpacked:
        while line := unpacked.readline(LINE_LIMIT + 1):
            left -= len(line)
            if len(line) > LINE_LIMIT or left < 0:
                raise Malformed(f"{path.name}, or a line of it, is too long")
            yield line


def _opened(path: Path) -> Any:
    """A regular file for reading. Raises Malformed for another kind of file: opening a FIFO in a folder of
    unknown origin must not block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Malformed(f"{path.name} is not a file")
    return os.fdopen(descriptor, "rb")


def _bounded(file: Any, name: str) -> bytes:
    data: bytes = file.read(LIMIT + 1)
    if len(data) > LIMIT:
        raise Malformed(f"{name} is larger than {LIMIT} bytes")
    return data


__all__ = ["FILES", "SCHEMA", "load", "pack", "save"]
