"""Builds by other engines than the machine's dockerd on overlay2: dockerd with the vfs driver, with the
containerd image store, and podman. These engines store layers in other places, compute image ids in other ways
and answer some requests differently; the slim image is the same."""

import functools
import hashlib
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import engines
import pytest
from builds import Program
from containers import docker
from observe.image.saved_images import image as image_of
from observe.image.saved_images import layer

from slimtrace.engine import Engine
from slimtrace.engine.temporary_tags import BACKUP_REPOSITORY
from slimtrace.facts.tree import Kind
from slimtrace.observe.image.saved_archive import SavedImage

KINDS = {"vfs": engines.vfs, "containerd-store": engines.containerd_store, "podman": engines.podman}
STORAGE = {"vfs": "vfs", "containerd-store": "overlayfs", "podman": "overlay"}
OWN = "unix:///var/run/docker.sock"
IMAGES = ("edge", "hostile", "exits-3", "broken-entrypoint", "unhurried")


@pytest.fixture(scope="module", params=[pytest.param(kind, marks=pytest.mark.requires(kind)) for kind in KINDS])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def other_engine(
    kind: str, image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[engines.OtherEngine]:
    """One of these engines, with copies of the machine's images."""
    tags = [image(name) for name in IMAGES]
    with KINDS[kind](tmp_path_factory.mktemp(kind)) as engine:
        for tag in tags:
            engine.copy_image(tag)
        yield engine


@pytest.fixture
def connection(other_engine: engines.OtherEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """slimtrace's connection to that engine."""
    monkeypatch.setenv("DOCKER_HOST", other_engine.host)
    with Engine.connect() as engine:
        yield engine


def build(
    slimtrace: Program, host: str, name: str, folder: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    words = (
        "--network",
        "none",
        "--tag",
        f"slimtrace-e2e/{name}:other-engine",
        "--artifacts",
        str(folder),
        *options,
    )
    # With a read-only root podman copies the image's /run into a tmpfs, which fails for these images.
    return slimtrace(
        "build", "--json", "--without", "read-only", *words, f"slimtrace-test/{name}:1", DOCKER_HOST=host
    )


def files(engine: Engine, tag: str, place: Path) -> dict[str, Any]:
    """All files of an image by path, as the engine saves them, without the root directory: the engine chooses
    its mode, 0755 in docker's layers, 0555 in podman's (containers/storage, overlay driver)."""
    place.mkdir()
    described = engine.image(tag)
    saved = SavedImage(engine.save(described.id), described.layers, place)
    try:
        found = {}
        for entry in saved.tree():
            digest = ""
            if entry.kind is Kind.FILE:
                digest = hashlib.sha256(saved.open(entry.path).readall() or b"").hexdigest()
            found[entry.path] = (entry, saved.xattrs(entry.path), digest)
        del found["/"]
        return found
    finally:
        saved.close()


@dataclass(frozen=True)
class Slim:
    """The report of a build, and the files, id and layers of its slim image."""

    report: dict[str, Any]
    files: dict[str, Any]
    id: str
    layers: tuple[str, ...]


def slimmed(slimtrace: Program, host: str, name: str, folder: Path) -> Slim:
    tag = f"slimtrace-e2e/{name}:other-engine"
    done = build(slimtrace, host, name, folder / "artifacts")
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", host)
        with Engine.connect() as engine:
            found = engine.image(tag)
            return Slim(json.loads(done.stdout), files(engine, tag, folder / "files"), found.id, found.layers)


@pytest.fixture(scope="session")
def by_dockerd(slimtrace: Program, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Slim]:
    """by_dockerd("edge") is the slim image by the machine's own dockerd; each is built once."""

    @functools.cache
    def slim(name: str) -> Slim:
        found = slimmed(slimtrace, OWN, name, tmp_path_factory.mktemp(name))
        docker("rmi", f"slimtrace-e2e/{name}:other-engine")
        return found

    return slim


@pytest.mark.parametrize("name", ["edge", "hostile"])
def test_the_slim_image_is_the_same_as_by_dockerd_on_overlay2(
    name: str,
    kind: str,
    other_engine: engines.OtherEngine,
    by_dockerd: Callable[[str], Slim],
    slimtrace: Program,
    tmp_path: Path,
) -> None:
    found, wanted = slimmed(slimtrace, other_engine.host, name, tmp_path), by_dockerd(name)
    assert found.files == wanted.files
    for key in ("calls", "doubts", "lost", "files"):
        assert found.report[key] == wanted.report[key]
    assert (found.layers == wanted.layers) == (kind != "podman")  # see `files`
    if kind == "vfs":  # with the containerd store an image's id is the digest of its manifest
        assert found.id == wanted.id
    said = docker("run", "--rm", "--network", "none", f"slimtrace-test/{name}:1")
    tag = f"slimtrace-e2e/{name}:other-engine"
    assert other_engine.docker("run", "--rm", "--network", "none", tag) == said
    other_engine.docker("rmi", tag)
    assert "slimtrace-e2e" not in other_engine.docker("images")


def test_a_server_is_driven_and_stopped(
    other_engine: engines.OtherEngine, slimtrace: Program, tmp_path: Path
) -> None:
    done = build(slimtrace, other_engine.host, "unhurried", tmp_path / "artifacts", "--env", "HURRY=1")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ports"] == [8080]
    assert report["exit_code"] is None
    assert report["lost"] == 0
    assert other_engine.docker("ps", "--all", "--quiet") == ""
    other_engine.docker("rmi", "slimtrace-e2e/unhurried:other-engine")


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        (
            "broken-entrypoint",
            7,
            'exec: "/bin/nothing-here": stat /bin/nothing-here: no such file or directory\n',
        ),
        ("exits-3", 8, "its container ended by itself with exit code 3\n"),
    ],
)
def test_failures_are_reported_as_by_dockerd(
    name: str, code: int, words: str, other_engine: engines.OtherEngine, slimtrace: Program, tmp_path: Path
) -> None:
    done = build(slimtrace, other_engine.host, name, tmp_path / "artifacts")
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "OCI" not in done.stderr
    assert other_engine.docker("ps", "--all", "--quiet") == ""
    assert "slimtrace-e2e" not in other_engine.docker("images")


def test_what_a_killed_run_left_is_swept(
    kind: str, other_engine: engines.OtherEngine, slimtrace: Program, tmp_path: Path
) -> None:
    left = other_engine.docker("create", "--label", "slimtrace.run=999999999:1", "slimtrace-test/edge:1")
    if kind == "containerd-store":
        other_engine.docker("tag", "slimtrace-test/edge:1", f"{BACKUP_REPOSITORY}:999999999-1")
    assert left in other_engine.docker("ps", "--all", "--quiet", "--no-trunc")
    done = build(slimtrace, other_engine.host, "edge", tmp_path / "artifacts")
    assert done.returncode == 0, done.stderr
    assert "removed what a killed run had left: containers 1" in done.stderr
    assert BACKUP_REPOSITORY not in other_engine.docker("images")
    assert other_engine.docker("ps", "--all", "--quiet") == ""
    other_engine.docker("rmi", "slimtrace-e2e/edge:other-engine")


def test_a_name_means_what_it_meant_when_a_build_fails(
    other_engine: engines.OtherEngine, connection: Engine
) -> None:
    tag = "slimtrace-e2e/kept:other-engine"
    before = connection.load([image_of(layer("a = 1"), tag=tag)])
    with pytest.raises(ZeroDivisionError), connection.restoring_tag(tag):
        assert connection.load([image_of(layer("a = 2"), tag=tag)]) != before
        raise ZeroDivisionError
    assert connection.image_id(tag) == before
    with connection.restoring_tag(tag):
        connection.load([image_of(layer("a = 2"), tag=tag)])
    assert connection.image_id(tag) != before
    connection.remove_image(tag)
    assert BACKUP_REPOSITORY not in other_engine.docker("images")
    with pytest.raises(ZeroDivisionError), connection.restoring_tag(tag):
        connection.load([image_of(layer("a = 3"), tag=tag)])
        raise ZeroDivisionError
    assert connection.image_id(tag) is None


def test_the_engine_is_described(
    kind: str, other_engine: engines.OtherEngine, connection: Engine, slimtrace: Program
) -> None:
    table = slimtrace("doctor", DOCKER_HOST=other_engine.host).stdout.splitlines()
    found = [re.split(r"  +", line.strip()) for line in table]
    assert ["yes", "container engine uses cgroup v2", "version 2, cgroupfs driver"] in found
    overlay = "no" if kind == "vfs" else "yes"
    assert [overlay, "container engine stores layers as overlays", STORAGE[kind]] in found
    assert connection.info().containerd_store == (kind == "containerd-store")
    done = slimtrace("info", "slimtrace-test/edge:1", DOCKER_HOST=other_engine.host)
    assert done.returncode == 0, done.stderr
    assert "/bin/edge" in done.stdout
    assert connection.image("slimtrace-test/edge:1").size == pytest.approx(2_100_000, rel=0.1)


def test_a_container_that_runs_is_watched(
    other_engine: engines.OtherEngine, slimtrace: Program, tmp_path: Path
) -> None:
    container = other_engine.docker("run", "--detach", "--network", "none", "slimtrace-test/unhurried:1")
    try:
        done = slimtrace(
            "record", "--container", container, "--continue-after", "1", "--output", str(tmp_path / "capture"),
            DOCKER_HOST=other_engine.host,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "/bin/server" in done.stdout
    finally:
        other_engine.docker("rm", "--force", "--volumes", container)
