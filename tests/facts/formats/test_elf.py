"""ELF files are read, never trusted."""

import io
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.facts.formats.elf import parse

SAMPLE = Path("/bin/ls").resolve()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with every kind of dynamic entry that matters."""
    if shutil.which("cc") is None:
        pytest.skip("no cc command")
    out = tmp_path_factory.mktemp("elf") / "libx.so"
    flags = ["-shared", "-nostdlib", "-Wl,-soname,libx.so.1", "-Wl,-rpath,$ORIGIN/../lib:/opt/lib"]
    subprocess.run(["cc", "-x", "c", "/dev/null", "-o", out, *flags, "-Wl,--enable-new-dtags"], check=True)
    return out


def test_a_program_names_its_interpreter_and_libraries() -> None:
    with SAMPLE.open("rb") as file:
        found = parse(file)
    assert found is not None
    assert found.interpreter.startswith("/lib")
    assert "libc.so.6" in found.needed


@pytest.mark.requires("cc")
def test_a_library_names_its_soname_and_search_path(built: Path) -> None:
    with built.open("rb") as file:
        found = parse(file)
    assert found is not None
    assert (found.soname, found.runpath, found.rpath) == ("libx.so.1", ("$ORIGIN/../lib", "/opt/lib"), ())


@pytest.mark.parametrize("data", [b"", b"\x7fEL", b"\x7fELF", b"#!/bin/sh\n", b"\x7fELF" + b"\xff" * 4096])
def test_what_is_no_elf_file_is_none(data: bytes) -> None:
    assert parse(io.BytesIO(data)) is None


DATA = SAMPLE.read_bytes()
HEADERS = 0x40 + 56 * 16  # the file header and the program headers


@settings(max_examples=examples(400), deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, HEADERS), st.binary(min_size=1, max_size=8)), max_size=6),
    st.integers(0, len(DATA)) | st.just(len(DATA)),
)
def test_a_forged_header_neither_raises_nor_hangs(edits: list[tuple[int, bytes]], length: int) -> None:
    forged = bytearray(DATA[:length])
    for at, what in edits:
        forged[at : at + len(what)] = what
    began = time.process_time()
    parse(io.BytesIO(bytes(forged)))
    assert time.process_time() - began < 2
