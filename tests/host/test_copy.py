"""The copy is exact: random images of several layers, of which all or some is kept, and odd things one by one.

What a copy holds is read by other means than slimtrace's own (see copies.py).
"""

import json
import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from copies import DEFAULT, GRANTS, Grower, acl, differences, load, mounted, pack, subset, walk

from slimtrace import pipeline, store
from slimtrace.assemble.archive import archive, image_id
from slimtrace.assemble.layer import Layer, write_layer
from slimtrace.engine import Engine
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts import paths
from slimtrace.facts.capture import Answers, Capture
from slimtrace.facts.events import FileUse, Trace, Use
from slimtrace.facts.image import Image
from slimtrace.facts.selection import Reason, Selection, Why
from slimtrace.observe.image.rootfs import Rootfs
from slimtrace.observe.workplace import Workplace
from slimtrace.reason.image.image_config import image_config

pytestmark = pytest.mark.requires("docker", "root")
FAT, SLIM = "slimtrace-copy-test/fat:1", "slimtrace-copy-test/slim:1"
# Always the same, and one that nobody has tried: its number is in the test's name.
# The workers of one session agree on it.
SESSION = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(random.SystemRandom().random()))
SEEDS = (1, 2, 3, random.Random(SESSION).randrange(1 << 32))


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine.connect() as connected:
        yield connected
        for tag in (SLIM, FAT):
            connected.remove_image(tag)


def grow(seed: int, work: Path) -> None:
    """A random image of a random number of layers."""
    grower = Grower(seed)
    layers = [grower.layer(work / f"layer{number}") for number in range(random.Random(seed).randint(1, 5))]
    load(FAT, layers)


def copy(engine: Engine, wanted: set[bytes] | None, work: Path) -> Layer:
    """What is wanted of the image, by default all, as another image."""
    image = engine.image(FAT)
    work.mkdir()
    with Rootfs(image, engine, work) as files:
        tree = files.scan()
        kept = tree.entries if wanted is None else map(paths.decode, wanted)
        layer = write_layer(files, tree, kept, work / "layer.tar")
    config = image_config(image, (layer.diff_id,))
    assert engine.load(archive(work / "layer.tar", layer, config, [SLIM])) == image_id(config)
    return layer


@pytest.mark.parametrize("seed", SEEDS)
def test_a_copy_holds_what_was_kept_and_nothing_else(engine: Engine, tmp_path: Path, seed: int) -> None:
    grow(seed, tmp_path)
    with mounted(FAT, tmp_path / "fat") as root:
        source = walk(root)
    layer = copy(engine, None, tmp_path / "all")
    with mounted(SLIM, tmp_path / "slim") as root:
        assert differences(source, walk(root)) == {}
    assert (layer.skipped, layer.doubts) == ((), ())
    some = {path for path in sorted(source) if random.Random(f"{seed} {path!r}").random() < 0.3}
    copy(engine, some, tmp_path / "some")
    with mounted(SLIM, tmp_path / "slim") as root:
        assert differences(subset(source, some), walk(root)) == {}


def test_what_a_layer_cannot_hold_is_told(engine: Engine, tmp_path: Path) -> None:
    """Odd things that copy, beside those that cannot; of the latter nothing goes wrong in silence."""
    root = tmp_path / "source"
    make_odd(root)
    source = walk(root)
    layer = copied(engine, root, tmp_path)
    with mounted(SLIM, tmp_path / "slim") as found:
        copied_facts = walk(found)
    lost = {b"/.wh.a", b"/.wh.a/below", b"/x/.wh..wh..opq", b"/white", b"/sock"}
    changed = {b"/early", b"/late", b"/late-link", b"/attributes"}
    assert set(differences(source, copied_facts)) == lost | changed
    assert {path for path in source if path not in copied_facts} == lost
    assert set(map(paths.encode, layer.skipped)) == lost
    assert {doubt.code: doubt.subject for doubt in layer.doubts} == {
        "attribute": "/attributes", "socket": "/sock", "time": "/early", "whiteout": "/.wh.a",
    }  # fmt: skip
    assert copied_facts[b"/attributes"].xattrs == {"user.kept": b"kept", "user.\udcff\n": b"odd"}


