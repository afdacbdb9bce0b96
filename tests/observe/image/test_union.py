"""The union of layers: the files that it has."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observe.image.saved_images import Line, layer
from slimtrace.errors import SlimtraceError
from slimtrace.facts.tree import Entry, FileTree, Kind
from slimtrace.observe.image.tar_members import Content, IgnoredPaxGlobals
from slimtrace.observe.image.union import LayerUnion

Files = dict[str, str]


class Union:
    """Layers, and the files of their union."""

    def __init__(self, *layers: bytes) -> None:
        self._layers = layers
        union = LayerUnion()
        for one in layers:
            with tarfile.open(
                fileobj=io.BytesIO(one),
                mode="r:",
                encoding="utf-8",
                errors="surrogateescape",
                pax_headers=IgnoredPaxGlobals(),
            ) as archive:
                union.add_layer(archive)
        self.tree: FileTree
        self.contents: dict[str, Content]
        self.tree, self.contents, self.xattrs = union.tree()

    def content(self, path: str) -> bytes:
        found = self.contents[path]
        extents = found.extents
        layer = self._layers[found.layer]
        if extents is None:
            return layer[found.at : found.at + found.size]
        data = bytearray(found.size)
        for extent in extents:
            data[extent.start : extent.start + extent.length] = layer[extent.at : extent.at + extent.length]
        return bytes(data)

    @property
    def files(self) -> Files:
        """Every path but the root, with "dir", "-> target", or a file's content."""
        return {path: self._shown(entry) for path, entry in self.tree.entries.items() if path != "/"}

    def _shown(self, entry: Entry) -> str:
        if entry.kind is Kind.FILE:
            return self.content(entry.path).decode()
        return f"-> {entry.target}" if entry.kind is Kind.LINK else str(entry.kind)


def union_of(*layers: tuple[Line, ...]) -> Union:
    return Union(*(layer(*lines) for lines in layers))


@pytest.mark.parametrize(
    ("layers", "files"),
    [
        pytest.param([("a = 1",), ("b = 2",)], {"/a": "1", "/b": "2"}, id="two files"),
        pytest.param([("a = 1",), ("a = 2",)], {"/a": "2"}, id="the upper one counts"),
        pytest.param(
            [("d/", "d/a = 1"), ("d/", "d/b = 2")],
            {"/d": "dir", "/d/a": "1", "/d/b": "2"},
            id="directories merge",
        ),
        pytest.param([("a = 1", "b = 2"), (".wh.a",)], {"/b": "2"}, id="whiteout"),
        pytest.param([("d/", "d/a = 1"), (".wh.d",)], {}, id="whiteout of a directory"),
        pytest.param([("d/", "d/a = 1"), ("d/", "d/.wh.a")], {"/d": "dir"}, id="whiteout in one"),
        pytest.param([("a = 1",), (".wh.b", "no/.wh.c")], {"/a": "1"}, id="whiteout of nothing"),
        pytest.param(
            [("d/", "d/a = 1"), (".wh.d", "d/", "d/b = 2")],
            {"/d": "dir", "/d/b": "2"},
            id="whiteout, then anew",
        ),
        pytest.param(
            [("d/", "d/a = 1"), ("d/", "d/b = 2", ".wh.d")],
            {"/d": "dir", "/d/b": "2"},
            id="anew, then whiteout",
        ),
        pytest.param([("a = 1",), ("a = 2", ".wh.a")], {"/a": "2"}, id="whiteouts hide what is below only"),
        pytest.param(
            [("d/", "d/a = 1", "d/e/", "d/e/f = 2"), ("d/", "d/.wh..wh..opq", "d/b = 3")],
            {"/d": "dir", "/d/b": "3"},
            id="opaque",
        ),
        pytest.param(
            [("d/", "d/e/", "d/e/f = 1"), ("d/", "d/e/", "d/e/g = 2", "d/.wh..wh..opq")],
            {"/d": "dir", "/d/e": "dir", "/d/e/g": "2"},
            id="opaque, said last",
        ),
        pytest.param(
            [("a = 1", "d/", "d/b = 2"), (".wh..wh..opq", "c = 3")], {"/c": "3"}, id="the root is opaque"
        ),
        pytest.param(
            [("a = 1",), (".wh..wh.plnk/", ".wh..wh.plnk/1.2 = x", ".wh..wh.aufs")],
            {"/a": "1"},
            id="what aufs kept for itself",
        ),
        pytest.param(
            [("v/", "d -> v"), ("d/", "d/a = 1")],
            {"/v": "dir", "/d": "dir", "/d/a": "1"},
            id="a symlink becomes a directory",
        ),
        pytest.param(
            [("v/", "d/", "d/a = 1"), ("d -> v",)],
            {"/v": "dir", "/d": "-> v"},
            id="a directory becomes a symlink",
        ),
        pytest.param([("d/", "d/a = 1"), ("d = 2",)], {"/d": "2"}, id="a directory becomes a file"),
        pytest.param([("d = 1",), ("d/", "d/a = 2")], {"/d": "dir", "/d/a": "2"}, id="a file, a directory"),
        pytest.param([("a/b/c = 1",)], {"/a": "dir", "/a/b": "dir", "/a/b/c": "1"}, id="no parents told"),
        pytest.param(
            [("./", "./a = 1", "/b = 2", "c//d = 3")], {"/a": "1", "/b": "2", "/c": "dir", "/c/d": "3"}
        ),
        pytest.param([("a/../b = 1",)], {"/b": "1"}, id="names are cleaned as text"),
        pytest.param([("a = 1", "a = 2")], {"/a": "2"}, id="twice in a layer"),
        pytest.param([("p |", "n 1:3")], {"/p": "fifo", "/n": "char"}, id="a fifo and a device"),
        pytest.param([()], {}, id="empty"),
    ],
)
def test_the_files_of_a_union(layers: list[tuple[Line, ...]], files: Files) -> None:
    assert union_of(*layers).files == files


