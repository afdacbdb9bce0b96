"""A container that creates, changes, replaces and removes files: the slim image has the original files, and its
container makes the same changes."""

import json
from collections.abc import Callable

import pytest
from builds import Build
from containers import Entry, docker, entries, inspect

from slimtrace.errors import Exit

KEEPER = (1000, 2000)
ROOT = (0, 0)

# Everything that the slim image has to hold: mode and owner by path.
WANTED = {
    "/bin": (0o755, ROOT), "/bin/state": (0o755, ROOT),
    "/etc/passwd": (0o644, ROOT), "/etc/group": (0o644, ROOT),
    "/etc/read.conf": (0o644, KEEPER), "/etc/over.conf": (0o644, KEEPER),
    "/data": (0o755, KEEPER), "/data/first": (0o644, KEEPER), "/data/locked": (0o600, KEEPER),
    "/data/old": (0o644, KEEPER), "/data/replaced": (0o644, KEEPER),
    "/home": (0o755, ROOT), "/home/keeper": (0o700, KEEPER),
    "/srv": (0o755, ROOT), "/srv/shared": (0o2750, KEEPER), "/srv/work": (0o750, KEEPER),
    "/tmp": (0o1777, ROOT),
    "/var": (0o755, ROOT), "/var/spool": (0o755, KEEPER), "/var/spool/in": (0o2770, KEEPER),
    "/var/spool/out": (0o1773, KEEPER), "/var/spool/quiet": (0o3711, KEEPER),
    "/var/lib": (0o755, ROOT), "/var/lib/keeper": (0o755, KEEPER),
    "/var/lib/keeper/data": (0o2700, KEEPER), "/var/lib/keeper/data/seed": (0o644, KEEPER),
}  # fmt: skip
EMPTY = (
    "/home/keeper",
    "/srv/work",
    "/srv/shared",
    "/tmp",
    "/var/spool/in",
    "/var/spool/out",
    "/var/spool/quiet",
)


@pytest.fixture(scope="module")
def sample(built: Callable[[str], Build]) -> Build:
    return built("stateful")


@pytest.fixture(scope="module")
def trees(sample: Build) -> tuple[dict[str, Entry], dict[str, Entry]]:
    assert sample.completed.returncode == 0, sample.completed.stderr
    return entries(sample.fat), entries(sample.slim)


def test_the_slim_image_holds_these_and_no_others(trees: tuple[dict[str, Entry], dict[str, Entry]]) -> None:
    _, slim = trees
    assert {path: (entry.mode & 0o7777, (entry.uid, entry.gid)) for path, entry in slim.items()} == WANTED
    assert not [path for path in slim if path.startswith(tuple(f"{empty}/" for empty in EMPTY))]


def test_each_file_is_as_in_the_original(trees: tuple[dict[str, Entry], dict[str, Entry]]) -> None:
    fat, slim = trees
    assert {path: vars(entry) for path, entry in slim.items()} == {path: vars(fat[path]) for path in slim}


def changes(image: str) -> tuple[str, list[str], int]:
    """The output of a container of the image, the changes that `docker diff` lists, and the exit code."""
    container = docker("create", image)
    try:
        said = docker("start", "--attach", container)
        return said, sorted(docker("diff", container).splitlines()), inspect(container, ".State.ExitCode")
    finally:
        docker("rm", "--force", "--volumes", container)


def test_a_slim_container_does_the_same_to_its_files(sample: Build) -> None:
    fat, slim = changes(sample.fat), changes(sample.slim)
    assert slim == fat
    assert fat[0].endswith("state: 0 failures")
    assert {"D /data/old", "A /data/second", "C /data/locked", "A /var/spool/out/deep"} <= set(fat[1])


def test_nothing_of_it_is_doubtful(sample: Build) -> None:
    assert sample.report["doubts"] == []


def test_a_program_that_the_container_made_is_doubtful(build: Callable[..., Build]) -> None:
    result = build("stateful", "--cmd", "made", "--strict")
    assert result.completed.returncode == Exit.DOUBTFUL, result.completed.stderr
    [doubt] = json.loads(result.completed.stdout)["doubts"]
    assert (doubt["code"], doubt["subject"]) == ("unknown-program", "/tmp/made")
    assert "/tmp/made" not in entries(result.slim)
