"""What a jar names, however it was written, and archives that lie."""

import io
import struct
import time
import zipfile

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.facts.sources.zip import MANIFEST, MAX_MANIFEST, mentions

Named = list[tuple[str, str]]


def read(data: bytes) -> Named:
    return [(mention.kind, mention.name) for mention in mentions(io.BytesIO(data))]


def archive(
    entries: dict[str, bytes], packed: bool = True, comment: bytes = b"", streamed: bool = False
) -> bytes:
    out = io.BytesIO()
    target = Unseekable(out) if streamed else out
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
        file.comment = comment
    return out.getvalue()


class Unseekable(io.RawIOBase):
    """A pipe: sizes are then written behind the data, as jar(1) does too."""

    def __init__(self, out: io.BytesIO) -> None:
        self.out = out

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        return self.out.write(data)


def manifest(*lines: str, newline: str = "\r\n") -> dict[str, bytes]:
    return {MANIFEST.decode(): newline.join(("Manifest-Version: 1.0", *lines, "")).encode()}


JAR = {
    **manifest("Class-Path: lib/a.jar ../b.jar", "Main-Class: Main"),
    "META-INF/services/java.sql.Driver": b"x.Driver\n",
    "META-INF/services/": b"",
    "META-INF/services/deep/er": b"",
    "BOOT-INF/lib/inner.jar": b"PK",
    "linux/libx.so": b"\x7fELF",
    "Main.class": b"\xca\xfe\xba\xbe",
}
NAMED = [
    ("class-path", "../b.jar"),
    ("class-path", "lib/a.jar"),
    ("jar", "BOOT-INF/lib/inner.jar"),
    ("native", "linux/libx.so"),
    ("service", "java.sql.Driver"),
]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("comment", [b"", b"PK\x05 a comment", b"x" * 65535])
@pytest.mark.parametrize("before", [b"", b"#!/bin/sh\nexec java -jar $0\n" * 100])
def test_a_jar(packed: bool, comment: bytes, before: bytes) -> None:
    assert read(before + archive(JAR, packed, comment)) == NAMED


def test_a_jar_written_to_a_pipe() -> None:
    assert read(archive(JAR, streamed=True)) == NAMED


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("Class-Path: a.jar",), ["a.jar"]),
        (("class-path: a.jar  b.jar",), ["a.jar", "b.jar"]),
        (("Class-Path: very-lo", " ng-name.jar b.j", " ar"), ["b.jar", "very-long-name.jar"]),
        (("Class-Path:", "  a.jar"), ["a.jar"]),
        (("Boot-Class-Path: agent.jar",), ["agent.jar"]),
        (("Class-Path: a%20b.jar file:/opt/c.jar",), ["a%20b.jar", "file:/opt/c.jar"]),
        (("X-Class-Path: no.jar",), []),
        (("Class-Path: ",), []),
    ],
)
@pytest.mark.parametrize("newline", ["\r\n", "\n", "\r"])
def test_the_class_path_of_a_manifest(lines: tuple[str, ...], expected: list[str], newline: str) -> None:
    assert [name for _, name in read(archive(manifest(*lines, newline=newline)))] == expected


def test_names_that_are_no_utf_8_come_back() -> None:
    name = b"caf\xe9.jar"
    data = archive({"cafe.jar": b""}).replace(b"cafe.jar", name)
    assert [found.encode("utf-8", "surrogateescape") for _, found in read(data)] == [name]


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x05\x06", b"PK\x05\x06" + b"\xff" * 18, b"x" * 70_000])
def test_what_is_no_archive_names_nothing(data: bytes) -> None:
    assert read(data) == []


def test_a_bomb_is_not_unpacked() -> None:
    bomb = archive({MANIFEST.decode(): b"Class-Path: a.jar\n" + b"\0" * (256 << 20)})
    began = time.process_time()
    assert read(bomb) == [("class-path", "a.jar")]
    assert time.process_time() - began < 2
    assert len(bomb) < MAX_MANIFEST


def many(count: int) -> bytes:
    """An archive of `count` entries, all of one local file."""
    entry = struct.pack("<4s4B4H3I5H2I", b"PK\x01\x02", *bytes(4), *[0] * 4, *[0] * 3, 5, 0, 0, 0, 0, 0, 0)
    directory = (entry + b"a.jar") * count
    return directory + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 65535, 65535, len(directory), 0, 0)


def test_a_million_entries_take_seconds_and_one_mention() -> None:
    data = many(1_000_000)
    began = time.process_time()
    assert read(data) == [("jar", "a.jar")]
    assert time.process_time() - began < 15


DATA = archive(JAR)


@settings(max_examples=examples(400), deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(DATA)), st.binary(min_size=1, max_size=8)), max_size=6),
    st.integers(0, len(DATA)) | st.just(len(DATA)),
)
def test_a_forged_archive_neither_raises_nor_hangs(edits: list[tuple[int, bytes]], length: int) -> None:
    forged = bytearray(DATA[:length])
    for at, what in edits:
        forged[at : at + len(what)] = what
    began = time.process_time()
    mentions(io.BytesIO(bytes(forged)))
    assert time.process_time() - began < 2


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes(data: bytes) -> None:
    mentions(io.BytesIO(data + b"PK\x05\x06" + data))
