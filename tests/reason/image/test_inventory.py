"""The inventory of an image's layers."""

from collections.abc import Mapping

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.facts import paths
from slimtrace.facts.formats.file_capabilities import read
from slimtrace.facts.layers import Layer, LayerEntry
from slimtrace.facts.tree import Kind
from slimtrace.reason.image.inventory import (
    Copies,
    Inventory,
    PrivilegedFile,
    SizedPath,
    packages,
    take_inventory,
)
from slimtrace.reason.image.layer_stack import LayerStack


def layer(spec: Mapping[str, str]) -> Layer:
    """``{"/a": "file 10 x", "/b": "link", "/c": "dir", "/d": "same /a", "/e": "gone", "/f": "opaque"}``: a
    file has its bytes and a letter for its content; words with ``=`` set fields."""
    entries, whiteouts, opaques = {}, set(), set()
    for path, line in spec.items():
        kind, *rest = line.split()
        given = [word.split("=") for word in rest if "=" in word]
        more = {key: int(value, 8) if key == "mode" else int(value) for key, value in given}
        words = [word for word in rest if "=" not in word]
        if kind == "gone":
            whiteouts.add(path)
        elif kind == "opaque":
            opaques.add(path)
        elif kind == "same":
            entries[path] = LayerEntry(path, Kind.FILE, same_as=words[0])
        elif kind == "file":
            digest = words[1].encode() if len(words) > 1 else path.encode()
            entries[path] = LayerEntry(path, Kind.FILE, size=int(words[0]), digest=digest, **more)
        else:
            entries[path] = LayerEntry(path, Kind(kind))
    return Layer(entries, frozenset(whiteouts), frozenset(opaques))


def taken(*layers: Mapping[str, str]) -> Inventory:
    return take_inventory([layer(spec) for spec in layers])


def hidden(found: Inventory) -> list[tuple[int, int, int, int]]:
    return [(each.replaced, each.replaced_bytes, each.removed, each.removed_bytes) for each in found.layers]


NONE = (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("why", "layers", "size", "expected"),
    [
        ("alone", [{"/a": "file 5"}], 5, [NONE]),
        ("a file over a file", [{"/a": "file 5"}, {"/a": "file 7"}], 7, [NONE, (1, 5, 0, 0)]),
        (
            "twice",
            [{"/a": "file 5"}, {"/a": "file 7"}, {"/a": "file 1"}],
            1,
            [NONE, (1, 5, 0, 0), (1, 7, 0, 0)],
        ),
        ("only its metadata", [{"/a": "file 5 x"}, {"/a": "file 5 x"}], 5, [NONE, (1, 5, 0, 0)]),
        ("a whiteout", [{"/d/a": "file 5"}, {"/d/a": "gone"}], 0, [NONE, (0, 0, 1, 5)]),
        ("of a directory", [{"/d/a": "file 5", "/d/b/c": "file 7"}, {"/d": "gone"}], 0, [NONE, (0, 0, 2, 12)]),
        ("gone and back", [{"/a": "file 5"}, {"/a": "gone"}, {"/a": "file 3"}], 3, [NONE, (0, 0, 1, 5), NONE]),
        (
            "gone and new at once",
            [{"/a": "file 5"}, {"/a": "gone file", "/b": "file 1"}],
            1,
            [NONE, (0, 0, 1, 5)],
        ),
        ("opaque", [{"/d/a": "file 5"}, {"/d": "opaque", "/d/b": "file 3"}], 3, [NONE, (0, 0, 1, 5)]),
        ("opaque root", [{"/a": "file 5"}, {"/": "opaque", "/b": "file 3"}], 3, [NONE, (0, 0, 1, 5)]),
        ("a whiteout of nothing", [{"/a": "file 5"}, {"/b": "gone", "/c": "opaque"}], 5, [NONE, NONE]),
        ("not in its own layer", [{"/d/a": "file 5", "/d": "opaque"}], 5, [NONE]),
        ("a directory over a directory", [{"/d/a": "file 5"}, {"/d": "dir"}], 5, [NONE, NONE]),
        (
            "a directory over a file",
            [{"/a": "file 5"}, {"/a": "dir", "/a/b": "file 3"}],
            3,
            [NONE, (1, 5, 0, 0)],
        ),
        ("one that is not said", [{"/a": "file 5"}, {"/a/b": "file 3"}], 3, [NONE, (1, 5, 0, 0)]),
        ("a file over a directory", [{"/d/a": "file 5"}, {"/d": "file 3"}], 3, [NONE, (0, 0, 1, 5)]),
        ("a symlink over a directory", [{"/d/a/b": "file 5"}, {"/d": "link"}], 0, [NONE, (0, 0, 1, 5)]),
        ("a directory over a symlink", [{"/d": "link"}, {"/d": "dir", "/d/a": "file 5"}], 5, [NONE, NONE]),
        (
            "a directory again",
            [{"/d/a": "file 5"}, {"/d": "link"}, {"/d": "dir", "/d/b": "file 3"}],
            3,
            [NONE, (0, 0, 1, 5), NONE],
        ),
        ("two names", [{"/a": "file 5", "/b": "same /a"}], 5, [NONE]),
        ("the first name gone", [{"/a": "file 5", "/b": "same /a"}, {"/a": "gone"}], 5, [NONE, NONE]),
        (
            "both gone",
            [{"/a": "file 5", "/b": "same /a"}, {"/a": "gone", "/b": "gone"}],
            0,
            [NONE, (0, 0, 1, 5)],
        ),
        ("a name of a lower layer's file", [{"/a": "file 5"}, {"/b": "same /a"}], 5, [NONE, NONE]),
        ("of nothing", [{"/b": "same /a"}], 0, [NONE]),
        ("of itself", [{"/b": "same /b"}], 0, [NONE]),
        ("in a ring", [{"/a": "same /b", "/b": "same /a"}], 0, [NONE]),
        ("of a directory", [{"/a": "dir", "/b": "same /a"}], 0, [NONE]),
    ],
)
def test_what_layers_hide(
    why: str, layers: list[dict[str, str]], size: int, expected: list[tuple[int, int, int, int]]
) -> None:
    found = taken(*layers)
    assert found.size == size, why
    assert hidden(found) == expected, why
    assert found.hidden == sum(each[1] + each[3] for each in expected)


