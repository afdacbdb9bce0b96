"""A slim image under its AppArmor profile, in a virtual machine whose kernel enforces the profile.

The image is slimmed here, in Docker, with its profile; tests/vm/apparmor_guest.py starts it in the machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from vm.kernels import chosen, obtain
from vm.machine import Machine
from vm.recording import CHECKOUT, run

pytestmark = pytest.mark.requires("vm", "bpf", "docker", "images", "runc", "apparmor-parser")
KERNELS = chosen("amd64")[-1:]  # one kernel is enough: the test is of the profile
WORDS = ("apparmor=1", "security=apparmor")


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def slim(image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The slim nginx and its artifacts."""
    tag, folder = f"slimtrace-vm/nginx:{os.getpid()}", tmp_path_factory.mktemp("nginx")
    command = [sys.executable, "-m", "slimtrace", "build", image("nginx"), "--tag", tag, "--no-verify"]
    subprocess.run([*command, "--artifacts", str(folder / "artifacts")], check=True, capture_output=True)
    yield tag, folder
    docker("rmi", "--force", tag)


@pytest.fixture(scope="module", params=KERNELS)
def reports(request: pytest.FixtureRequest, slim: tuple[str, Path]) -> list[dict[str, Any]]:
    """The lines of JSON that tests/vm/apparmor_guest.py printed in the machine."""
    tag, folder = slim
    rootfs, config, artifacts = folder / "rootfs.tar", folder / "config.json", folder / "artifacts"
    container = docker("create", tag)
    try:
        docker("export", "--output", str(rootfs), container)
    finally:
        docker("rm", container)
    config.write_text(docker("image", "inspect", "--format", "{{json .Config}}", tag))
    lines = (artifacts / "apparmor.profile").read_text().splitlines()
    (name,) = (line.split('"')[1] for line in lines if line.startswith("profile "))
    script = CHECKOUT / "tests/vm/apparmor_guest.py"
    command = [sys.executable, str(script), str(rootfs), str(config), str(artifacts), name]
    outcome = run(Machine(obtain(request.param), WORDS), command)
    assert outcome.code == 0, outcome.output.decode()
    print(f"{request.param}: {outcome.seconds:.0f} s")
    return [json.loads(line) for line in outcome.output.decode().splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def attempts(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the container could do: under its profile, and without one."""
    return [line for line in reports if "works" in line]


def test_profiles_come_and_go(reports: list[dict[str, Any]]) -> None:
    facts = {key: value for line in reports for key, value in line.items()}
    assert (facts["in_force"], facts["still_there"]) == (True, False)
    assert (facts["swept"], facts["left"]) == (1, False)


def test_the_profile_is_in_force(attempts: list[dict[str, Any]]) -> None:
    confined, free = attempts
    assert confined["label"] == f"{confined['profile']} (enforce)"
    assert free["label"] == "unconfined"


def test_it_works(attempts: list[dict[str, Any]]) -> None:
    confined, free = attempts
    assert confined["works"] == free["works"]
    assert confined["works"][0] == 200
    assert confined["exec"][0] == 0
    assert confined["denied at work"] == []


def test_a_file_outside_is_not_read(attempts: list[dict[str, Any]]) -> None:
    confined, free = attempts
    assert free["reads"][0] == 200  # without the profile nginx serves the file
    assert confined["reads"][0] == 403
    assert {"operation": "open", "name": "/secret"}.items() <= _denial(confined, "/secret").items()


def test_nothing_is_written_outside(attempts: list[dict[str, Any]]) -> None:
    confined, free = attempts
    assert free["writes"][0] == 0
    assert confined["writes"][0] != 0
    assert "Permission denied" in confined["writes"][1]
    assert _denial(confined, "/usr/sbin/written")["requested_mask"] == "c"


def test_no_other_program_is_executed(attempts: list[dict[str, Any]]) -> None:
    confined, free = attempts
    assert free["executes"][0] == 0
    assert confined["executes"][0] == 126, confined["executes"]
    assert _denial(confined, "/busybox")["operation"] == "exec"


def test_it_stops_when_told(attempts: list[dict[str, Any]]) -> None:
    for attempt in attempts:
        assert attempt["exit code"] == 0  # nginx's own exit code, not that of SIGKILL


def _denial(attempt: dict[str, Any], name: str) -> dict[str, str]:
    found: list[dict[str, str]] = [each for each in attempt["denied"] if each.get("name") == name]
    assert found, attempt["denied"]
    return found[0]
