"""`slimtrace build` as a user runs it: the installed program, real images, nothing left behind."""

import fcntl
import functools
import os
import pickle
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builds import PROGRAM, Build, Completed, Program, slim_of
from containers import docker, exists
from shared import image_name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # A conftest has no pytestmark: everything in this folder traces real containers.
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.requires("bpf", "docker", "images"))


@pytest.fixture(scope="session")
def slimtrace(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """slimtrace("doctor") runs the program, in a temporary folder unless `cwd` names another."""
    elsewhere = tmp_path_factory.mktemp("cwd")

    def run(*words: str, cwd: Path = elsewhere, **environment: str) -> Completed:
        return subprocess.run(
            [PROGRAM, *words],
            cwd=cwd,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return run


@pytest.fixture(scope="session")
def name_for_slim() -> Iterator[Callable[[str], str]]:
    """name_for_slim("jq") is an unused image name; the image that gets it is removed at the end."""
    given: list[str] = []

    def name(of: str) -> str:
        given.append(f"slimtrace-e2e/{of}:{os.getpid()}-{len(given)}")
        return given[-1]

    yield name
    if there := [tag for tag in given if exists(tag)]:
        docker("rmi", "--force", *there)


@pytest.fixture(scope="session")
def build(
    image: Callable[[str], str],
    slimtrace: Program,
    name_for_slim: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Build]:
    """build("jq", "--include-shell") slims that image again; the slim image is tried only with "--verify"."""

    def run(name: str, *options: str) -> Build:
        fat, slim = image(name), name_for_slim(name)
        artifacts = tmp_path_factory.mktemp(name) / "artifacts"
        words = ("--json", "--no-verify", "--tag", slim, "--artifacts", str(artifacts), *options)
        return Build(slimtrace("build", *words, fat), fat, slim, artifacts)

    return run


@pytest.fixture(scope="session")
def built(image: Callable[[str], str], slimtrace: Program, shared_folder: Path) -> Callable[[str], Build]:
    """built("jq") is that image slimmed without options, and tried; built once a session, by the worker that
    asks first. The slim images are removed when all workers have ended."""

    @functools.cache
    def once(name: str) -> Build:
        folder = shared_folder / f"built-{name}"
        folder.mkdir(exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "build").exists():
                fat, slim, artifacts = image(name), image_name(shared_folder, name), folder / "artifacts"
                words = ("--json", "--tag", slim, "--artifacts", str(artifacts))
                done = Build(slimtrace("build", *words, fat), fat, slim, artifacts)
                (folder / "build").write_bytes(pickle.dumps(done))
        found: Build = pickle.loads((folder / "build").read_bytes())
        return found

    return once


@pytest.fixture
def image_copy(image: Callable[[str], str]) -> Iterator[Callable[[str], str]]:
    """image_copy("jq") is an image of that content with an id of its own: no other test makes containers of it.

    Images that are made of the copy carry its label, slimtrace.e2e=TAG.
    """
    made: list[str] = []

    def copy(name: str) -> str:
        tag = f"slimtrace-e2e/own-{name}:{time.time_ns()}"
        recipe = f"FROM {image(name)}\nLABEL slimtrace.e2e={tag}\n"
        subprocess.run(
            ["docker", "build", "--tag", tag, "-"], input=recipe.encode(), check=True, capture_output=True
        )
        made.append(tag)
        return tag

    yield copy
    there = [tag for made_of in made for tag in (made_of, slim_of(made_of)) if exists(tag)]
    docker("rmi", "--force", *there)
