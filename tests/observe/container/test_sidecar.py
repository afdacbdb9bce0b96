"""A sidecar: how it is launched, and where it finds the directories that only the container has."""

import os
import signal
import tarfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from slimtrace.engine import Launch
from slimtrace.observe.container.sidecar import links_archive, resolve_in_container, sidecar_launch


def test_a_sidecar_is_launched_as_an_exec_would_be() -> None:
    given = Launch(
        cmd=("server",),
        env={"A": "b"},
        user="app",
        workdir="/srv",
        binds=("/x:/y",),
        network="none",
        read_only=True,
    )
    found = sidecar_launch(given, "5bd42c87fab2", "sh -c 'echo \"a b\"'")
    assert found.entrypoint == ("sh", "-c", 'echo "a b"')
    assert (found.cmd, found.env, found.user, found.workdir) == (None, {"A": "b"}, "app", "/srv")
    assert (found.network, found.pid_mode) == ("container:5bd42c87fab2",) * 2
    assert found.volumes_from == ("5bd42c87fab2",)
    assert not found.read_only


@pytest.mark.parametrize(
    ("directories", "linked"),
    [
        ((), ()),
        (("/run/app",), ("/run/app",)),
        (("/run/app", "/run", "/run/app/x"), ("/run",)),
        (("/run", "/running"), ("/run", "/running")),
        (("/", "/tmp/"), ("/tmp",)),
        (("/a\nb\udcff",), ("/a\nb\udcff",)),
    ],
)
def test_links_to_private_directories(directories: tuple[str, ...], linked: tuple[str, ...]) -> None:
    with tarfile.open(fileobj=BytesIO(links_archive(directories))) as archive:
        found = {member.name: member.linkname for member in archive if member.issym()}
    assert found == {path.removeprefix("/"): "/proc/1/root" + path for path in linked}


@pytest.fixture
def rooted(tmp_path: Path) -> Iterator[int]:
    """A process whose root is a directory with symlinks; its pid."""
    (tmp_path / "run/app").mkdir(parents=True)
    (tmp_path / "var").mkdir()
    (tmp_path / "var/run").symlink_to("/run")
    (tmp_path / "var/up").symlink_to("../../../run/app")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "out").symlink_to(tmp_path)
    # a forked Python and no other program, since that would have to be in the new root
    child = os.fork()
    if not child:
        os.chroot(tmp_path)
        signal.pause()
        os._exit(0)
    await_chroot(child, tmp_path)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def await_chroot(child: int, root: Path) -> None:
    while os.readlink(f"/proc/{child}/root") != str(root):
        time.sleep(0.01)


@pytest.mark.requires("root")
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/run/app", "/run/app"),
        ("/var/run/app", "/run/app"),
        ("/var/up", "/run/app"),
        ("/var/./run/../run//app/", "/run/app"),
        ("/absent/there", "/absent/there"),
        ("/loop", "/loop"),
        ("/../..", "/"),
    ],
)
def test_a_path_is_resolved_in_the_container(rooted: int, path: str, expected: str) -> None:
    assert resolve_in_container(rooted, path) == expected


@pytest.mark.requires("root")
def test_an_absolute_link_is_resolved_in_the_container(rooted: int, tmp_path: Path) -> None:
    """An absolute link leads to the path of that name in the container, not to the host's directory."""
    assert resolve_in_container(rooted, "/out/run") == f"{tmp_path}/run"
