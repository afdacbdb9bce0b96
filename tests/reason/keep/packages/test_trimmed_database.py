"""Which parts of the package databases are kept, byte for byte; whole packages with --keep package."""

import io
from dataclasses import replace

import pytest

from slimtrace.assemble.cut_files import apply_cuts
from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.selection import Reason, Selection, Why
from slimtrace.facts.tree import Entry, FileTree
from slimtrace.reason.keep import graph_builder
from slimtrace.reason.keep.packages import Owners, installed, trimmed_database
from slimtrace.reason.keep.rules import Keep, PackageDb, Rules
from slimtrace.reason.keep.select import select_paths

from ...trees import GLIBC, INTERP, capture, kept, read, selected
from .test_packages import INFO, PYTHON, SITE, STATUS, stanza

RELEASE = {"/etc/os-release": "link ../usr/lib/os-release", "/usr/lib/os-release": "text ID=debian"}
DEBIAN = {
    **RELEASE,
    STATUS: f"text {stanza('jq')}\n{stanza('base-files')}\n{stanza('unused')}\n",
    "/var/lib/dpkg/lock": "file",
    f"{INFO}/jq.list": "text /.\n/usr\n/usr/bin\n/usr/bin/jq\n/usr/share/doc/jq/manual\n",
    f"{INFO}/jq.md5sums": f"text {'a' * 32}  usr/bin/jq\n{'b' * 32}  usr/share/doc/jq/manual\n",
    f"{INFO}/jq.postinst": "text x",
    f"{INFO}/base-files.list": "text /usr/lib/os-release\n/usr/share/motd\n",
    f"{INFO}/unused.list": "text /usr/bin/unused\n",
    "/usr/bin/jq": "file 0755",
    "/usr/bin/unused": "file 0755",
    "/usr/share/doc/jq/manual": "file",
    "/usr/share/motd": "file",
}
METADATA_PATHS = {
    "/etc/os-release", "/usr/lib/os-release", STATUS, f"{INFO}/jq.list", f"{INFO}/jq.md5sums",
    f"{INFO}/base-files.list",
}  # fmt: skip
JQ = read("/usr/bin/jq")


class Texts:
    """A source whose files are the texts of a capture."""

    def __init__(self, seen: Capture) -> None:
        self._seen = seen

    def open(self, path: str) -> io.BytesIO:
        return io.BytesIO(paths.encode(self._seen.contents.text(path) or ""))

    def xattrs(self, path: str) -> dict[str, bytes]:
        return {"user.of": path.encode()}


def slimmed(seen: Capture, rules: Rules | None = None) -> tuple[Selection, dict[str, str], dict[str, Entry]]:
    """The selection, and the new content and entry of each file that was cut."""
    rules = rules or Rules()
    seen = replace(seen, tree=_sized(seen))
    chosen = selected(seen, rules)
    cuts = trimmed_database.cuts(seen, chosen, Owners(installed(seen, chosen.kept)), rules)
    source, tree = apply_cuts(Texts(seen), seen.tree, cuts)
    content = {}
    for cut in cuts:
        data = bytearray(tree[cut.path].size + 1)
        count = source.open(cut.path).readinto(memoryview(data))
        assert count == tree[cut.path].size
        content[cut.path] = data[:count].decode()
    return chosen, content, {cut.path: tree[cut.path] for cut in cuts}


def _sized(seen: Capture) -> FileTree:
    sizes = {path: len(paths.encode(seen.contents.text(path) or "")) for path in seen.tree.entries}
    return FileTree({path: replace(seen.tree[path], size=size) for path, size in sizes.items()})


def metadata_paths(chosen: Selection) -> set[str]:
    return {path for path, why in chosen.kept.items() if any(one.why is Why.METADATA for one in why)}


def test_trimmed_dpkg() -> None:
    chosen, content, entries = slimmed(capture(DEBIAN, [JQ]))
    assert metadata_paths(chosen) == METADATA_PATHS
    assert content == {
        STATUS: stanza("jq") + stanza("base-files"),
        f"{INFO}/jq.list": "/.\n/usr\n/usr/bin\n/usr/bin/jq\n",
        f"{INFO}/jq.md5sums": f"{'a' * 32}  usr/bin/jq\n",
        f"{INFO}/base-files.list": "/usr/lib/os-release\n",
    }
    before = capture(DEBIAN).tree[STATUS]
    assert replace(entries[STATUS], size=before.size) == before


def test_reasons() -> None:
    chosen = selected(capture(DEBIAN, [JQ]))
    assert chosen.kept[STATUS] == (Reason(Why.METADATA, "deb packages"),)
    assert chosen.kept[f"{INFO}/jq.list"] == (Reason(Why.METADATA, "deb jq"),)
    assert chosen.kept["/usr/lib/os-release"] == (Reason(Why.METADATA, "the distribution"),)


def test_the_graph_knows_owners_and_the_way_to_the_database() -> None:
    graph = graph_builder.build_graph(capture(DEBIAN, [JQ]))
    assert "package deb jq 1" in graph._edges.successors("/usr/bin/jq")
    assert [path for path, _ in graph.chain(STATUS)] == ["/usr/bin/jq", STATUS]


def test_none() -> None:
    chosen, content, _ = slimmed(capture(DEBIAN, [JQ]), Rules(package_db=PackageDb.NONE))
    assert (metadata_paths(chosen), content) == (set(), {})


def test_full() -> None:
    chosen, content, _ = slimmed(capture(DEBIAN, [JQ]), Rules(package_db=PackageDb.FULL))
    whole = {path for path in DEBIAN if path.startswith("/var/lib/dpkg/")}
    assert metadata_paths(chosen) == whole | {"/etc/os-release", "/usr/lib/os-release", "/var/lib/dpkg", INFO}
    assert content == {}


