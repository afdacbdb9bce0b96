"""The inventory of real images: equal from the engine's archive and from its overlay directories."""

import functools
from collections.abc import Callable
from dataclasses import replace

import pytest

from slimtrace.engine import Engine
from slimtrace.observe.image.archive_layers import layers_of_archive
from slimtrace.observe.image.overlay_layers import layers_of_directories
from slimtrace.queries import layers_of
from slimtrace.reason.image.inventory import Inventory, take_inventory

pytestmark = pytest.mark.requires("docker", "images", "root")

MADE = 5_000_000 + 200_000 + 300_000 + 400_000 + 500_000 + 600_000 + 700_000


def silent(_count: int) -> None:
    pass


@functools.cache
def both_inventories(name: str) -> tuple[Inventory, Inventory]:
    with Engine.connect() as engine:
        image = engine.image(name)
        if not image.lower_dirs:
            pytest.skip("the engine's storage is no overlay")
        archived = take_inventory(layers_of_archive(engine.save(image.id), image.layers))
        return archived, take_inventory(layers_of_directories(image.lower_dirs[::-1], silent))


@pytest.mark.parametrize("name", ["layered", "edge", "never-listens"])
def test_the_two_ways_agree(image: Callable[[str], str], name: str) -> None:
    archived, stored = both_inventories(image(name))
    assert archived == stored
    assert archived.files > 0


def test_without_overlay_directories_the_archive_is_read(image: Callable[[str], str]) -> None:
    with Engine.connect() as engine:
        found = replace(engine.image(image("edge")), lower_dirs=())
        counted: list[int] = []
        assert take_inventory(layers_of(engine, found, counted.append)) == both_inventories(image("edge"))[0]
        assert counted == sorted(counted)
        assert counted[-1] >= found.size


def test_overlay_directories_that_are_gone_are_no_failure(image: Callable[[str], str]) -> None:
    with Engine.connect() as engine:
        found = engine.image(image("edge"))
        gone = replace(found, lower_dirs=tuple(f"{path}-gone" for path in found.lower_dirs))
        inventories = [take_inventory(layers_of(engine, each, silent)) for each in (gone, found)]
        assert inventories[0] == inventories[1]


def test_what_layers_hide(image: Callable[[str], str]) -> None:
    found, _ = both_inventories(image("layered"))
    base, made, over, emptied, swapped, linked, copied, *_ = found.layers
    assert (base.replaced, base.removed, made.files, made.size) == (0, 0, 7, MADE)
    assert (over.replaced_bytes, over.removed_bytes) == (200_000, 300_000)
    assert (emptied.replaced, emptied.removed, emptied.removed_bytes) == (0, 1, 400_000)
    assert (swapped.replaced_bytes, swapped.removed_bytes) == (700_000, 500_000)
    # A new hardlink makes overlayfs copy the file up.
    assert (linked.files, linked.size, linked.removed_bytes) == (1, 600_000, 600_000)
    assert copied.size > 10_000_000
    assert found.hidden == 200_000 + 300_000 + 400_000 + 700_000 + 500_000 + 600_000


def test_copies_and_rights(image: Callable[[str], str]) -> None:
    found, _ = both_inventories(image("layered"))
    [kept] = [each for each in found.duplicates.worst if "/srv/one/kept" in each.paths]
    assert (kept.size, kept.count, kept.paths) == (
        5_000_000, 3, ("/srv/four/copy", "/srv/one/copy", "/srv/one/kept"),
    )  # fmt: skip
    rights = {file.path: file for file in found.powerful}
    own = rights["/srv/one/setuid"]
    assert (own.mode, own.uid, own.gid) == (0o4755, 1000, 50)
    assert rights["/usr/bin/passwd"].mode & 0o4000
    capable, _ = both_inventories(image("edge"))
    assert any(file.capabilities.startswith("cap_") for file in capable.powerful)
    assert found.packages["deb"] > 100
