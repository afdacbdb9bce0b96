"""An image's files are read the same from any storage driver of the engine, and no path leads out of them."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import engines
import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from observe.image.saved_images import Line, image, layer

from slimtrace.engine import Engine
from slimtrace.engine.types import EngineInfo
from slimtrace.errors import SlimtraceError
from slimtrace.facts.image import Image
from slimtrace.facts.tree import FileTree, Kind
from slimtrace.observe.image import mount_namespace, overlay_lowerdirs
from slimtrace.observe.image.rootfs import Rootfs

pytestmark = pytest.mark.requires("root", "docker")

NUMBERS = count()
CAPABLE = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00".decode()

# Layers with entries that a storage driver or an unpacker easily loses.
ODD: tuple[tuple[Line, ...], ...] = (
    (
        "d/",
        "d/a = below",
        "d/b = 1",
        ("cap = x", {"mode": 0o755, "pax_headers": {"SCHILY.xattr.security.capability": CAPABLE}}),
        ("setuid = x", {"mode": 0o4755, "uid": 1234, "gid": 4321}),
        "one = shared",
        "two == one",
        "three == one",
        ("v/", {"mode": 0o1777}),
        "link -> v",
        "was -> v",
        "v/inside = 1",
        "o/",
        "o/gone = 1",
        "o/deep/",
        "o/deep/gone = 1",
        "p |",
        "null 1:3",
        ("exact = t", {"mtime": 1234567890.5}),
        "dangling -> /no/where",
        "\udcff\udcfe = not UTF-8",
        "new\nline = 1",
        "empty =  ",
    ),
    ("d/", "d/.wh.a", "d/b = 2", "o/", "o/.wh..wh..opq", "o/new = 1", ".wh.three", "two = its own"),
    (".wh.was", "was/", "was/real = 1", "l/", "l/m/", "l/m/n = 1", "one = shared", "four == one"),
)  # fmt: skip


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine.connect() as connected:
        yield connected


@pytest.fixture(scope="module")
def vfs_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[engines.OtherEngine]:
    with engines.vfs(tmp_path_factory.mktemp("vfs")) as found:
        yield found


def read(engine: Engine, tag: str, place: Path) -> tuple[FileTree, dict[str, object]]:
    """The image's tree, and by path the xattrs and the digest of the content."""
    place.mkdir()
    found: dict[str, object] = {}
    with Rootfs(engine.image(tag), engine, place) as files:
        tree = files.scan()
        found["order"] = list(tree.entries)
        for entry in tree:
            digest = ""
            if entry.kind is Kind.FILE:
                with files.open(entry.path) as file:
                    digest = hashlib.sha256(file.readall() or b"").hexdigest()
            found[entry.path] = (files.xattrs(entry.path), digest)
    return tree, found