@pytest.mark.parametrize(
    ("layers", "same"),
    [
        ([("a = 1", "b == a", "c == b")], {"/a", "/b", "/c"}),
        ([("d/", "d/a = 1"), ("b == d/a",)], {"/b", "/d/a"}),
        ([("a = 1", "b == a"), ("c == b",), (".wh.a",)], {"/b", "/c"}),
        ([("l -> nowhere", "m == l")], {"/l", "/m"}),
        ([("p |", "q == p")], {"/p", "/q"}),
    ],
)
def test_hardlinks_are_one_file(layers: list[tuple[Line, ...]], same: set[str]) -> None:
    tree = union_of(*layers).tree
    assert set(tree.hardlinks(min(same))) == same
    assert all(tree[path].inode for path in same)


@pytest.mark.parametrize(
    "layers",
    [
        [("a = 1", "b == a"), ("b = 1",)],
        [("a = 1", "b == a"), (".wh.b",)],
        [("a = 1", "b == a", "b = 2")],
    ],
)
def test_a_file_with_one_name_left_is_no_hardlink(layers: list[tuple[Line, ...]]) -> None:
    assert union_of(*layers).tree["/a"].inode == 0


def test_all_metadata_of_an_entry_is_kept() -> None:
    metadata = {"mode": 0o6755, "uid": 1234, "gid": 4_000_000_000, "mtime": 1.25}
    entry = union_of((("a = text", metadata),)).tree["/a"]
    assert entry == Entry("/a", Kind.FILE, 0o6755, 1234, 4_000_000_000, 4, 1_250_000_000)
    assert union_of((("n 7:300", metadata),)).tree["/n"] == Entry(
        "/n", Kind.CHAR, 0o6755, 1234, 4_000_000_000, 0, 1_250_000_000, "", 0, 7, 300
    )
    assert union_of((("l -> t", metadata),)).tree["/l"].mode == 0o777


def test_a_repeated_directory_has_the_metadata_of_the_last_header() -> None:
    before = {"mode": 0o700, "uid": 1, "pax_headers": {"SCHILY.xattr.user.a": "1"}}
    found = union_of((("d/", before), "d/a"), (("d/", {"mode": 0o1777, "uid": 2}),))
    assert (found.tree["/d"].mode, found.tree["/d"].uid, found.xattrs) == (0o1777, 2, {})
    assert "/d/a" in found.tree


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1.5", 1_500_000_000),
        ("1700000000.123456789", 1_700_000_000_123_456_789),
        ("1700000000.1234567899", 1_700_000_000_123_456_789),
        ("-1.5", -1_500_000_000),
        ("-0.000000001", -1),
        (".5", 500_000_000),
        ("nan", 0),
        ("inf", 0),
        ("1e9", 0),
        ("9" * 400, 0),
        ("-", 0),
        ("\u0663", 0),
    ],
)
def test_times_to_the_nanosecond(text: str, nanoseconds: int) -> None:
    assert union_of((("a", {"pax_headers": {"mtime": text}}),)).tree["/a"].mtime_ns == nanoseconds


def test_xattrs_are_bytes() -> None:
    raw = bytes(range(256))
    value = raw.decode("utf-8", "surrogateescape")
    found = union_of((("a", {"pax_headers": {"SCHILY.xattr.security.capability": value}}),))
    assert found.xattrs == {"/a": {"security.capability": raw}}


