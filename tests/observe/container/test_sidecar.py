"""A command beside a container: how it is launched, and where the container's own directories are found."""

import os
import signal
import tarfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from slimtrace.engine import Launch
from slimtrace.observe.container.sidecar import beside, links, real


def test_it_is_launched_as_an_exec_would_be() -> None:
    given = Launch(
        cmd=("server",),
        env={"A": "b"},
        user="app",
        workdir="/srv",
        binds=("/x:/y",),
        network="none",
        read_only=True,
    )
    found = beside(given, "5bd42c87fab2", "sh -c 'echo \"a b\"'")
    assert found.entrypoint == ("sh", "-c", 'echo "a b"')
    assert (found.cmd, found.env, found.user, found.workdir) == (None, {"A": "b"}, "app", "/srv")
    assert (found.network, found.pid_mode) == ("container:5bd42c87fab2",) * 2
    assert found.volumes_from == ("5bd42c87fab2",)
    assert not found.read_only


@pytest.mark.parametrize(
    ("own", "linked"),
    [
        ((), ()),
        (("/run/app",), ("/run/app",)),
        (("/run/app", "/run", "/run/app/x"), ("/run",)),
        (("/run", "/running"), ("/run", "/running")),
        (("/", "/tmp/"), ("/tmp",)),
        (("/a\nb\udcff",), ("/a\nb\udcff",)),
    ],
)
def test_links(own: tuple[str, ...], linked: tuple[str, ...]) -> None:
    with tarfile.open(fileobj=BytesIO(links(own))) as archive:
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
    # chroot(2) between fork and exec: what is executed then must be in there, so it stays with Python
    child = os.fork()
    if not child:
        os.chroot(tmp_path)
        signal.pause()
        os._exit(0)
    ready(child, tmp_path)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def ready(child: int, root: Path) -> None:
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
def test_where_a_path_leads(rooted: int, path: str, expected: str) -> None:
    assert real(rooted, path) == expected


@pytest.mark.requires("root")
def test_a_link_out_of_the_root_leads_nowhere_else(rooted: int, tmp_path: Path) -> None:
    """An absolute link is the container's: the same text, and not the host's directory."""
    assert real(rooted, "/out/run") == f"{tmp_path}/run"
