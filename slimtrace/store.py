"""A Capture as a folder, and back.

    capture.json       the schema number, then the image
    tree.jsonl.gz      one entry of the file tree a line
    trace.json.gz      what happened
    contents.json.gz   what the files said when they were asked

The same capture gives the same bytes. Paths that are not UTF-8 are kept as JSON escapes of lone surrogates.
A folder may come from anyone: it is read as plain data, in bounded amounts, and checked against the types.
"""

import gzip
import json
import os
import stat
import zlib
from pathlib import Path
from typing import Any

from slimtrace.codec import Malformed, decode, encode
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts import paths
from slimtrace.facts.capture import Answers, Capture
from slimtrace.facts.events import Trace
from slimtrace.facts.image import Image
from slimtrace.facts.tree import Entry, FileTree, Kind

SCHEMA = 3
FILES = ("capture.json", "tree.jsonl.gz", "trace.json.gz", "contents.json.gz")
LIMIT = 1 << 28  # bytes of one file, unpacked: about two million tree entries


def pack(capture: Capture) -> dict[str, bytes]:
    """The capture's files by name. Its contents must be Answers, or offer them as ``answers()``."""
    contents = capture.contents
    answers = contents if isinstance(contents, Answers) else getattr(contents, "answers", Answers)()
    head = {"schema": SCHEMA, "image": encode(capture.image)}
    tree = "".join(f"{_line(encode(entry))}\n" for entry in capture.tree)
    return {
        "capture.json": (json.dumps(head, indent=1) + "\n").encode(),
        "tree.jsonl.gz": _gzip(tree),
        "trace.json.gz": _gzip(_line(encode(capture.trace))),
        "contents.json.gz": _gzip(_line(encode(answers))),
    }


def save(capture: Capture, folder: Path) -> None:
    """Write the capture into `folder`, made if need be and readable by everyone. Raises SlimtraceError."""
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
    """The capture that `save` has written. Raises SlimtraceError (BAD_INPUT) for anything else, and a hint
    to upgrade for the schema of a later slimtrace."""
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
        entries = [decode(Entry, json.loads(line)) for line in _gunzip(folder / "tree.jsonl.gz").splitlines()]
        trace = decode(Trace, json.loads(_gunzip(folder / "trace.json.gz")))
        answers = decode(Answers, json.loads(_gunzip(folder / "contents.json.gz")))
        return Capture(image, _tree(entries), trace, answers)
    except OSError as error:
        raise SlimtraceError(f"cannot read the capture {where}: {error.strerror or error}") from error
    except (Malformed, ValueError, EOFError, RecursionError, MemoryError, zlib.error) as error:
        raise SlimtraceError(
            f"cannot read the capture {where}: {paths.printable(str(error))[:200]}", "record it again"
        ) from error


def _tree(entries: list[Entry]) -> FileTree:
    """The tree, if it is one: clean absolute paths, each once, and every parent a directory."""
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


def _gzip(text: str) -> bytes:
    return gzip.compress(text.encode("ascii"), compresslevel=6, mtime=0)


def _read(path: Path) -> bytes:
    with _opened(path) as file:
        return _bounded(file, path.name)


def _gunzip(path: Path) -> bytes:
    with _opened(path) as file, gzip.GzipFile(fileobj=file) as unpacked:
        return _bounded(unpacked, path.name)


def _opened(path: Path) -> Any:
    """A regular file for reading: a fifo in a stranger's folder must not make us wait for ever."""
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