def test_copies_in_the_tree_and_in_all_layers() -> None:
    found = taken(
        {"/a": "file 5 x", "/b": "file 5 x", "/c": "file 5 y", "/e": "file 0 x", "/f": "file 0 x"},
        {"/a": "file 5 x", "/d": "same /a", "/g/h": "file 5 x"},
    )
    assert (found.duplicates.files, found.duplicates.size) == (2, 10)
    assert found.duplicates.worst == (Copies(5, 3, ("/a", "/b", "/g/h")),)
    assert (found.stored.files, found.stored.size) == (3, 15)


def test_what_was_not_read_is_no_copy() -> None:
    layers = [Layer({path: LayerEntry(path, Kind.FILE, size=5) for path in ("/a", "/b")})]
    assert take_inventory(layers).duplicates.files == 0


def test_files_that_give_privileges() -> None:
    raw = bytes.fromhex("0100000200200000000000000000000000000000")
    first = layer({"/su": "file 1 mode=4755", "/wall": "file 1 mode=2755 gid=5", "/x": "file 1 mode=755"})
    ping = LayerEntry("/ping", Kind.FILE, size=3, capability=raw)
    again = LayerEntry("/again", Kind.FILE, same_as="/ping")
    gone = layer({"/gone": "file 1 mode=4755"})
    found = take_inventory(
        [gone, Layer({**first.entries, "/ping": ping, "/again": again}), layer({"/gone": "gone"})]
    )
    assert found.powerful == (
        PrivilegedFile("/again", 0o644, 0, 0, "cap_net_raw=ep"),
        PrivilegedFile("/ping", 0o644, 0, 0, "cap_net_raw=ep"),
        PrivilegedFile("/su", 0o4755, 0, 0),
        PrivilegedFile("/wall", 0o2755, 0, 5),
    )


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("01000002 00040000 00000000 00000000 00000000", "cap_net_bind_service=ep"),
        ("00000002 00040000 00040000 00000000 00000000", "cap_net_bind_service=ip"),
        ("01000003 ff000000 00000000 80000000 00000000 e8030000", None),
        ("01000001 01000000 00000000", "cap_chown=ep"),
        ("00000002 00000000 00000000 00000000 00000000", ""),
        ("01000002 00000000 00000000 00000080 00000000", "cap_63=ep"),
        ("01000002 0000", "?"),
        ("ffffffff 00000000 00000000 00000000 00000000", "?"),
        ("", "?"),
    ],
)
def test_file_capabilities_in_words(raw: str, text: str | None) -> None:
    found = read(bytes.fromhex(raw))
    assert (
        found == text if text is not None else found.startswith("cap_chown,") and found.endswith(",cap_bpf=ep")
    )