def test_what_the_container_read_stays_as_it_is() -> None:
    uses = [JQ, read(STATUS), read(f"{INFO}/jq.list")]
    chosen, content, _ = slimmed(capture(DEBIAN, uses))
    assert {STATUS, f"{INFO}/jq.list"} <= set(chosen.kept)
    assert content.keys() == {f"{INFO}/jq.md5sums", f"{INFO}/base-files.list"}


def test_excluded_files_have_no_metadata() -> None:
    chosen, content, _ = slimmed(
        capture(DEBIAN, [JQ]), Rules(exclude_patterns=("/usr/bin/jq", f"{INFO}/base*"))
    )
    assert metadata_paths(chosen) == set()
    chosen, content, _ = slimmed(capture(DEBIAN, [JQ]), Rules(exclude_patterns=(f"{INFO}/*.list",)))
    assert metadata_paths(chosen) == METADATA_PATHS - {f"{INFO}/jq.list", f"{INFO}/base-files.list"}
    assert stanza("jq") in content[STATUS]


def test_an_image_of_which_no_package_is_used_has_no_database() -> None:
    assert metadata_paths(selected(capture({**DEBIAN, "/app": "file"}, [read("/app")]))) == set()


def test_a_database_of_which_all_is_used_is_not_cut() -> None:
    uses = [
        read(path) for path in ("/usr/bin/jq", "/usr/bin/unused", "/usr/share/doc/jq/manual", "/usr/share/motd")
    ]
    _, content, _ = slimmed(capture(DEBIAN, uses))
    assert STATUS not in content


def test_another_name_of_a_cut_file_keeps_its_content() -> None:
    spec = {**DEBIAN, "/copy": "file"}
    seen = capture(spec, [JQ, read("/copy")])
    linked = {path: replace(seen.tree[path], inode=7) for path in (STATUS, "/copy")}
    seen = replace(seen, tree=FileTree({**seen.tree.entries, **linked}))
    _, _, entries = slimmed(seen)
    assert (entries[STATUS].inode, seen.tree["/copy"].inode) == (0, 7)


def test_apk() -> None:
    place = "/lib/apk/db/installed"
    text = "P:a\nV:1\nF:usr/bin\nR:a\nZ:Q1x\nR:b\nZ:Q1y\n\nP:c\nV:2\nF:usr/bin\nR:c\n\n"
    spec = {
        place: f"text {text}",
        "/etc/alpine-release": "text 3",
        **dict.fromkeys(("/usr/bin/a", "/usr/bin/b"), "file"),
    }
    chosen, content, _ = slimmed(capture(spec, [read("/usr/bin/a")]))
    assert metadata_paths(chosen) == {place, "/etc/alpine-release"}
    assert content == {place: "P:a\nV:1\nF:usr/bin\nR:a\nZ:Q1x\n\n"}


def test_python() -> None:
    chosen, content, _ = slimmed(capture(PYTHON, [read(f"{SITE}/flask/app.py")]))
    metadata, record = f"{SITE}/flask-3.dist-info/METADATA", f"{SITE}/flask-3.dist-info/RECORD"
    assert metadata_paths(chosen) == {metadata, record}
    assert content == {record: "flask/app.py,,\nflask-3.dist-info/METADATA,,\n"}


WHOLE = {
    **GLIBC,
    STATUS: f"text {stanza('jq')}\n{stanza('libjq')}\n{stanza('other')}\n",
    f"{INFO}/jq.list": (
        "text /usr/bin/jq\n/usr/bin/tool\n/usr/share/doc/jq/manual\n/var/lib/jq\n/usr/lib/dangling"
    ),
    f"{INFO}/libjq.list": "text /usr/lib/x86_64-linux-gnu/libjq.so.1\n/usr/share/doc/libjq/copyright",
    f"{INFO}/other.list": "text /usr/bin/other",
    "/usr/bin/jq": f"elf 0755 {INTERP} needs=libc.so.6",
    "/usr/bin/tool": f"elf 0755 {INTERP} needs=libjq.so.1",
    "/usr/share/doc/jq/manual": "file",
    "/var/lib/jq": "dir 0700",
    "/usr/lib/dangling": "link nowhere",
    "/usr/lib/x86_64-linux-gnu/libjq.so.1": "elf soname=libjq.so.1",
    "/usr/share/doc/libjq/copyright": "file",
    "/usr/bin/other": "file",
}
EXACTLY = Rules(package_db=PackageDb.NONE)


def test_whole_packages() -> None:
    seen = capture(WHOLE, [JQ])
    more = kept(seen, replace(EXACTLY, keep=Keep.PACKAGE)) - kept(seen, EXACTLY)
    assert more == {
        "/usr/bin/tool",
        "/usr/share/doc/jq/manual",
        "/var/lib/jq",
        "/usr/lib/dangling",
        "/usr/lib/x86_64-linux-gnu/libjq.so.1",  # which tool needs, and so the whole of its package
        "/usr/share/doc/libjq/copyright",
    }
    rules = replace(EXACTLY, keep=Keep.PACKAGE)
    reasons = select_paths(graph_builder.build_graph(seen, rules), seen, rules).kept["/usr/share/doc/jq/manual"]
    assert reasons == (Reason(Why.PACKAGE, "deb jq"),)


@pytest.mark.parametrize("keep", [Keep.EXACT, Keep.CLOSURE])
def test_packages_are_whole_only_when_asked_for(keep: Keep) -> None:
    assert "/usr/bin/tool" not in kept(capture(WHOLE, [JQ]), Rules(keep=keep))
