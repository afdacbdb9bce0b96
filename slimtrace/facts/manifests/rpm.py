"""rpm's SQLite database (rpm lib/backend/sqlite.c): the table Packages has a header blob a package, by number;
every other table is an index that names the numbers.

The header blob (rpm lib/header.c, https://rpm-software-management.github.io/rpm/manual/format_header.html): two
big-endian numbers, of entries and of data bytes; entries of 16 bytes (tag, type, offset, count); the data. Tags
are of rpm's rpmtag.h.

SQLite gets the file as bytes and nothing else: the schema is not trusted
(https://www.sqlite.org/security.html), and a handler ends a query that takes too many steps.
"""

import contextlib
import sqlite3
import struct
from collections.abc import Callable, Iterator
from itertools import islice
from typing import BinaryIO

from slimtrace.facts import paths
from slimtrace.facts.manifests.text import MAX_FILES
from slimtrace.facts.packages import Manifest

DATABASE_LIMIT = 1 << 28  # bytes
BLOB_LIMIT = 1 << 25  # bytes of one header (rpm's own limit is 256 MiB; a kernel's is 2 MiB)
STEPS = 50_000_000  # of SQLite's machine; reading 10,000 packages takes a million
MAX_ENTRIES = 4096  # of one header; rpm knows some 350 tags

_NAME, _VERSION, _RELEASE, _EPOCH, _LICENSE, _ARCH, _SOURCE = 1000, 1001, 1002, 1003, 1014, 1022, 1044
_DIRECTORIES, _BASENAMES, _DIRNAMES, _OLD_FILENAMES = 1116, 1117, 1118, 1027
_INT32, _STRING, _STRINGS, _TRANSLATED = 4, 6, 8, 9
_SIGNING_KEY = "gpg-pubkey"  # a signing key, kept as if it were a package
# SQLite's messages may quote a broken database's own bytes, which Python takes for UTF-8.
_BROKEN = (sqlite3.Error, UnicodeDecodeError)
_WAL = b"\x02\x02"  # at byte 18: SQLite would look for a log beside the file (fileformat2.html, 1.3)


def installed(stream: BinaryIO) -> tuple[Manifest, ...]:
    """The packages that are installed, by number; `key` is the number. Nothing for what is no such database."""
    data = stream.read(DATABASE_LIMIT + 1)
    found = []
    left = MAX_FILES
    with contextlib.suppress(*_BROKEN), _opened(data) as database:
        for number, blob in database.execute("SELECT hnum, blob FROM Packages ORDER BY hnum"):
            plain = isinstance(number, int) and isinstance(blob, bytes)
            if plain and (package := _package(number, blob, left)):
                left -= len(package.files)
                found.append(package)
    return tuple(found)


def cut(data: bytes, keep: Callable[[str], bool]) -> bytes | None:
    """The database without the rows of the packages whose `key` is not to be kept; None where it cannot be
    read. The same bytes for the same bytes."""
    with contextlib.suppress(*_BROKEN), _opened(data) as database:
        numbers = [number for (number,) in database.execute("SELECT hnum FROM Packages")]
        gone = [(number,) for number in numbers if not keep(str(number))]
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        for (name,) in names:
            quoted = '"' + name.replace('"', '""') + '"'
            columns = {row[1] for row in database.execute(f"PRAGMA table_info({quoted})")}
            if "hnum" in columns:
                database.executemany(f"DELETE FROM {quoted} WHERE hnum = ?", gone)
        database.commit()
        database.execute("VACUUM")
        # The version of SQLite that wrote it, the change counter and the journal mode stay as they were.
        made = database.serialize()
        return made[:18] + data[18:20] + made[20:24] + data[24:28] + made[28:92] + data[92:100] + made[100:]
    return None


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[sqlite3.Connection]:
    """The database, opened in memory. Raises one of _BROKEN for what is no database, or has views, triggers or
    virtual tables."""
    if not 100 < len(data) <= DATABASE_LIMIT:
        raise sqlite3.DatabaseError("no database, or too large")
    if data[18:20] == _WAL:
        data = data[:18] + b"\x01\x01" + data[20:]
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        left = [STEPS // 1000]

        def is_step_limit_reached() -> int:
            left[0] -= 1
            return left[0] < 0

        database.set_progress_handler(is_step_limit_reached, 1000)
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, BLOB_LIMIT)
        database.text_factory = paths.decode
        database.deserialize(data)
        database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 1)  # VACUUM needs one
        database.execute("PRAGMA trusted_schema = OFF")
        database.execute("PRAGMA cell_size_check = ON")
        odd = "SELECT 1 FROM sqlite_master WHERE type NOT IN ('table', 'index') OR sql LIKE 'CREATE VIRTUAL%'"
        if database.execute(odd).fetchone():
            raise sqlite3.DatabaseError("views, triggers or virtual tables")
        yield database


