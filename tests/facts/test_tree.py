"""A file tree answers as a kernel that is confined to it would."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slimtrace.facts.tree import MAX_LINKS, Entry, FileTree, Kind


def tree(*lines: str) -> FileTree:
    """A tree of lines such as ``/bin/``, ``/bin/sh -> dash`` and ``/bin/dash``; parents come by themselves."""
    found = {"/": Entry("/", Kind.DIR)}
    for line in lines:
        path, arrow, target = line.partition(" -> ")
        kind = Kind.LINK if arrow else Kind.DIR if path.endswith("/") else Kind.FILE
        path = path.rstrip("/")
        above = path.rpartition("/")[0]
        while above and above not in found:
            found[above] = Entry(above, Kind.DIR)
            above = above.rpartition("/")[0]
        found[path] = Entry(path, kind, target=target)
    return FileTree(found)


USR = tree(
    "/bin -> usr/bin",
    "/usr/bin/sh -> dash",
    "/usr/bin/dash",
    "/usr/bin/abs -> /bin/./dash",
    "/etc/alt -> /usr/bin/sh",
    "/loop -> loop",
    "/up -> ../../..",
    "/gone -> nowhere/x",
    "/d/",
    "/e/s -> ../d/",
)


@pytest.mark.parametrize(
    ("path", "end", "links", "exists"),
    [
        ("/usr/bin/dash", "/usr/bin/dash", [], True),
        ("/bin/sh", "/usr/bin/dash", ["/bin", "/usr/bin/sh"], True),
        ("/etc/alt", "/usr/bin/dash", ["/etc/alt", "/usr/bin/sh"], True),
        ("/usr/bin/abs", "/usr/bin/dash", ["/usr/bin/abs", "/bin"], True),
        ("/e/s", "/d", ["/e/s"], True),
        ("/up", "/", ["/up"], True),
        ("/up/d", "/d", ["/up"], True),
        ("/../../d/.", "/d", [], True),
        ("/bin/../../d", "/d", ["/bin"], True),
        ("/gone", "/nowhere/x", ["/gone"], False),
        ("/nope/../d", "/nope/../d", [], False),
        ("/usr/bin/dash/x", "/usr/bin/dash/x", [], False),
        ("/", "/", [], True),
        ("", "/", [], True),
    ],
)
def test_resolve(path: str, end: str, links: list[str], exists: bool) -> None:
    found = USR.resolve(path)
    assert (found.path, list(found.links), found.entry is not None) == (end, links, exists)


def test_the_last_link_is_not_followed_unless_asked() -> None:
    assert USR.resolve("/bin/sh", follow_last=False).path == "/usr/bin/sh"
    assert USR.resolve("/bin", follow_last=False).entry == USR["/bin"]


def test_a_loop_ends() -> None:
    found = USR.resolve("/loop")
    assert found.entry is None
    assert len(found.links) == MAX_LINKS + 1


def test_forty_links_are_followed_and_one_more_is_not() -> None:
    chain = tree("/l0", *(f"/l{n} -> l{n - 1}" for n in range(1, 42)))
    assert chain.resolve(f"/l{MAX_LINKS}").entry == chain["/l0"]
    assert chain.resolve(f"/l{MAX_LINKS + 1}").entry is None


def test_children_and_hardlinks() -> None:
    entries = {entry.path: entry for entry in (
        Entry("/", Kind.DIR), Entry("/b", Kind.FILE, size=5, inode=1), Entry("/a", Kind.FILE, size=5, inode=1),
        Entry("/c", Kind.FILE, size=2),
    )}  # fmt: skip
    found = FileTree(entries)
    assert found.children("/") == ("/a", "/b", "/c")
    assert found.children("/a") == ()
    assert found.hardlinks("/a") == ("/a", "/b")
    assert found.hardlinks("/c") == ("/c",)
    assert found.size() == 7


NAMES = st.sampled_from(["a", "b", "c"])
PLACES = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TARGETS = st.builds(
    lambda absolute, parts: ("/" if absolute else "") + "/".join(parts),
    st.booleans(),
    st.lists(st.sampled_from(["a", "b", "c", ".."]), min_size=1, max_size=4),
)


@pytest.mark.requires("root")
@settings(
    max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(PLACES, st.none() | st.just("") | TARGETS), max_size=8), TARGETS)
def test_resolve_agrees_with_the_kernel(tmp_path: Path, made: list[tuple[str, str | None]], asked: str) -> None:
    """The same tree on disk, walked by openat2 with RESOLVE_IN_ROOT, leads to the same place."""
    from slimtrace.observe.image.rootfs import Rootfs

    root = tmp_path / f"t{len(list(tmp_path.iterdir()))}"
    root.mkdir()
    _make(root, made)
    with Rootfs.at(root) as files:
        found = files.scan().resolve(asked)
    expected = _kernel(root, asked)
    if expected is None:
        assert found.entry is None
    else:
        assert found.path == expected
        assert found.entry is not None


def _make(root: Path, made: Iterable[tuple[str, str | None]]) -> None:
    for place, target in made:
        path = root / place
        if os.path.realpath(path.parent).startswith(str(root)):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                if target:
                    path.symlink_to(target)
                elif target == "":
                    path.mkdir()
                else:
                    path.write_bytes(b"")
            except (OSError, ValueError):
                continue


def _kernel(root: Path, asked: str) -> str | None:
    import ctypes

    how = (ctypes.c_uint64 * 3)(os.O_PATH | os.O_CLOEXEC, 0, 0x10)  # RESOLVE_IN_ROOT
    base = os.open(root, os.O_PATH)
    try:
        found = ctypes.CDLL(None).syscall(437, base, os.fsencode(asked), how, 24)
        if found < 0:
            return None
        where = str(Path(f"/proc/self/fd/{found}").readlink()).removeprefix(str(root))
        os.close(found)
        return where or "/"
    finally:
        os.close(base)


def test_a_changed_tree_has_other_entries_and_leaves_the_first_as_it_was() -> None:
    one = FileTree({path: Entry(path, Kind.DIR) for path in ("/", "/a", "/b")})
    two = one.changed({"/b": Entry("/b", Kind.FILE, size=3)})
    assert [(entry.path, entry.size) for entry in two] == [("/", 0), ("/a", 0), ("/b", 3)]
    assert (two["/b"].kind, two.get("/c"), "/a" in two, len(two)) == (Kind.FILE, None, True, 3)
    assert two.children("/") == ("/a", "/b")
    assert one["/b"].kind is Kind.DIR
    assert one.changed({}) is one