def make_odd(root: Path) -> None:
    root.mkdir()
    for name, when in (("early", -1), ("late", 10**19), ("in-2262", 9_223_372_036 * 10**9)):
        (root / name).touch()
        os.utime(root / name, ns=(0, when))
    for name, when in (("early-link", -(10**18)), ("late-link", 10**19)):
        (root / name).symlink_to("nowhere")
        os.utime(root / name, ns=(0, when), follow_symlinks=False)
    (root / "attributes").touch()
    for key, value in (
        ("user.kept", b"kept"), (b"user.\xff\n", b"odd"), ("user.a=b", b"c"), ("user.empty", b""),
    ):  # fmt: skip
        os.setxattr(root / "attributes", key, value)
    (root / ".wh.a").mkdir()
    (root / ".wh.a/below").touch()
    (root / "x").mkdir()
    (root / "x/.wh..wh..opq").touch()
    (root / "x/a.wh.b").touch()
    os.mknod(root / "white", stat.S_IFCHR, 0)
    os.mknod(root / "sock", stat.S_IFSOCK)
    (root / "heir").mkdir()
    os.setxattr(root / "heir", DEFAULT, acl(*GRANTS))
    for name in ("file", "fifo", "dir"):
        {"file": Path.touch, "fifo": os.mkfifo, "dir": Path.mkdir}[name](root / "heir" / name)
        for key in os.listxattr(root / "heir" / name):
            os.removexattr(root / "heir" / name, key)
    (root / "heir/link").symlink_to("file")
    here = os.open(root, os.O_RDONLY)
    # 3966 bytes: Docker puts some hundred of its own in front, and has PATH_MAX for both.
    for _ in range(15):
        os.mkdir(b"d" * 250, dir_fd=here)
        below = os.open(b"d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open(b"f" * 200, os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def copied(engine: Engine, root: Path, work: Path) -> Layer:
    """All of a directory as an image."""
    with Rootfs.at(root) as files:
        tree = files.scan()
        layer = write_layer(files, tree, tree.entries, work / "layer.tar")
    engine.load(
        archive(
            work / "layer.tar",
            layer,
            image_config(Image("", "", config={"Cmd": ["/x"]}), (layer.diff_id,)),
            [SLIM],
        )
    )
    return layer


def test_a_whiteout_that_hides_nothing_is_passed_over(engine: Engine, tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"layer{number}/dir{number}").mkdir(parents=True)
    load(FAT, [pack(tmp_path / "layer0"), pack(tmp_path / "layer1", [b"/dir1/gone"])])
    with Rootfs(engine.image(FAT), engine, tmp_path) as files:
        assert set(files.scan().entries) == {"/", "/dir0", "/dir1"}


def test_a_file_of_many_holes_is_refused_by_name_before_anything_is_written(
    engine: Engine, tmp_path: Path
) -> None:
    """A terabyte of zeros takes no room in the source and would take all of it in the image."""
    root, place = tmp_path / "source", Workplace()
    root.mkdir()
    (root / "lastlog").touch()
    os.truncate(root / "lastlog", 1 << 40)
    load(FAT, [pack(root / "nothing")])
    with Rootfs.at(root) as files, place:
        bench = pipeline.Bench(engine, engine.image(FAT), place, files, files.scan())
        selection = Selection({"/lastlog": (Reason(Why.OPENED),)})
        with pytest.raises(SlimtraceError, match=r"MiB are needed") as caught:
            pipeline.assemble(pipeline.Request(FAT), bench, files, selection, SLIM)
        assert list(place.path.iterdir()) == []
    assert caught.value.exit_code is Exit.NO_SPACE
    assert "/lastlog" in caught.value.hint
    assert engine.image_id(SLIM) is None


SURROUNDINGS = (
    {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
    {
        "PYTHONHASHSEED": "1",
        "LC_ALL": "POSIX",
        "TZ": "Pacific/Kiritimati",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    },
    {"PYTHONHASHSEED": "random"},
)


def test_a_capture_and_its_image_give_the_same_bytes_whoever_asks(engine: Engine, tmp_path: Path) -> None:
    grow(4, tmp_path)
    image = engine.image(FAT)
    with Rootfs(image, engine, tmp_path) as files:
        tree = files.scan()
    used = random.Random(4).sample(sorted(tree.entries), len(tree) // 3)
    uses = tuple(FileUse(Use.READ, path, resolved=path, program="/a", pid=1) for path in used)
    store.save(Capture(image, tree, Trace(uses), Answers()), tmp_path / "capture")
    found = []
    out = tmp_path / "artifacts"  # the same for all: docker-run.txt says where the profiles lie
    for surroundings in SURROUNDINGS:
        words = [
            "build",
            "--from",
            tmp_path / "capture",
            "--tag",
            SLIM,
            "--artifacts",
            out,
            "--json",
            "--no-verify",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "slimtrace", *words],
            env={**os.environ, **surroundings},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        made = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        found.append(
            (
                report["slim"]["id"],
                report["files"],
                [made[name] for name in sorted(made) if name not in ("creport.json", "SHA256SUMS")],
            )
        )
        shutil.rmtree(out)
        engine.remove_image(SLIM)
    assert found[0] == found[1] == found[2]
    assert len(found[0][1]) >= len(used)