def test_the_largest() -> None:
    found = taken(
        {f"/usr/lib/deep/f{number:02}": f"file {number + 1}" for number in range(20)} | {"/b": "file 7"}
    )
    assert found.largest_files[:2] == (SizedPath("/usr/lib/deep/f19", 20), SizedPath("/usr/lib/deep/f18", 19))
    assert len(found.largest_files) == 10
    # The directories above it have nothing else: they tell nothing more.
    assert found.largest_directories == (SizedPath("/usr/lib/deep", 210),)
    found = taken({"/a/x": "file 50", "/a/y/z": "file 40", "/b/c/d": "file 60"})
    assert found.largest_directories == (
        SizedPath("/a", 90), SizedPath("/b/c", 60), SizedPath("/a/y", 40),
    )  # fmt: skip


def test_packages_are_counted() -> None:
    status = (
        b"Package: a\nVersion: 1\nStatus: install ok installed\n\n"
        b"Package: b\nVersion: 1\nStatus: deinstall ok config-files\n\n\n"
        b"Package: c\nVersion: 2\nStatus: install ok installed\n"
    )
    databases = {
        "/var/lib/dpkg/status": status,
        "/var/lib/dpkg/status.d/base": b"Package: base-files\nVersion: 1\n",
        "/var/lib/rpm/rpmdb.sqlite": b"no database",
        "/lib/apk/db/installed": b"C:Q1\nP:musl\nV:1\n\nP:zlib\nV:2\n\n",
    }
    assert packages(databases) == {"apk": 2, "deb": 3}


def test_nothing() -> None:
    assert take_inventory([]) == Inventory()
    assert take_inventory([Layer()]).size == 0


NAMES = st.sampled_from(("a", "b"))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
CHANGES = st.sampled_from(("file 1", "dir", "link", "gone", "opaque"))


def applied(layers: list[dict[str, str]]) -> set[tuple[str, int]]:
    """The entries that are seen, by applying the layers one after the other, as an engine does."""
    seen: dict[str, tuple[str, int]] = {}

    def drop(path: str, itself: bool = True) -> None:
        for other in [each for each in seen if paths.below(each, path) and (itself or each != path)]:
            del seen[other]

    for number, spec in enumerate(layers):
        for path, change in spec.items():
            if change in ("gone", "opaque"):
                drop(path, itself=change == "gone")
        for path, change in sorted(spec.items()):
            if change in ("gone", "opaque"):
                continue
            for above in paths.parents(path):
                if above in seen and seen[above][0] != "dir":
                    drop(above)
            if change != "dir":
                drop(path)
            seen[path] = (change, number)
    return {(path, number) for path, (_, number) in seen.items()}


def is_tree(spec: dict[str, str]) -> bool:
    """A layer has nothing below a file or link of its own."""
    solid = {path for path, change in spec.items() if change in ("file 1", "link")}
    brought = {path for path, change in spec.items() if change in ("file 1", "link", "dir")}
    return not any(above in solid for path in brought for above in paths.parents(path))


@settings(max_examples=examples(400), deadline=None)
@given(st.lists(st.dictionaries(PATHS, CHANGES, max_size=6).filter(is_tree), max_size=5))
def test_layers_are_seen_as_if_they_were_applied(specs: list[dict[str, str]]) -> None:
    layers = [layer(spec) for spec in specs]
    stack = LayerStack(layers)
    seen = {
        (path, number)
        for number, each in enumerate(layers)
        for path in each.entries
        if stack.is_visible(path, number)
    }
    assert seen == applied(specs)
    for number, each in enumerate(layers):
        for path in each.entries.keys() - {path for path, at in seen if at == number}:
            by, _ = stack.hidden_by(path, number)
            assert number < by < len(layers)
            assert (path, number) in applied(specs[:by])
            assert (path, number) not in applied(specs[: by + 1])