def without_overlay(engine: Engine, tag: str, place: Path) -> tuple[FileTree, dict[str, object]]:
    """The same from the archive that the engine saves: its overlay directories are hidden."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_lower_dirs", lambda driver: ())
        return read(engine, tag, place)


def test_saved_layers_are_the_mounted_ones(engine: Engine, tmp_path: Path) -> None:
    tag = "slimtrace-storage-test:odd"
    try:
        engine.load([image(*(layer(*lines) for lines in ODD), tag=tag)])
        assert len(engine.image(tag).lower_dirs) == len(ODD)
        mounted = read(engine, tag, tmp_path / "mounted")
        assert without_overlay(engine, tag, tmp_path / "saved") == mounted
    finally:
        engine.remove_image(tag)
    tree, rest = mounted
    assert tree["/cap"].mode == 0o755
    assert rest["/cap"][0] == {"security.capability": CAPABLE.encode()}  # type: ignore[index]
    assert tree["/exact"].mtime_ns == 1_234_567_890_500_000_000
    assert {"/d/a", "/o/gone", "/o/deep", "/three"}.isdisjoint(tree.entries)
    assert (tree["/was"].kind, tree["/was/real"].kind) == (Kind.DIR, Kind.FILE)


@pytest.mark.requires("vfs")
def test_a_driver_that_is_no_overlay_has_the_same_files(
    engine: Engine, vfs_engine: engines.OtherEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = "slimtrace-storage-test:vfs"
    whole = image(*(layer(*lines) for lines in ODD), tag=tag)
    try:
        engine.load([whole])
        mounted = read(engine, tag, tmp_path / "mounted")
    finally:
        engine.remove_image(tag)
    monkeypatch.setenv("DOCKER_HOST", vfs_engine.host)
    with Engine.connect() as other:
        assert other.info().storage == "vfs"
        other.load([whole])
        assert other.image(tag).lower_dirs == ()
        assert read(other, tag, tmp_path / "vfs") == mounted
        other.remove_image(tag)


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3)
KINDS = st.sampled_from(["dir", "file", "link", "gone", "opaque"])


@st.composite
def stacks(draw: st.DrawFn) -> list[tuple[str, ...]]:
    """Layers as builders write them: the directories above an entry have entries, no path comes twice, and
    whiteouts are of paths that the layer does not have itself."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        lines: dict[tuple[str, ...], str] = {}
        for path in draw(st.lists(PATHS.map(tuple), max_size=6, unique=True)):
            above = [path[:length] for length in range(1, len(path))]
            if path in lines or any(lines.get(one, "/").endswith("/") is False for one in above):
                continue
            name, kind = "/".join(path), draw(KINDS)
            if kind == "gone":
                lines[path] = "/".join((*path[:-1], f".wh.{path[-1]}"))
            else:
                lines[path] = {
                    "dir": f"{name}/", "file": f"{name} = {draw(NAMES)}", "link": f"{name} -> {draw(NAMES)}",
                    "opaque": f"{name}/",
                }[kind]  # fmt: skip
                if kind == "opaque":
                    lines[(*path, "")] = f"{name}/.wh..wh..opq"
            for one in above:
                lines.setdefault(one, f"{'/'.join(one)}/")
        found.append(tuple(lines[path] for path in sorted(lines)))
    return found


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layers=stacks())
def test_any_layers_are_laid_as_the_engine_lays_them(
    engine: Engine, tmp_path: Path, layers: list[tuple[str, ...]]
) -> None:
    number = next(NUMBERS)
    tag = f"slimtrace-storage-test:any-{number}"
    try:
        engine.load([image(*(layer(*lines) for lines in layers), tag=tag)])
        mounted = read(engine, tag, tmp_path / f"{number}-mounted")
        assert without_overlay(engine, tag, tmp_path / f"{number}-saved") == mounted
    finally:
        engine.remove_image(tag)


# Layers by which a careless reader would write, read or remove files outside of the image.
HOSTILE: tuple[tuple[tuple[Line, ...], ...], ...] = (
    (("../canary = evil",),),
    (("{outside} -> x",), ("{outside}/canary = evil",)),
    (("a -> {outside}", "a/canary = evil"),),
    (("a -> {outside}",), ("a/canary = evil", "a/.wh.canary")),
    (("a -> {outside}",), ("a/.wh..wh..opq",)),
    (("a -> ../../../../../../../..{outside}", "a/canary = evil"),),
    (("h == {outside}/canary",),),
    (("h == ../../../../../../../../..{outside}/canary",),),
    (("a -> {outside}", "h == a/canary"),),
    ((".wh...",), (".wh..",)),
    (("d/", "d/.wh...", "d/.wh....", "d/.wh./../../canary"),),
    (("../../.wh.canary",),),
    (("a -> /proc/self/root", "a{outside}/canary = evil"),),
    (("disk 8:0", "canary -> {outside}/canary"),),
)


