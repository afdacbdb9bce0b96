"""The doctor on the machine that runs the tests: each answer is checked against another source."""

import gzip
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from slimtrace.errors import SlimtraceError
from slimtrace.observe import doctor
from slimtrace.observe.kernel.feature_programs import try_program


def no_engine() -> Mapping[str, Any]:
    raise SlimtraceError("cannot reach the engine: none was asked")


def kernel_config() -> dict[str, str]:
    for path in (Path("/proc/config.gz"), Path(f"/boot/config-{os.uname().release}")):
        if path.exists():
            raw = path.read_bytes()
            text = gzip.decompress(raw).decode() if path.suffix == ".gz" else raw.decode()
            return dict(line.partition("=")[::2] for line in text.splitlines() if line.startswith("CONFIG_"))
    return {}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for the doctor's temporary files."""
    return tmp_path_factory.mktemp("doctor")


@pytest.fixture(scope="module")
def states(place: Path) -> dict[str, tuple[str, str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(place))
        results = doctor.examine(try_program, no_engine)
    return {result.feature.id: (result.state, result.detail) for result in results}


@pytest.mark.requires("root", "bpf")
def test_what_a_build_needs_is_here(states: dict[str, tuple[str, str]]) -> None:
    for item in doctor.features():
        if item.required and "docker" not in item.id:
            assert states[item.id][0] == "yes", (item.id, states[item.id])


@pytest.mark.requires("root", "bpf")
def test_a_tracepoint_that_does_not_exist_is_told() -> None:
    assert "No such file" in try_program("raw_tracepoint", "no_such_tracepoint")


@pytest.mark.requires("root", "bpf")
def test_what_the_kernel_was_built_without_is_told(states: dict[str, tuple[str, str]]) -> None:
    config = kernel_config()
    if not config:
        pytest.skip("the kernel's configuration is not readable")
    for item in doctor.features():
        if not item.kconfig or item.id in ("bpf_jit", "cgroup2"):
            continue
        if any(option not in config for option in item.kconfig):
            assert states[item.id][0] != "yes", item.id


@pytest.mark.requires("root")
def test_nothing_is_left_behind(states: dict[str, tuple[str, str]], place: Path) -> None:
    assert states
    assert not list(place.iterdir())
    assert str(place) not in Path("/proc/self/mountinfo").read_text()
