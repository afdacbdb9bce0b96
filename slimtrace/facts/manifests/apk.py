"""Alpine's ``installed`` database (https://wiki.alpinelinux.org/wiki/Apk_spec, apk-tools src/database.c).

A record a package, with an empty line behind it; each line a letter, a colon, a value: P name, V version, A
architecture, L license, o the aport it was built from. F is a directory without the first slash, R a file in
it; M behind F, and a and Z behind R, tell more of them.
"""

from collections.abc import Callable, Iterator
from typing import BinaryIO

from slimtrace.facts import paths
from slimtrace.facts.manifests.text import MAX_FILES, TEXT_LIMIT, lines, text
from slimtrace.facts.packages import Manifest


def installed(stream: BinaryIO) -> tuple[Manifest, ...]:
    """The packages that are installed; `key` is the name. `files` has the directories too."""
    found = []
    left = MAX_FILES
    for record in _records(text(stream, TEXT_LIMIT)):
        if (package := _package(record, left)).name:
            left -= len(package.files)
            found.append(package)
    return tuple(found)


def cut(data: bytes, keep: Callable[[str], bool], keep_file: Callable[[str], bool]) -> bytes:
    """The database with those packages alone whose `key` satisfies `keep`, and of their files those whose path
    satisfies `keep_file`."""
    found = []
    for record in _records(paths.decode(data)):
        if keep(_package(record, 0).key):
            found.append("".join(f"{line}\n" for line in _cut(record, keep_file)) + "\n")
    return paths.encode("".join(found))


def _records(content: str) -> Iterator[str]:
    return (record.strip("\n") for record in content.split("\n\n") if record.strip("\n"))


def _package(record: str, most: int) -> Manifest:
    """The package of a record, with as many as `most` of its files."""
    values: dict[str, str] = {}
    files: list[str] = []
    directory = ""
    for line in lines(record):
        letter, value = line[:2], line[2:]
        if letter == "F:":
            directory = paths.clean(value)
            path = directory
        elif letter == "R:":
            path = paths.join(directory, value)
        else:
            values.setdefault(letter, value)
            continue
        if len(files) < most:
            files.append(path)
    name, source = values.get("P:", ""), values.get("o:", "")
    return Manifest(
        name=name,
        version=values.get("V:", ""),
        architecture=values.get("A:", ""),
        licenses=tuple(filter(None, (values.get("L:", ""),))),
        source=source if source != name else "",
        files=tuple(files),
        key=name,
    )


def _cut(record: str, keep: Callable[[str], bool]) -> Iterator[str]:
    """The lines of a record without the files that are not kept, and the directories in which none is."""
    directory, wanted = "", True
    pending: list[str] = []  # a directory's lines, until one of its files comes
    for line in lines(record):
        letter, value = line[:2], line[2:]
        if letter == "F:":
            directory, pending, wanted = paths.clean(value), [line], True
        elif letter == "M:" and pending:
            pending.append(line)
        elif letter == "R:":
            wanted = keep(paths.join(directory, value))
            if wanted:
                yield from pending
                pending = []
                yield line
        elif letter not in ("a:", "Z:", "M:") or wanted:
            yield line
