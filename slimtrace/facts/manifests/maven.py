"""The Maven coordinates of a jar: META-INF/maven/GROUP/ARTIFACT/pom.properties
(https://maven.apache.org/shared/maven-archiver/, addMavenDescriptor), of itself, of what was shaded into it,
and of the jars in it (BOOT-INF/lib, WEB-INF/lib)."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from slimtrace.facts import paths
from slimtrace.facts.packages import Manifest

MAX_ENTRIES = 100_000  # names in one archive
DIRECTORY_LIMIT = 1 << 24  # bytes of an archive's central directory
POM_LIMIT = 1 << 16  # bytes of a pom.properties
INNER_LIMIT = 1 << 26  # bytes of a jar in a jar
INNER_TOTAL = 1 << 28  # bytes of all jars in a jar
_END_OF_DIRECTORY = b"PK\x05\x06"  # APPNOTE.TXT 4.3.16: 22 bytes and a comment of at most 65,535
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, RuntimeError, NotImplementedError)


def coordinates(stream: BinaryIO) -> tuple[Manifest, ...]:
    """A manifest for each pom.properties, sorted; named ``group:artifact``."""
    return tuple(sorted(set(_read(stream, INNER_TOTAL))))


def _read(stream: BinaryIO, inner: int) -> Iterator[Manifest]:
    if not _is_directory_small(stream):
        return
    try:
        with zipfile.ZipFile(stream) as archive:
            for entry in archive.infolist()[:MAX_ENTRIES]:
                name = entry.filename
                if name.startswith("META-INF/maven/") and name.endswith("/pom.properties"):
                    yield from _properties(_member(archive, entry, POM_LIMIT))
                elif inner > 0 and name.endswith((".jar", ".war")):
                    data = _member(archive, entry, min(INNER_LIMIT, inner))
                    inner -= len(data)
                    yield from _read(io.BytesIO(data), 0)
    except _BROKEN:
        return


def _is_directory_small(stream: BinaryIO) -> bool:
    """Whether the central directory is small enough to be read whole, as zipfile does."""
    size = stream.seek(0, io.SEEK_END)
    start = stream.seek(max(0, size - (1 << 16) - 22))
    tail = stream.read(size - start)
    at = tail.rfind(_END_OF_DIRECTORY)
    if at < 0 or len(tail) - at < 22:
        return False
    claimed = int.from_bytes(tail[at + 12 : at + 16], "little")
    # 0xffffffff stands for the size in a ZIP64 record: no jar has a directory of 4 GB, or needs one.
    return claimed <= min(DIRECTORY_LIMIT, size)


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> bytes:
    """The content of an entry; nothing where it is larger than `limit`, or broken."""
    try:
        with archive.open(entry) as file:
            data = file.read(limit + 1)
    except _BROKEN:
        return b""
    return data if len(data) <= limit else b""


def _properties(data: bytes) -> Iterator[Manifest]:
    lines = (line.partition("=") for line in paths.decode(data).splitlines() if line[:1] not in "#!")
    properties = {key.strip(): value.strip() for key, _, value in lines}
    group, artifact = properties.get("groupId", ""), properties.get("artifactId", "")
    if group and artifact:
        yield Manifest(f"{group}:{artifact}", properties.get("version", ""))
