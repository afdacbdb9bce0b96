"""A layer holds exactly the kept files, and Docker unpacks them unchanged."""

import io
import json
import os
import resource
import shutil
import socket
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slimtrace.assemble.archive import image_id, stream, write_archive
from slimtrace.assemble.layer import Layer, write_layer
from slimtrace.engine import Engine
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.image import Image
from slimtrace.facts.tree import Entry, FileTree, Kind
from slimtrace.observe.image.rootfs import Rootfs
from slimtrace.reason.image.image_config import image_config

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service+ep
TAG = "slimtrace-layer-test:1"


def config_of(layer: Layer) -> dict[str, object]:
    return image_config(Image("sha256:0", "test", config={"Cmd": ["/x"]}), (layer.diff_id,))


def described(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything that a layer must carry, by path: metadata, xattrs, content, hardlinked names."""
    with Rootfs.at(root) as files:
        return described_by(files)


def described_by(files: Rootfs) -> dict[str, tuple[object, ...]]:
    tree = files.scan()
    found = {}
    for entry in tree:
        content = files.open(entry.path).read() if entry.kind is Kind.FILE else b""
        same = tree.hardlinks(entry.path) if entry.inode else ()
        device = (entry.major, entry.minor)
        found[entry.path] = (
            entry.kind, oct(entry.mode), entry.uid, entry.gid, entry.size, entry.mtime_ns, entry.target, device,
            files.xattrs(entry.path), content, same,
        )  # fmt: skip
    return found


def below_root(found: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    """All entries but the root directory: Docker ignores it (moby pkg/archive Unpack), podman does not."""
    return {path: facts for path, facts in found.items() if path != "/"}


def make_everything(root: Path) -> None:
    """Make one entry of each kind, and attributes that other tools have lost."""
    root.chmod(0o751)
    (root / "empty").mkdir(mode=0o700)
    (root / "sticky").mkdir()
    (root / "sticky").chmod(0o1777)
    (root / "a.txt").write_bytes(b"hello")
    os.chown(root / "a.txt", 12345, 3_000_000_000)
    (root / "a.txt").chmod(0o6754)
    os.link(root / "a.txt", root / "b-link")
    (root / "zero").write_bytes(b"")
    (root / "capable").write_bytes(b"#!")
    os.setxattr(root / "capable", "security.capability", CAPABILITY)
    os.link(root / "capable", root / "capable-too")
    os.setxattr(root / "a.txt", "user.bin", b"\0\xff\n=\x80")
    os.setxattr(root / "empty", "trusted.x", b"t")
    (root / "link").symlink_to("/a.txt")
    (root / "long").symlink_to("/l" * 150)
    os.link(root / "link", root / "link-too", follow_symlinks=False)
    os.chown(root / "link", 7, 8, follow_symlinks=False)
    os.mkfifo(root / "fifo", 0o640)
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "disk", stat.S_IFBLK | 0o600, os.makedev(253, 300_000))
    (root / ("n" * 200)).mkdir()
    (root / ("n" * 200) / ("m" * 200)).write_bytes(b"deep")
    for name in (b"\xff\xfe", b"new\nline", "ünï😀".encode(), b" sp ace ", b"-dash", b"a\\b"):
        (root / os.fsdecode(name)).write_bytes(name)
    for number, path in enumerate(sorted(root.rglob("*"))):
        os.utime(path, ns=(0, 1_600_000_000_123_456_789 + number), follow_symlinks=False)
    os.utime(root / "zero", ns=(0, 0))
    os.utime(root, ns=(0, 1_500_000_000_000_000_001))


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine.connect() as connected:
        yield connected
        connected.remove_image(TAG)


def load(engine: Engine, source: Path, work: Path) -> Image:
    """Load all of `source` into Docker as an image of one layer."""
    with Rootfs.at(source) as files:
        tree = files.scan()
        layer = write_layer(files, tree, tree.entries, work / "layer.tar")
    config = config_of(layer)
    found = engine.load(stream(work / "layer.tar", layer, config, [TAG]))
    assert found == image_id(config)
    return engine.image(TAG)


@pytest.mark.requires("docker", "root")
def test_docker_unpacks_every_kind_of_entry_as_it_was(engine: Engine, tmp_path: Path) -> None:
    source, work = tmp_path / "source", tmp_path / "work"
    source.mkdir()
    work.mkdir()
    make_everything(source)
    image = load(engine, source, work)
    with Rootfs(image, engine, work) as files:
        assert below_root(described_by(files)) == below_root(described(source))


FILES = st.builds(lambda data: ("file", data), st.binary(max_size=2000))
THINGS = FILES | st.sampled_from([("dir", b""), ("fifo", b""), ("link", b"t"), ("hard", b""), ("char", b"")])
BYTE_NAMES = (
    st.binary(min_size=1, max_size=12)
    .filter(lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b".."))
    .filter(lambda name: not name.startswith(b".wh."))
)
TREES = st.lists(
    st.tuples(
        st.lists(BYTE_NAMES, min_size=1, max_size=3),
        THINGS,
        st.integers(0, 0o7777),
        st.integers(0, 1 << 31),
        st.integers(0, 4 * 10**18),
        st.dictionaries(
            st.sampled_from(["user.a", "user.ü", "trusted.b"]), st.binary(min_size=1, max_size=20), max_size=2
        ),
    ),
    max_size=12,
)


def make(
    root: Path, found: list[tuple[list[bytes], tuple[str, bytes], int, int, int, dict[str, bytes]]]
) -> None:
    """Make a random tree; an entry that cannot be made (a name twice, a file as a directory) is left out."""
    last = None
    for names, (kind, data), mode, owner, when, xattrs in found:
        path = root.joinpath(*map(os.fsdecode, names))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "file":
                path.open("xb").write(data)
                last = path
            elif kind == "dir":
                path.mkdir()
            elif kind == "fifo":
                os.mkfifo(path)
            elif kind == "char":
                os.mknod(path, stat.S_IFCHR, os.makedev(5, owner % 4096))
            elif kind == "link":
                path.symlink_to(os.fsdecode(b"../" * (mode % 4) + names[0]))
            elif last:
                os.link(last, path)
                continue
            os.chown(path, owner, owner // 2, follow_symlinks=False)
            if kind != "link":
                path.chmod(mode)
            if kind in ("file", "dir"):
                for name, value in xattrs.items():
                    os.setxattr(path, name, value)
            os.utime(path, ns=(0, when), follow_symlinks=False)
        except (FileExistsError, NotADirectoryError, FileNotFoundError):
            continue


@pytest.mark.requires("docker", "root")
@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=TREES)
def test_docker_unpacks_any_tree_as_it_was(engine: Engine, tmp_path: Path, found: list[object]) -> None:
    work = tmp_path / f"w{len(list(tmp_path.iterdir()))}"
    (work / "source").mkdir(parents=True)
    make(work / "source", found)  # type: ignore[arg-type]
    image = load(engine, work / "source", work)
    with Rootfs(image, engine, work) as files:
        assert below_root(described_by(files)) == below_root(described(work / "source"))
    engine.remove_image(TAG)
    shutil.rmtree(work)


@pytest.mark.requires("root")
def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    make_everything(tmp_path / "one")
    subprocess.run(["cp", "-a", f"{tmp_path}/one/.", f"{tmp_path}/two"], check=True)
    layers = []
    for name in ("one", "two"):
        with Rootfs.at(tmp_path / name) as files:
            tree = files.scan()
            layers.append(write_layer(files, tree, reversed(list(tree.entries)), tmp_path / f"{name}.tar"))
    assert layers[0] == layers[1]
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def write(tmp_path: Path, *kept: str) -> tuple[Layer, list[tarfile.TarInfo]]:
    with Rootfs.at(tmp_path / "source") as files:
        layer = write_layer(files, files.scan(), kept, tmp_path / "layer.tar")
    with tarfile.open(tmp_path / "layer.tar") as tar:
        return layer, tar.getmembers()


def test_only_what_is_kept_and_its_parents(tmp_path: Path) -> None:
    (tmp_path / "source/a/b").mkdir(parents=True)
    (tmp_path / "source/a/b/c").write_bytes(b"1")
    (tmp_path / "source/a/d").write_bytes(b"2")
    layer, members = write(tmp_path, "/a/b/c")
    assert [member.name for member in members] == [".", "a", "a/b", "a/b/c"]
    assert (layer.entries, layer.file_bytes, layer.size) == (4, 1, (tmp_path / "layer.tar").stat().st_size)


def test_a_hardlink_whose_first_name_is_not_kept_becomes_the_file(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a").write_bytes(b"same")
    for name in ("b", "c"):
        os.link(tmp_path / "source/a", tmp_path / "source" / name)
    layer, members = write(tmp_path, "/c", "/b")
    shown = [(member.name, member.islnk(), member.linkname, member.size) for member in members[1:]]
    assert shown == [("b", False, "", 4), ("c", True, "b", 0)]
    assert layer.file_bytes == 4


def test_sockets_and_whiteout_names_are_skipped_and_told(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/.wh.x").write_bytes(b"")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "source/s"))
    layer, members = write(tmp_path, "/s", "/.wh.x")
    listener.close()
    assert layer.skipped == ("/.wh.x", "/s")
    assert [member.name for member in members] == ["."]


def test_a_path_that_the_image_has_not(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(SlimtraceError, match="no such path"):
        write(tmp_path, "/nope")
    assert not (tmp_path / "layer.tar").exists()


class Zeros(io.RawIOBase):
    """An endless file of zeros."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return len(buffer)


class OneFile:
    """A source whose every file is the same stream."""

    def __init__(self, stream: io.RawIOBase) -> None:
        self.stream = stream

    def open(self, path: str) -> io.RawIOBase:
        return self.stream

    def xattrs(self, path: str) -> dict[str, bytes]:
        return {}


def one_file(size: int) -> FileTree:
    return FileTree({"/": Entry("/", Kind.DIR, 0o755), "/big": Entry("/big", Kind.FILE, size=size)})


def test_a_file_that_shrank_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(SlimtraceError, match="shorter"):
        write_layer(OneFile(io.BytesIO(b"short")), one_file(10), ["/big"], tmp_path / "layer.tar")  # type: ignore[arg-type]
    assert not (tmp_path / "layer.tar").exists()


@pytest.mark.parametrize("size", [8 << 30, (8 << 30) - 1, 1 << 40])
def test_sizes_beyond_what_ustar_can_say(tmp_path: Path, size: int) -> None:
    """The size is in a PAX record. RLIMIT_FSIZE ends the writing early, so that the content is not written."""
    written = tmp_path / "layer.tar"
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        Path.unlink = lambda self, missing_ok=False: None  # type: ignore[method-assign]  # keep what was written
        try:
            write_layer(OneFile(Zeros()), one_file(size), ["/big"], written)
        except SlimtraceError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    with written.open("rb") as file:
        header = file.read(8192)
    with tarfile.open(fileobj=io.BytesIO(header + bytes(1 << 20)), mode="r|") as members:
        assert [members.next().size, members.next().size] == [0, size]


@pytest.mark.requires("root")
def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", tmp_path], check=True)
    try:
        with pytest.raises(SlimtraceError) as caught:
            write_layer(OneFile(Zeros()), one_file(4 << 20), ["/big"], tmp_path / "layer.tar")
        assert caught.value.exit_code is Exit.NO_SPACE
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.requires("docker", "root")
def test_an_archive_file_loads_too(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    layer, _ = write(tmp_path, "/")
    config = config_of(layer)
    assert write_archive(tmp_path / "layer.tar", layer, config, [TAG], tmp_path / "a.tar") == image_id(config)
    loaded = subprocess.run(
        ["docker", "load", "-i", tmp_path / "a.tar"], capture_output=True, check=True, text=True
    )
    assert TAG in loaded.stdout
    shown = json.loads(subprocess.check_output(["docker", "image", "inspect", TAG]))[0]
    assert (shown["Id"], shown["RootFS"]["Layers"]) == (image_id(config), [layer.diff_id])
    assert shown["Config"]["Cmd"] == ["/x"]