def test_a_hardlinks_header_describes_the_file() -> None:
    """As after an engine's link(2), lchown(2), lsetxattr(2), chmod(2): chown clears the capability."""
    capable = {
        "mode": 0o755,
        "pax_headers": {"SCHILY.xattr.security.capability": "x", "SCHILY.xattr.user.a": "1"},
    }
    again = {"mode": 0o4711, "uid": 5, "pax_headers": {"SCHILY.xattr.user.b": "2"}}
    found = union_of((("a = 1", capable), ("b == a", again)))
    assert (found.tree["/a"].mode, found.tree["/a"].uid) == (0o4711, 5)
    assert found.xattrs["/a"] == found.xattrs["/b"] == {"user.a": b"1", "user.b": b"2"}


def test_pax_headers_for_all_change_nothing() -> None:
    out = io.BytesIO()
    with tarfile.open(
        fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"uid": "7", "SCHILY.xattr.user.a": "1"}
    ) as tar:
        tar.addfile(tarfile.TarInfo("a"))
        tar.addfile(tarfile.TarInfo("b"))
    found = Union(out.getvalue())
    assert (found.tree["/a"].uid, found.tree["/b"].uid, found.xattrs) == (0, 0, {})


def test_a_sparse_file_has_its_holes() -> None:
    """GNU format 1.0: the map precedes the data (tar manual, "Storing Sparse Files")."""
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "20"}
    head = b"2\n2\n3\n10\n2\n".ljust(512, b"\0")
    line = (
        "GNUSparseFile.0/a = " + (head + b"abcde").decode(),
        {"pax_headers": headers | {"GNU.sparse.name": "a"}},
    )
    found = union_of((line,))
    assert found.tree["/a"].size == 20
    assert found.content("/a") == b"\0\0abc".ljust(10, b"\0") + b"de" + bytes(8)


@pytest.mark.parametrize(
    "lines",
    [
        ("../x = 1",),
        ("a/../../x = 1",),
        ("/../x = 1",),
        ("../",),
        ("../l -> x",),
        ("h == ../x",),
        ("h == nothing",),
        ("d/", "h == d"),
        ("h == h",),
        ("d/", "d/.wh.",),
        ("d/", "d/.wh.."),
        ("d/", "d/.wh..."),
        ("n" * 5000,),
        ("../.wh.x",),
    ],
)  # fmt: skip
def test_a_layer_that_no_engine_unpacks_is_an_error(lines: tuple[str, ...]) -> None:
    with pytest.raises(SlimtraceError, match="cannot read the image's layers"):
        union_of(("d/", "d/a = 1"), lines)


@pytest.mark.parametrize(
    ("layers", "files"),
    [
        ([("a -> /etc", "a/passwd = x")], {"/a": "-> /etc", "/etc": "dir", "/etc/passwd": "x"}),
        ([("a -> ../../etc", "a/b = x")], {"/a": "-> ../../etc", "/etc": "dir", "/etc/b": "x"}),
        ([("a -> /etc",), ("h == a/passwd", "x")], None),
        ([("v/", "v/x = 1", "a -> v"), ("a/.wh.x",)], {"/a": "-> v", "/v": "dir"}),
        ([("a -> b", "b -> a", "a/x = 1")], {"/a": "dir", "/a/x": "1", "/b": "-> a"}),
        ([("f = 1", "f/x = 2")], {"/f": "dir", "/f/x": "2"}),
    ],
)
def test_symlinks_on_the_way_lead_inside(layers: list[tuple[Line, ...]], files: Files | None) -> None:
    if files is None:
        with pytest.raises(SlimtraceError, match="no file"):
            union_of(*layers)
    else:
        assert union_of(*layers).files == files


def test_a_damaged_header_is_not_the_end() -> None:
    whole = bytearray(layer("a = 1", "b = 2", "c = 3"))
    whole[2 * 512 + 148] ^= 1  # the checksum of b's header
    with pytest.raises(SlimtraceError, match="damaged header"):
        Union(bytes(whole))


NAMES = st.sampled_from(["a", "b", ".", "..", "", ".wh.a", ".wh..wh..opq", ".wh...", "\udcff", "x\ny"])
PATHS = st.lists(NAMES, min_size=1, max_size=5).map("/".join)
LINES = st.one_of(
    PATHS.map(lambda path: f"{path}/"),
    PATHS.map(lambda path: f"{path} = text"),
    st.tuples(PATHS, PATHS).map(" -> ".join),
    st.tuples(PATHS, PATHS).map(" == ".join),
)


@given(st.lists(st.lists(LINES, max_size=8).map(tuple), max_size=4))
def test_the_tree_of_any_layers_is_consistent(layers: list[tuple[str, ...]]) -> None:
    try:
        found = union_of(*layers)
    except SlimtraceError:
        return
    for path, entry in found.tree.entries.items():
        assert path == "/" or found.tree[path.rpartition("/")[0] or "/"].kind is Kind.DIR
        assert (path in found.contents) == (entry.kind is Kind.FILE)
        assert not {".", "..", ""} & set(path.split("/")[1:]) or path == "/"
