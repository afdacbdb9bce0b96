"""The removed files, by package and by directory."""

import json
from dataclasses import replace

from slimtrace.reason.explain.removed_files import DirectoryLoss, PackageLoss, find_removed, kept_paths

from ..keep.packages.test_packages import INFO, STATUS, stanza
from ..trees import capture

SPEC = {
    STATUS: f"text {stanza('a')}{stanza('b')}{stanza('c')}",
    f"{INFO}/a.list": "text /usr/a1\n/usr/a2\n/usr/link",
    f"{INFO}/b.list": "text /usr/b1\n/usr/a2",
    f"{INFO}/c.list": "text /usr/c",
    "/usr/a1": "file size=100",
    "/usr/a2": "file size=20",
    "/usr/link": "link a1",
    "/usr/b1": "file size=7000",
    "/usr/c": "file size=1",
    "/opt/app/lib/deep/x": "file size=5",
    "/opt/app/lib/deep/y": "file size=6",
    "/opt/app/z": "file size=50",
    "/one": "file size=9 inode=3",
    "/two": "file size=9 inode=3",
    "/three": "file size=8 inode=4",
    "/four": "file size=8 inode=4",
}
DATABASE = {path for path in SPEC if path.startswith("/var")}
KEPT = {"/usr/a1", "/usr/link", "/usr/c", "/one", *DATABASE}


def test_by_package() -> None:
    found = find_removed(capture(SPEC), "slim", KEPT)
    assert found.packages == (PackageLoss("deb", "b", "1", 1, 1, 7000), PackageLoss("deb", "a", "1", 1, 3, 20))
    assert [one.whole for one in found.packages] == [True, False]


def test_by_directory() -> None:
    found = find_removed(capture(SPEC), "slim", KEPT)
    assert found.directories == (
        DirectoryLoss("/opt/app", 1, 50),
        DirectoryLoss("/opt/app/lib", 2, 11),
        DirectoryLoss("/", 3, 8),
    )


def test_totals_and_names_of_one_file() -> None:
    found = find_removed(capture(SPEC), "slim", KEPT)
    assert (found.gone, found.files) == (8, len(SPEC))
    assert found.gone_bytes == 7000 + 20 + 50 + 5 + 6 + 8
    assert {path.path: path.bytes for path in found.paths}["/two"] == 0  # its content stayed, as /one
    assert sorted(path.bytes for path in found.paths if path.path in ("/three", "/four")) == [0, 8]
    assert found.gone_bytes + sum(capture(SPEC).tree[path].size for path in KEPT) == found.bytes


def test_what_a_report_lists() -> None:
    seen = capture({"/a\n": "file size=5", "/b": "file size=9", "/c": "file"})
    assert kept_paths(seen, {"/a\\n": 5, "/b": 2, "/gone": 1, "/": 0}) == (frozenset({"/", "/a\n", "/b"}), 7)


def test_json() -> None:
    seen = capture({"/a\x1b[1m": "file size=5", "/\udcff": "file"})
    found = find_removed(replace(seen, image=replace(seen.image, reference="my\x07")), "slim", ())
    body = json.loads(json.dumps(found.to_json(True)))
    assert next(iter(body)) == "schema"
    assert [one["path"] for one in body["paths"]] == ["/a\\x1b[1m", "/\\xff"]
    assert body["fat"] == "my\\x07"
    assert "paths" not in found.to_json(False)
