"""What an ELF file names, read out of real ones and of forged ones."""

import io
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.facts.formats import elf
from slimtrace.facts.sources import binary
from slimtrace.facts.sources.binary import CHUNK, mentions

SAMPLE = Path("/bin/ls").resolve().read_bytes()
PROGRAM = r"""
#include <dlfcn.h>
#include <iconv.h>
#include <locale.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int main(int count, char **words)
{
    struct addrinfo *found;
    if (count > 1) {
        dlopen("libz.so.1", RTLD_NOW);
        dlopen("/opt/x/plugin.so", RTLD_NOW);
        printf("cannot load libnever.so.3\n");
        printf("libpattern-%s.so", words[1]);
        setenv("TZ", "Europe/Berlin", 1);
        setlocale(LC_ALL, "de_DE.UTF-8");
        iconv_open("UTF-8", "ISO-8859-15");
        puts("no/Zone");
        puts("bundle=/etc/ssl/certs/ca-certificates.crt");
    }
    pthread_cancel(pthread_self());
    return getaddrinfo("localhost", "http", 0, &found) + (localtime(0) == 0);
}
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    if shutil.which("cc") is None:
        pytest.skip("no cc command")

    def build(*flags: str) -> bytes:
        out = tmp_path_factory.mktemp("binary") / "program"
        subprocess.run(
            ["cc", "-x", "c", "-", "-o", out, *flags],
            input=PROGRAM,
            text=True,
            check=True,
            capture_output=True,
        )
        return out.read_bytes()

    return build


def read(data: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for mention in mentions(io.BytesIO(data)):
        assert (mention.line, mention.lazy, mention.computed) == (0, False, False)
        found.setdefault(mention.kind, []).append(mention.name)
    return found


def elf_with(*strings: bytes, before: int = 0) -> bytes:
    """Something that begins like an ELF file, with strings in it."""
    return elf.MAGIC + b"\0" * before + b"\0".join((b"", *strings, b""))


@pytest.mark.requires("cc")
@pytest.mark.parametrize("flags", [(), ("-s",), ("-shared", "-fPIC")], ids=["plain", "stripped", "library"])
def test_a_program_names_what_it_loads_when_it_runs(
    compiled: Callable[..., bytes], flags: tuple[str, ...]
) -> None:
    found = read(compiled(*flags))
    expected = {"getaddrinfo", "iconv_open", "localtime", "pthread_cancel", "setlocale"}
    assert set(found["import"]) == expected
    assert {"libz.so.1", "/opt/x/plugin.so", "libc.so.6"} <= set(found["library"])
    assert not {name for name in found["library"] if "never" in name or "pattern" in name}
    assert found["zone"] == ["Europe/Berlin"]
    assert found["locale"] == ["de_DE.UTF-8"]
    assert found["charset"] == ["ISO-8859-15", "UTF-8"]
    assert found["path"] == ["/etc/ssl/certs/ca-certificates.crt"]


def test_a_library_that_has_a_function_does_not_import_it() -> None:
    libc = next((path for path in Path("/lib").glob("*/libc.so.6")), None)
    if libc is None:
        pytest.skip("no glibc here")
    found = read(libc.read_bytes())
    assert "import" not in found
    assert "libgcc_s.so.1" in found["library"]


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        (b"libfoo.so", "library", "libfoo.so"),
        (b"libfoo-2.0.so.0", "library", "libfoo-2.0.so.0"),
        (b"libstdc++.so.6", "library", "libstdc++.so.6"),
        (b"/opt/lib/x.so", "library", "/opt/lib/x.so"),
        (b"%s/words/%s.%s", "files", "%s/words/%s.%s"),
        (b"%s%s/a/b-c/%s", "files", "%s%s/a/b-c/%s"),
        (b"GLIBC_2.34", "version", "GLIBC_2.34"),
        (b'OPENSSLDIR: "/usr/lib/ssl"', "openssl", "OPENSSLDIR=/usr/lib/ssl"),
        (b'MODULESDIR: "/usr/lib/ossl-modules"', "openssl", "MODULESDIR=/usr/lib/ossl-modules"),
        # Go's strings follow one another without an end.
        (b"abc/etc/ssl/cert.pem/etc/ssl/certs", "path", "/etc/ssl/cert.pem"),
    ],
)
@pytest.mark.parametrize("before", [0, CHUNK - 20, CHUNK - 4, 3 * CHUNK - 11])
def test_strings_are_found_wherever_they_lie(text: bytes, kind: str, name: str, before: int) -> None:
    assert read(elf_with(b"x", text, before=before)) == {kind: [name]}


@pytest.mark.parametrize(
    "text",
    [
        b"foo.so", b"lib.so.x", b"use libfoo.so", b"libfoo.so.%d", b"libfoo.so.1.txt", b"dlopen@GLIBC_2.34",
        b"//lib.so\x01", b"lib\xff.so", b"lib" + b"a" * 300 + b".so", b'SOMEDIR: "/etc"', b"Europe/Berlin",
        b"%s/%s", b"x/%s", b"%s/a/%s/%s", b"%s/../%s", b"%s/a/%s and more", b"%s//%s", b"C.UTF-8",
        b"ISO-8859-1", b"legacy",
    ],
)  # fmt: skip
def test_similar_strings_are_no_mentions(text: bytes) -> None:
    # The last four count only in a file that imports a function which takes such a name.
    assert read(elf_with(b"x", text)) == {}


@pytest.mark.parametrize("data", [b"", b"\x7fEL", b"#!/bin/sh\nlibz.so.1\0", b"PK\x03\x04\0libz.so.1\0"])
def test_other_files_name_nothing(data: bytes) -> None:
    assert mentions(io.BytesIO(data)) == ()


class RepeatedPiece(io.RawIOBase):
    """A large file that is not in memory: `begin`, and then the same piece over and over."""

    def __init__(self, begin: bytes, piece: bytes, size: int) -> None:
        self.begin, self.piece, self.size, self.at = begin, piece, size, 0
        self.most = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self.at = (0, self.at, self.size)[whence] + offset
        return self.at

    def readinto(self, buffer: bytearray, /) -> int:  # type: ignore[override]
        count = max(0, min(len(buffer), self.size - self.at))
        self.most = max(self.most, count)
        where = self.at % len(self.piece)
        data = (self.piece * (count // len(self.piece) + 2))[where : where + count]
        head = self.begin[self.at : self.at + count]
        buffer[:count] = head + data[len(head) :]
        self.at += count
        return count


@pytest.mark.parametrize(
    "piece", [b"\0", b"\0ISO", b"/", b"a", b".so\0", b"lib.so.1\0", b"/aaaaaaaaaaa", b'DIR: "/']
)
def test_a_large_file_takes_time_by_its_size_and_little_memory(
    piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elf, "imports", lambda _: binary.FUNCTIONS)  # so that every kind is looked for
    size = 32 << 20
    file = RepeatedPiece(elf.MAGIC, piece * 1000, size)
    began = time.process_time()
    mentions(io.BufferedReader(file))
    assert time.process_time() - began < 10
    assert file.most <= CHUNK


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(SAMPLE)), st.binary(min_size=1, max_size=8)), max_size=6),
    st.integers(0, len(SAMPLE)) | st.just(len(SAMPLE)),
)
def test_a_forged_file_neither_raises_nor_hangs(edits: list[tuple[int, bytes]], length: int) -> None:
    forged = bytearray(SAMPLE[:length])
    for at, what in edits:
        forged[at : at + len(what)] = what
    began = time.process_time()
    found = mentions(io.BytesIO(bytes(forged)))
    assert time.process_time() - began < 2
    assert all(mention.name.isascii() and "\0" not in mention.name for mention in found)


SYMBOLS = 0x40  # of a 64-bit file header


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2 * SYMBOLS), st.binary(min_size=1, max_size=8)), max_size=8))
def test_a_forged_section_table_imports_nothing_strange(edits: list[tuple[int, bytes]]) -> None:
    forged = bytearray(SAMPLE)
    table = int.from_bytes(SAMPLE[0x28:0x30], "little")
    for at, what in edits:
        place = at if at < SYMBOLS else table + at - SYMBOLS
        forged[place : place + len(what)] = what
    began = time.process_time()
    names = elf.imports(io.BytesIO(bytes(forged)))
    assert time.process_time() - began < 2
    assert all(isinstance(name, str) for name in names)


def test_the_functions_are_those_that_a_finder_asks_for() -> None:
    assert {"getaddrinfo", "iconv_open", "pam_start", "tzset"} <= binary.FUNCTIONS
