"""Copies are exact: random images of several layers, copied whole or in part, and special files one by one.

The files of a copy are read without slimtrace's own code (see image_trees.py).
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
from image_trees import (
    ACL_DEFAULT,
    ACL_ENTRIES,
    LayerGenerator,
    acl,
    differences,
    load,
    mounted,
    pack,
    subset,
    walk,
)

from slimtrace import pipeline, store
from slimtrace.assemble.archive import image_id, stream
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
# Three fixed seeds and one random seed, which is part of the test's name. The xdist workers of one session
# derive the same one.
SESSION = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(random.SystemRandom().random()))
SEEDS = (1, 2, 3, random.Random(SESSION).randrange(1 << 32))


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine.connect() as connected:
        yield connected
        for tag in (SLIM, FAT):
            connected.remove_image(tag)


def load_random_image(seed: int, work: Path) -> None:
    """Load a random image of a random number of layers as FAT."""
    generator = LayerGenerator(seed)
    layers = [generator.layer(work / f"layer{number}") for number in range(random.Random(seed).randint(1, 5))]
    load(FAT, layers)


def copy(engine: Engine, wanted: set[bytes] | None, work: Path) -> Layer:
    """Copy the paths `wanted` of the image FAT, by default all, as the image SLIM."""
    image = engine.image(FAT)
    work.mkdir()
    with Rootfs(image, engine, work) as files:
        tree = files.scan()
        kept = tree.entries if wanted is None else map(paths.decode, wanted)
        layer = write_layer(files, tree, kept, work / "layer.tar")
    config = image_config(image, (layer.diff_id,))
    assert engine.load(stream(work / "layer.tar", layer, config, [SLIM])) == image_id(config)
    return layer


@pytest.mark.parametrize("seed", SEEDS)
def test_a_copy_holds_what_was_kept_and_nothing_else(engine: Engine, tmp_path: Path, seed: int) -> None:
    load_random_image(seed, tmp_path)
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
    """Special files that can be copied, and some that cannot: for each of the latter there is a doubt."""
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
    """A tree of files that a layer cannot hold, or can barely hold."""
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
    os.setxattr(root / "heir", ACL_DEFAULT, acl(*ACL_ENTRIES))
    for name in ("file", "fifo", "dir"):
        {"file": Path.touch, "fifo": os.mkfifo, "dir": Path.mkdir}[name](root / "heir" / name)
        for key in os.listxattr(root / "heir" / name):
            os.removexattr(root / "heir" / name, key)
    (root / "heir/link").symlink_to("file")
    here = os.open(root, os.O_RDONLY)
    # 3966 bytes: with the path of Docker's directory in front, some hundred bytes, PATH_MAX is nearly reached.
    for _ in range(15):
        os.mkdir(b"d" * 250, dir_fd=here)
        below = os.open(b"d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open(b"f" * 200, os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def copied(engine: Engine, root: Path, work: Path) -> Layer:
    """Load all of the directory `root` as the image SLIM."""
    with Rootfs.at(root) as files:
        tree = files.scan()
        layer = write_layer(files, tree, tree.entries, work / "layer.tar")
    engine.load(
        stream(
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
    """A sparse file of a terabyte takes no room in the source, and would take a terabyte in the image."""
    root, place = tmp_path / "source", Workplace()
    root.mkdir()
    (root / "lastlog").touch()
    os.truncate(root / "lastlog", 1 << 40)
    load(FAT, [pack(root / "nothing")])
    with Rootfs.at(root) as files, place:
        bench = pipeline.OpenedImage(engine, engine.image(FAT), place, files, files.scan())
        selection = Selection({"/lastlog": (Reason(Why.OPENED),)})
        with pytest.raises(SlimtraceError, match=r"MiB are needed") as caught:
            pipeline.assemble(pipeline.Request(FAT), bench, files, selection, SLIM)
        assert list(place.path.iterdir()) == []
    assert caught.value.exit_code is Exit.NO_SPACE
    assert "/lastlog" in caught.value.hint
    assert engine.image_id(SLIM) is None


ENVIRONMENTS = (
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


def test_a_capture_and_its_image_give_the_same_bytes_in_any_environment(engine: Engine, tmp_path: Path) -> None:
    load_random_image(4, tmp_path)
    image = engine.image(FAT)
    with Rootfs(image, engine, tmp_path) as files:
        tree = files.scan()
    used = random.Random(4).sample(sorted(tree.entries), len(tree) // 3)
    uses = tuple(FileUse(Use.READ, path, resolved=path, program="/a", pid=1) for path in used)
    store.save(Capture(image, tree, Trace(uses), Answers()), tmp_path / "capture")
    found = []
    out = tmp_path / "artifacts"  # one folder for all runs: docker-run.txt has the paths of the profiles
    for environment in ENVIRONMENTS:
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
            env={**os.environ, **environment},
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
