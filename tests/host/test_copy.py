"""The copy is exact: random images of several layers, of which all or some is kept, and what else was lost by others.

What a copy holds is read by other means than slimtrace's own (see copies.py).
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from copies import Grower, differences, load, mounted, subset, walk

from slimtrace.assemble.archive import archive, image_id
from slimtrace.assemble.layer import Layer, write_layer
from slimtrace.engine import Engine
from slimtrace.facts import paths
from slimtrace.facts.image import Image
from slimtrace.observe.rootfs import Rootfs
from slimtrace.reason.imageconfig import image_config

pytestmark = pytest.mark.requires("docker", "root")
FAT, SLIM = "slimtrace-copy-test/fat:1", "slimtrace-copy-test/slim:1"
# Always the same, and one that nobody has tried: its number is in the test's name.
SEEDS = (1, 2, 3, random.SystemRandom().randrange(1 << 32))


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
