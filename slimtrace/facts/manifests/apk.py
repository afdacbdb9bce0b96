"""Alpine's ``installed`` database (https://wiki.alpinelinux.org/wiki/Apk_spec, apk-tools src/database.c).

A record a package, with an empty line behind it; each line a letter, a colon, a value: P name, V version, A
architecture, L license, o the aport it was built from. F is a directory without the first slash, R a file in
it; M behind F, and a and Z behind R, tell more of them.
"""

from collections.abc import Callable, Iterator
from typing import BinaryIO

from slimtrace.facts import paths
from slimtrace.facts.manifests.text import TEXT_LIMIT, text
from slimtrace.facts.packages import Manifest


def installed(stream: BinaryIO) -> tuple[Manifest, ...]:
    """The packages that are installed; `key` is the name. `files` has the directories too."""
    return tuple(found for record in _records(text(stream, TEXT_LIMIT)) if (found := _package(record)).name)


def cut(data: bytes, keep: Callable[[str], bool], keep_file: Callable[[str], bool]) -> bytes:
    """The database with the packages whose `key` is to be kept, and of their files those to be kept."""
    found = []
    for record in _records(paths.decode(data)):
        if keep(_package(record).key):
            found.append("".join(f"{line}\n" for line in _cut(record, keep_file)) + "\n")
    return paths.encode("".join(found))


def _records(content: str) -> Iterator[list[str]]:
    return (record.strip("\n").split("\n") for record in content.split("\n\n") if record.strip("\n"))


def _package(record: list[str]) -> Manifest:
    told: dict[str, str] = {}
    files = []
    directory = ""
    for line in record:
        letter, value = line[:2], line[2:]
        if letter == "F:":
            directory = paths.clean(value)
            files.append(directory)
        elif letter == "R:":
            files.append(paths.join(directory, value))
        else:
            told.setdefault(letter, value)
    name, source = told.get("P:", ""), told.get("o:", "")
    return Manifest(
        name=name,
        version=told.get("V:", ""),
        architecture=told.get("A:", ""),
        licenses=tuple(filter(None, (told.get("L:", ""),))),
        source=source if source != name else "",
        files=tuple(files),
        key=name,
    )


def _cut(record: list[str], keep: Callable[[str], bool]) -> Iterator[str]:
    """The lines of a record without the files that are not kept, and the directories in which none is."""
    directory, wanted = "", True
    pending: list[str] = []  # a directory's lines, until one of its files comes
    for line in record:
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