def _package(number: int, blob: bytes, most: int) -> Manifest | None:
    header = _header(blob)
    name = _string(header, _NAME)
    if not name or name == _SIGNING_KEY:
        return None
    epoch = _numbers(header, _EPOCH)
    version = f"{_string(header, _VERSION)}-{_string(header, _RELEASE)}"
    # The source's file name is NAME-VERSION-RELEASE.src.rpm.
    source = _string(header, _SOURCE).removesuffix(".rpm").rpartition(".")[0].rsplit("-", 2)
    return Manifest(
        name=name,
        version=f"{epoch[0]}:{version}" if epoch else version,
        architecture=_string(header, _ARCH),
        licenses=tuple(filter(None, (_string(header, _LICENSE),))),
        source=source[0] if len(source) == 3 and source[0] != name else "",
        source_version="-".join(source[1:]) if len(source) == 3 and source[0] != name else "",
        files=tuple(islice(_files(header, most), most)),
        key=str(number),
    )


_Header = dict[int, tuple[int, int, bytes]]


def _header(blob: bytes) -> _Header:
    """The entries by tag, each its type, its count, and the data from its offset on."""
    if len(blob) < 8:
        return {}
    entries, size = struct.unpack_from(">II", blob)
    start = 8 + 16 * entries
    if entries > MAX_ENTRIES or start + size > len(blob):
        return {}
    found: _Header = {}
    wanted = (
        _NAME, _VERSION, _RELEASE, _EPOCH, _LICENSE, _ARCH, _SOURCE, _DIRECTORIES, _BASENAMES, _DIRNAMES,
        _OLD_FILENAMES,
    )  # fmt: skip
    for at in range(8, start, 16):
        tag, kind, offset, count = struct.unpack_from(">IIII", blob, at)
        if tag in wanted and offset < size:
            found.setdefault(tag, (kind, count, blob[start + offset : start + size]))
    return found


def _string(header: _Header, tag: int) -> str:
    return next(iter(_strings(header, tag, 1)), "")


def _strings(header: _Header, tag: int, most: int) -> list[str]:
    kind, count, data = header.get(tag, (0, 0, b""))
    if kind not in (_STRING, _STRINGS, _TRANSLATED):
        return []
    count = min(count if kind != _STRING else 1, len(data), most)
    return [paths.decode(piece) for piece in data.split(b"\0", count)[:count]]


def _numbers(header: _Header, tag: int) -> tuple[int, ...]:
    kind, count, data = header.get(tag, (0, 0, b""))
    count = min(count, len(data) // 4)
    return struct.unpack_from(f">{count}I", data) if kind == _INT32 else ()


def _files(header: _Header, most: int) -> Iterator[str]:
    directories = _strings(header, _DIRNAMES, most)
    for at, name in zip(_numbers(header, _DIRECTORIES), _strings(header, _BASENAMES, most), strict=False):
        if at < len(directories):
            yield paths.clean(f"{directories[at]}/{name}")
    yield from map(paths.clean, _strings(header, _OLD_FILENAMES, most))