@pytest.mark.parametrize("layers", HOSTILE)
def test_nothing_outside_is_touched(layers: tuple[tuple[str, ...], ...], tmp_path: Path) -> None:
    """The archive comes from a fake engine: Docker would not load most of these layers."""
    outside, place = tmp_path / "outside", tmp_path / "work" / "place"
    canary = outside / "canary"
    outside.mkdir()
    place.mkdir(parents=True)
    canary.write_text("secret")
    (tmp_path / "work" / "canary").write_text("secret")
    before = _state(tmp_path)
    tars = [layer(*(line.format(outside=outside) for line in lines)) for lines in layers]
    fake = _FakeEngine(image(*tars), [*map(_diff_id, tars)])
    try:
        with Rootfs(fake.described, fake, place) as files:  # type: ignore[arg-type]
            tree = files.scan()
            for entry in tree:
                if entry.kind is Kind.FILE:
                    with files.open(entry.path) as file:
                        assert b"secret" not in (file.readall() or b"")
                else:
                    with pytest.raises(OSError, match=r".+"):
                        files.open(entry.path)
    except SlimtraceError as error:
        assert "cannot read the image's layers" in error.message
    assert _state(tmp_path) == before


def _diff_id(one: bytes) -> str:
    return f"sha256:{hashlib.sha256(one).hexdigest()}"


def _state(top: Path) -> dict[str, tuple[int, ...]]:
    found = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        if path.name != "place":  # the work directory, which is empty again
            found[str(path)] = (
                status.st_ino,
                status.st_mode,
                status.st_nlink,
                status.st_mtime_ns,
                status.st_size,
            )
    return found


class _FakeEngine:
    """The part of Engine that Rootfs calls."""

    def __init__(self, whole: bytes, layers: list[str]) -> None:
        self._whole = whole
        self.described = Image(id="sha256:0", reference="x", layers=tuple(layers))

    def info(self) -> EngineInfo:
        return EngineInfo("", "", "vfs", "2", "", (), (), "")

    def save(self, image: str) -> list[bytes]:
        return [self._whole]


@pytest.mark.parametrize(
    ("options", "dirs"),
    [
        (b"rw,lowerdir=/a:/b,upperdir=/u/1/fs,workdir=/u/1/work", ("/a", "/b")),
        (b"rw,lowerdir=3/fs:2/fs,upperdir=/s/4/fs,workdir=/s/4/work", ("/s/3/fs", "/s/2/fs")),
        (b"rw,lowerdir+=/a,lowerdir+=/b,upperdir=/u", ("/a", "/b")),
        (b"ro,lowerdir=/with\\040space:/b", ("/with space", "/b")),
        (b"ro,lowerdir=a:b", ()),
        (b"ro,lowerdir=/a\\134:b:/c", ()),
        (b"ro,lowerdir=/a,datadir+=/b", ()),
        (b"ro,lowerdir=", ()),
        (b"ro", ()),
    ],
)
def test_lower_directories_of_a_mountinfo_line(options: bytes, dirs: tuple[str, ...]) -> None:
    line = b"66 50 0:41 / /rootfs/overlayfs/ID rw,relatime shared:3 - overlay overlay " + options
    assert overlay_lowerdirs.parse_lower_dirs(line) == dirs


def test_no_container_no_overlay() -> None:
    assert overlay_lowerdirs.find_overlay("0" * 64) is None
    assert overlay_lowerdirs.parse_lower_dirs(b"22 1 8:1 / / rw - ext4 /dev/sda1 rw,lowerdir=/a") == ()
    assert overlay_lowerdirs.parse_lower_dirs(b"nothing") == ()


def test_an_overlay_as_another_namespace_sees_it(tmp_path: Path) -> None:
    """The directories exist only in another process's mount namespace, as with an engine from a snap."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    script = (
        f"mount -t tmpfs none {hidden} && mkdir {hidden}/low && touch {hidden}/low/file && echo ready && cat"
    )
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        view = os.open(f"/proc/{other.pid}/ns/mnt", os.O_RDONLY)
        with pytest.raises(OSError, match="No such file"):
            mount_namespace.mount_overlay([f"{hidden}/low"])
        root = mount_namespace.mount_overlay([f"{hidden}/low"], view)
        assert os.listdir(root) == ["file"]
        assert str(hidden) not in Path(f"/proc/{other.pid}/mountinfo").read_text().replace(f"{hidden} ", "")
        os.close(root)
        os.close(view)
        assert other.stdin is not None
        other.stdin.close()
    assert os.listdir(hidden) == []
