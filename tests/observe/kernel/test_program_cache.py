"""Compiled programs in files: whole or not at all, in a folder that is the user's own, not too many."""

import os
from pathlib import Path

import pytest

from slimtrace.observe.kernel import program_cache
from slimtrace.observe.kernel.program_cache import Compiled

PROGRAMS = Compiled(("watched_cgroups", "reported_facts"), {"on_exit": b"\x00\xff" * 8, "take_name": b""})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLIMTRACE_CACHE", str(tmp_path / "a" / "cache"))
    return tmp_path / "a" / "cache"


def test_what_is_stored_is_loaded_by_its_name(folder: Path) -> None:
    assert program_cache.load("one") is None
    program_cache.store("one", PROGRAMS)
    assert program_cache.load("one") == PROGRAMS
    assert program_cache.load("two") is None
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "one").stat().st_mode & 0o777 == 0o600


def test_it_is_replaced(folder: Path) -> None:
    for programs in (PROGRAMS, Compiled((), {})):
        program_cache.store("one", programs)
        assert program_cache.load("one") == programs
    assert [path.name for path in folder.iterdir()] == ["one"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"17",
        b"{}",
        b'{"maps": 17, "programs": {}}',
        b'{"maps": [], "programs": {"on_exit": 17}}',
        b'{"maps": [], "programs": {"on_exit": "no base64"}}',
        b'{"maps": [], "programs": ["on_exit"]}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"0" * (program_cache.MAX_BYTES + 1),
    ],
)
def test_what_we_did_not_write_is_not_loaded(folder: Path, text: bytes) -> None:
    program_cache.store("one", PROGRAMS)
    (folder / "one").write_bytes(text)
    assert program_cache.load("one") is None


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_folder_where_others_may_write_is_not_ours(folder: Path, mode: int) -> None:
    program_cache.store("one", PROGRAMS)
    folder.chmod(mode)
    assert program_cache.load("one") is None
    program_cache.store("two", PROGRAMS)
    assert [path.name for path in folder.iterdir()] == ["one"]


@pytest.mark.requires("root")
def test_a_folder_of_somebody_else_is_not_ours(folder: Path) -> None:
    program_cache.store("one", PROGRAMS)
    os.chown(folder, 65534, 65534)
    assert program_cache.load("one") is None


def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    program_cache.store("one", PROGRAMS)
    (folder / "two").symlink_to("one")
    assert program_cache.load("two") is None
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert program_cache.load("one") is None
    program_cache.store("three", PROGRAMS)
    assert not (tmp_path / "elsewhere" / "three").exists()


def test_a_pipe_in_its_place_holds_nobody_up(folder: Path) -> None:
    program_cache.store("one", PROGRAMS)
    os.mkfifo(folder / "two")
    assert program_cache.load("two") is None


def test_where_nothing_can_be_stored_nothing_happens(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("a file")
    program_cache.store("one", PROGRAMS)
    assert program_cache.load("one") is None
    assert folder.read_text() == "a file"


def test_the_oldest_go(folder: Path) -> None:
    for number in range(program_cache.FILES + 3):
        program_cache.store(f"{number}", PROGRAMS)
        os.utime(folder / f"{number}", (number, number))
    assert sorted(int(path.name) for path in folder.iterdir()) == list(range(3, program_cache.FILES + 3))
    program_cache.store("5", PROGRAMS)
    assert len(list(folder.iterdir())) == program_cache.FILES


def test_the_name_tells_text_flags_and_compiler_apart() -> None:
    names = {
        program_cache.key(text, flags, compiler)
        for text in ("int a;", "int b;")
        for flags in (["-DA=1"], ["-DA=2"], ["-DA=1", "-DB=1"])
        for compiler in ("0.26", "0.29")
    }
    assert len(names) == 12
    assert program_cache.key("int a;", ["-DA=1"], "0.26") in names
