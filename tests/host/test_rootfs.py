"""Rootfs reads the image's files from the engine's layers, no path leads out of them; the work directory."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from slimtrace import owner
from slimtrace.engine import Engine
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.capture import TEXT_LIMIT
from slimtrace.facts.formats.elf import MAGIC
from slimtrace.facts.tree import Kind
from slimtrace.observe.image.contents import ImageContents
from slimtrace.observe.image.rootfs import Rootfs
from slimtrace.observe.workplace import Workplace, state_folder, sweep

TAG = "slimtrace-rootfs-test:1"
pytestmark = pytest.mark.requires("root")


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIMTRACE_STATE", str(tmp_path / "state"))


def build(layers: int, context: Path) -> None:
    """Build an image FROM scratch with so many layers; each adds a file."""
    context.mkdir()
    lines = ["FROM scratch"]
    for number in range(layers):
        (context / f"f{number}").write_text(str(number))
        lines.append(f"COPY f{number} /d/f{number}")
    (context / "Dockerfile").write_text("\n".join(lines) + "\n")
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    subprocess.run(
        ["docker", "build", "-q", "-t", TAG, context], check=True, env=environment, capture_output=True
    )


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine.connect() as connected:
        yield connected
        connected.remove_image(TAG)


@pytest.mark.requires("docker")
@pytest.mark.parametrize("layers", [1, 2, 40])
def test_layers_lie_over_each_other_and_leave_no_mount(engine: Engine, tmp_path: Path, layers: int) -> None:
    build(layers, tmp_path / "context")
    image = engine.image(TAG)
    assert len(image.lower_dirs) == len(image.layers) == layers
    with Workplace() as work, Rootfs(image, engine, work.path) as files:
        assert [path for path in files.scan().entries if path.startswith("/d/")] == sorted(
            f"/d/f{number}" for number in range(layers)
        )
        assert files.open(f"/d/f{layers - 1}").read() == str(layers - 1).encode()
        assert str(work.path) not in Path("/proc/self/mountinfo").read_text()
        with pytest.raises(OSError, match="Read-only"):
            os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=files._root)


@pytest.mark.requires("docker")
def test_as_many_layers_as_docker_allows(engine: Engine, tmp_path: Path) -> None:
    """127 lower directories, whose paths do not fit into the one page of mount(2)'s options."""
    build(2, tmp_path / "context")
    image = engine.image(TAG)
    many = []
    for number in range(126):
        folder = tmp_path / "layers" / ("x" * 60) / str(number)
        folder.mkdir(parents=True)
        (folder / f"g{number}").touch()
        many.append(str(folder))
    with Workplace() as work, Rootfs(replace(image, lower_dirs=tuple(many)), engine, work.path) as files:
        assert len(files.scan()) == 127


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with links and special files that lead to the file `secret` beside it."""
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "tree"
    (root / "dir").mkdir(parents=True)
    (root / "file").write_text("inside")
    (root / "abs").symlink_to(tmp_path / "secret")
    (root / "rel").symlink_to("../secret")
    (root / "up").symlink_to("..")
    (root / "proc").symlink_to("/proc/self/root")
    os.mkfifo(root / "fifo")
    os.mknod(root / "tty", stat.S_IFCHR | 0o666, os.makedev(5, 0))
    (root / "new\nline").touch()
    return root


@pytest.mark.parametrize(
    "path",
    [
        "/abs",
        "/rel",
        "/up/secret",
        "/../secret",
        "/dir/../../secret",
        "/proc/etc/passwd",
        "/dir",
        "/fifo",
        "/tty",
    ],
)
def test_only_regular_files_inside_open(tree: Path, path: str) -> None:
    with Rootfs.at(tree) as files, pytest.raises(OSError, match=r".+"):
        files.open(path)


def test_dots_stay_inside(tree: Path) -> None:
    with Rootfs.at(tree) as files:
        assert files.open("/../../file").read() == b"inside"


@pytest.mark.parametrize("path", ["/abs", "/up/secret", "/dir/../../secret", "/fifo"])
def test_the_same_without_openat2(tree: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimtrace.observe.image.resolve_beneath._OPENAT2", 100_000)
    with Rootfs.at(tree) as files:
        assert files.open("/file").read() == b"inside"
        with pytest.raises(OSError, match=r".+"):
            files.open(path)


def test_the_scan_tells_each_kind_and_follows_nothing(tree: Path) -> None:
    os.link(tree / "file", tree / "dir/same")
    with Rootfs.at(tree) as files:
        found = files.scan()
    assert {path: entry.kind for path, entry in found.entries.items()} == {
        "/": Kind.DIR, "/abs": Kind.LINK, "/dir": Kind.DIR, "/dir/same": Kind.FILE, "/fifo": Kind.FIFO,
        "/file": Kind.FILE, "/new\nline": Kind.FILE, "/proc": Kind.LINK, "/rel": Kind.LINK, "/tty": Kind.CHAR,
        "/up": Kind.LINK,
    }  # fmt: skip
    assert found.hardlinks("/file") == ("/dir/same", "/file")
    assert (found["/tty"].major, found["/tty"].minor) == (5, 0)
    assert found["/up"].target == ".."


def test_one_name_of_a_file_alone_has_no_inode(tree: Path, tmp_path: Path) -> None:
    os.link(tree / "file", tmp_path / "outside")
    with Rootfs.at(tree) as files:
        assert files.scan()["/file"].inode == 0


def test_contents_answer_and_remember(tree: Path) -> None:
    (tree / "big").touch()
    os.truncate(tree / "big", TEXT_LIMIT + 1)
    (tree / "endless.so").write_bytes(MAGIC + b"\2\1\1" + b"\1" * 100)
    with Rootfs.at(tree) as files:
        contents = ImageContents(files)
        assert (contents.text("/file"), contents.head("/file"), contents.elf("/file")) == (
            "inside",
            b"inside",
            None,
        )
        assert (contents.text("/big"), contents.text("/abs"), contents.head("/dir")) == (None, None, None)
        assert contents.elf("/endless.so") is None
    answers = contents.answers()
    assert answers.text("/file") == "inside"
    assert answers.texts == {"/file": "inside", "/big": None, "/abs": None}


def test_fifty_thousand_entries_are_scanned_without_much_ado(tmp_path: Path) -> None:
    for number in range(500):
        folder = tmp_path / "many" / str(number)
        folder.mkdir(parents=True)
        for name in range(99):
            (folder / str(name)).touch()
    with Rootfs.at(tmp_path / "many") as files:
        times = []
        for _ in range(3):
            began = time.process_time()
            count = len(files.scan())
            times.append(time.process_time() - began)
    assert count == 50_001
    print(f"{count} entries in {min(times):.3f} s")
    assert min(times) < 3  # it takes some 0.3 s; a quadratic scan would take minutes


def test_the_work_directory_is_private_and_goes() -> None:
    with Workplace() as work, Workplace() as second:
        assert work.path != second.path
        assert stat.S_IMODE(work.path.stat().st_mode) == 0o700
        assert work.path.parent == state_folder() / "run"
        work.require_space(1)
        work.require_space(1, engine="/not/here")
        for engine in ("", "/not/here", str(work.path), "/dev/shm"):
            with pytest.raises(SlimtraceError, match="are needed") as caught:
                work.require_space(1 << 60, engine, "drop /big")
            assert caught.value.exit_code is Exit.NO_SPACE
            assert caught.value.hint.startswith("drop /big, or make room")
        room = shutil.disk_usage(work.path).free
        work.require_space(room // 3 * 2)
        with pytest.raises(SlimtraceError, match="are needed"):  # both copies on one disk
            work.require_space(room // 3 * 2, engine=str(work.path))
        assert sweep() == 0
    assert list((state_folder() / "run").iterdir()) == []


KILLED = """
import time
from slimtrace.observe.workplace import Workplace
with Workplace() as work:
    print(work.path, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_run_left_is_swept() -> None:
    child = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    path = Path(child.stdout.readline().strip())
    assert sweep() == 0
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert path.is_dir()
    assert sweep() == 1
    assert not path.exists()


def test_a_state_folder_that_others_can_change_is_refused() -> None:
    runs = state_folder() / "run"
    runs.mkdir(parents=True)
    runs.chmod(0o777)
    with pytest.raises(SlimtraceError, match="only its owner"), Workplace():
        pass


@pytest.mark.parametrize("name", ["", "x", "1", "0:0", "99999999999:1", "-1:5", "{own}:1", "1:2:3"])
def test_no_malformed_owner_is_alive(name: str) -> None:
    name = name.format(own=os.getpid())
    assert not owner.alive(name)
    assert owner.alive(owner.current())
