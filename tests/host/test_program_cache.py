"""The program cache: cached BPF programs equal compiled ones, and a damaged entry is replaced."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from workloads.harness import Seen, trace

from slimtrace.engine import Engine
from slimtrace.facts.events import CallSet, FileUse, Phase, Socket
from slimtrace.observe.kernel import bcc_compiler, program_cache, programs

pytestmark = pytest.mark.requires("bpf", "docker", "cc")

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of these tests."""
    monkeypatch.setenv("SLIMTRACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def uses(seen: Seen) -> list[FileUse]:
    return [replace(use, pid=0, program="") for use in seen.uses]


def sockets(seen: Seen) -> list[Socket]:
    return [replace(socket, pid=0) for socket in seen.sockets]


def calls(seen: Seen) -> list[CallSet]:
    """The calls of the container's program; those of the runtime vary."""
    return [group for group in seen.calls if group.phase is Phase.APP]


def test_cached_programs_are_loaded_without_compiling_and_see_the_same(
    engine: Engine, tag: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> NoReturn:
        raise AssertionError("compiled once more")

    first = {name: trace(engine, tag, name) for name in ("opens", "sockets")}
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setattr(bcc_compiler, "compile_text", none)
    for name, seen in first.items():
        again = trace(engine, tag, name)
        assert uses(again) == uses(seen) != []
        assert calls(again) == calls(seen) != []
        assert sockets(again) == sockets(seen)
        assert (again.lost, again.unreadable) == (seen.lost, seen.unreadable)


def test_the_maps_are_those_of_the_whole_text(folder: Path) -> None:
    bcc = bcc_compiler.import_bcc()
    programs.load().free()
    [file] = folder.iterdir()
    found = program_cache.load(file.name)
    assert found is not None
    variant = next(programs.variants(btf := programs.running_kernel.read_btf()))
    numbers = programs.variant_constants(btf, variant)
    text, flags = programs.source(variant), programs.running_kernel.defines(numbers)
    whole = bcc_compiler.compile_text(bcc, text, flags, numbers.get("CAST_FUNCTION"))
    parts = bcc_compiler.from_cache(bcc, found, text, flags)
    try:
        assert shapes(bcc, parts) == shapes(bcc, whole)
        assert bcc_compiler.extract_programs(bcc, whole) == found
    finally:
        whole.cleanup()
        parts.cleanup()


def shapes(bcc: Any, bpf: Any) -> dict[str, tuple[int, ...]]:
    """Type, size, key size, value size and flags of each BPF map."""
    of = [
        getattr(bcc.lib, f"bpf_table_{what}_id")
        for what in ("type", "max_entries", "key_size", "leaf_size", "flags")
    ]
    names = bcc_compiler.map_descriptors(bcc, bpf)
    return {name: tuple(ask(bpf.module, at) for ask in of) for at, name in enumerate(names)}


def no_program(text: dict[str, Any]) -> None:
    text["programs"].pop("on_sys_exit")


def no_map(text: dict[str, Any]) -> None:
    text["maps"][0] = "another"


def refused(text: dict[str, Any]) -> None:
    """The kernel refuses a program without an exit instruction."""
    text["programs"]["on_sys_exit"] = text["programs"]["on_sys_exit"][: 8 * 4]


@pytest.mark.parametrize("change", [no_program, no_map, refused, dict.clear])
def test_a_damaged_entry_is_compiled_and_cached_again(folder: Path, change: Change) -> None:
    programs.load().free()
    [file] = folder.iterdir()
    whole = file.read_text()
    text = json.loads(whole)
    change(text)
    file.write_text(json.dumps(text))
    programs.load().free()
    assert [path.name for path in folder.iterdir()] == [file.name]
    assert file.read_text() == whole
