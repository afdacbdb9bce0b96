"""What the user's rules keep and drop, and which rule wins."""

from typing import Any

import pytest

from slimtrace.errors import SlimtraceError
from slimtrace.facts.selection import Reason, Why
from slimtrace.reason.keep import path_permissions
from slimtrace.reason.keep.path_permissions import Permissions
from slimtrace.reason.keep.rules import Exclusion, Keep, Rules

from ..trees import DASH, GLIBC, INTERP, capture, kept, read, selected, tree

LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
LOADER = "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
LIBS = {LIBC, LOADER, "/lib", "/lib64", "/usr/lib64/ld-linux-x86-64.so.2"}
IMAGE = {
    **GLIBC,
    **DASH,
    "/usr/bin/tool": f"elf {INTERP} needs=libz.so.1,libc.so.6",
    "/usr/lib/x86_64-linux-gnu/libz.so.1": "elf soname=libz.so.1 needs=libc.so.6",
    "/opt/plugin.so": "elf 0644 needs=libz.so.1",
    "/opt/run": "script #!/bin/sh",
    "/opt/notes": "file",
    "/srv/app/main": "file",
    "/srv/app/doc/a.md": "file",
    "/srv/app/doc/empty": "dir 2770",
    "/srv/app/way": "link /opt/notes",
    "/srv/now": "link app",
}
LIBZ = "/usr/lib/x86_64-linux-gnu/libz.so.1"
TOOL = {"/usr/bin/tool", "/bin", LIBZ, *LIBS}
SHELL = {"/bin", "/usr/bin/sh", "/usr/bin/dash", *LIBS}
APP = {"/srv/app", "/srv/app/main", "/srv/app/doc", "/srv/app/doc/a.md", "/srv/app/doc/empty", "/srv/app/way"}


@pytest.mark.parametrize(
    ("rules", "there"),
    [
        (Rules(include_paths=("/srv/app/doc/a.md",)), {"/srv/app/doc/a.md"}),
        (Rules(include_paths=("/srv/app",)), APP),
        (Rules(include_paths=("/srv/app/",)), APP),
        (Rules(include_paths=("/srv/now/doc/../main",)), {"/srv/now", "/srv/app/main"}),
        (Rules(include_paths=("/srv/now",)), APP | {"/srv/now"}),
        # a program below an included path is not asked for as a program: its libraries come, no interpreter
        (Rules(include_paths=("/opt/run",)), {"/opt/run"}),
        (Rules(include_paths=("/usr/bin/tool",)), {"/usr/bin/tool", LIBZ, *LIBS}),
        (Rules(include_bins=("/bin/tool",)), TOOL),
        (Rules(include_bins=("/opt/run",)), {"/opt/run"} | SHELL),
        (Rules(include_bins=("/opt/plugin.so",)), {"/opt/plugin.so", LIBZ, "/lib", LIBC, LOADER}),
        (Rules(include_bins=("tool",)), TOOL - {"/bin"}),
        (Rules(include_exes=("tool",)), TOOL - {"/bin"}),
        (Rules(include_exes=("run",)), set()),
        (Rules(include_shell=True), SHELL),
        (Rules(include_workdir=True), APP),
        (Rules(preserve_paths=("/srv/app",)), APP),
        (Rules(path_perms=(Permissions("/opt/notes", 0o600),)), set()),
    ],
)
def test_what_a_rule_keeps(rules: Rules, there: set[str]) -> None:
    image = capture(IMAGE, config={"WorkingDir": "/srv/app"})
    assert kept(image, rules) - kept(image) == there - kept(image)


SEEN, CLAIMED, INCLUDED, PRESERVED = "/a/seen", "/a/named", "/a/wished", "/a/sacred"


@pytest.mark.parametrize(
    ("rules", "there"),
    [
        (Rules(), {SEEN}),
        (Rules(include_paths=(INCLUDED,)), {SEEN, INCLUDED}),
        (Rules(exclude_patterns=(SEEN,)), set()),  # exclude > trace
        (Rules(include_paths=(INCLUDED,), exclude_patterns=(INCLUDED,)), {SEEN}),  # exclude > include
        (Rules(include_paths=("/a",), exclude_patterns=("**/[sn]*",)), {INCLUDED}),
        (Rules(preserve_paths=(SEEN,), exclude_patterns=("/a",)), {SEEN}),  # preserve > exclude
        (Rules(preserve_paths=("/a",), exclude_patterns=("**",)), {SEEN, CLAIMED, INCLUDED, PRESERVED}),
        (Rules(include_paths=("/a",), preserve_paths=(PRESERVED,), exclude_patterns=("/a/*",)), {PRESERVED}),
        (Rules(exclude_patterns=("/a/s*", "/a/n*"), preserve_paths=(CLAIMED,)), {CLAIMED}),
    ],
)
def test_which_rule_wins(rules: Rules, there: set[str]) -> None:
    image = capture({SEEN: "file", CLAIMED: "file", INCLUDED: "file", PRESERVED: "file"}, [read(SEEN)])
    assert set(selected(image, rules).kept) - {"/", "/a"} == there


@pytest.mark.parametrize(("keep", "there"), [(Keep.EXACT, False), (Keep.CLOSURE, True), (Keep.PACKAGE, True)])
@pytest.mark.parametrize("excluded", [False, True])
@pytest.mark.parametrize("included", [False, True])
def test_the_policy_is_below_the_rules(
    keep: Keep, there: bool, excluded: bool, included: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slimtrace.reason.keep import finders
    from slimtrace.reason.keep.evidence import Claim

    class Naming:
        def __init__(self, _: Any) -> None: ...

        def found(self, path: str) -> list[Claim]:
            return [Claim(CLAIMED, Why.IMPORTED, path, "a line")] if path == SEEN else []

    monkeypatch.setattr(finders, "FINDER_FACTORIES", {"naming": Naming})
    rules = Rules(keep, (CLAIMED,) if included else (), exclude_patterns=(CLAIMED,) if excluded else ())
    image = capture({SEEN: "file", CLAIMED: "file"}, [read(SEEN)])
    assert (CLAIMED in selected(image, rules)) == ((there or included) and not excluded)
    dropped = Rules(keep, exclude_patterns=(SEEN,))
    assert CLAIMED not in selected(image, dropped)  # finders do not read a dropped file


def test_what_is_dropped_needs_nothing() -> None:
    image = capture(IMAGE)
    rules = Rules(include_exes=("tool",), exclude_patterns=("/usr/bin/tool",))
    assert kept(image, rules) == kept(image)
    rules = Rules(include_exes=("tool",), exclude_patterns=("**/libz*",))
    assert not {LIBZ} & kept(image, rules)
    assert LIBC in kept(image, rules)  # the program itself needs it too
    rules = Rules(include_bins=("/opt/plugin.so",), exclude_patterns=("**/libz*",))
    assert LIBC not in kept(image, rules)  # only libz does


def test_an_excluded_interpreter_is_no_doubt() -> None:
    rules = Rules(include_bins=("/opt/run",), exclude_patterns=("/usr/bin/dash",))
    chosen = selected(capture(IMAGE), rules)
    assert "/opt/run" in chosen
    assert "/usr/bin/dash" not in chosen
    assert chosen.doubts == ()


def test_a_link_on_the_way_to_what_is_preserved_stays() -> None:
    rules = Rules(preserve_paths=("/srv/now/doc/empty",), exclude_patterns=("/srv",))
    chosen = selected(capture(IMAGE), rules)
    assert {"/srv/now", "/srv/app/doc/empty"} <= set(chosen.kept)
    assert not {"/srv/app/doc/a.md", "/srv/app/main"} & set(chosen.kept)


def test_a_rule_says_so() -> None:
    chosen = selected(capture(IMAGE, config={"WorkingDir": "/srv/app"}), Rules(include_workdir=True))
    assert chosen.kept["/srv/app/main"] == (Reason(Why.RULE, "WORKDIR"),)


@pytest.mark.parametrize("mount", ["/srv", "/srv/app", "/srv/app/doc"])
def test_a_mount_of_the_run_does_not_hide_what_a_rule_names(mount: str) -> None:
    image = capture(IMAGE, mounts=[mount])
    assert {"/srv/now", *APP} <= kept(image, Rules(include_paths=("/srv/now",)))


@pytest.mark.parametrize(
    ("rules", "config", "subjects"),
    [
        (Rules(include_paths=("/gone", "/opt")), {}, ["/gone"]),
        (Rules(preserve_paths=("/gone/\n",)), {}, ["/gone/\n"]),
        (Rules(include_bins=("gone", "/gone", "/opt", "tool", "/opt/notes")), {}, ["gone", "/gone", "/opt"]),
        (Rules(include_exes=("gone", "tool")), {}, ["gone"]),
        (Rules(include_workdir=True), {}, ["WORKDIR"]),
        (Rules(include_workdir=True), {"WorkingDir": "/"}, ["WORKDIR"]),
        (Rules(include_workdir=True), {"WorkingDir": "/srv/../"}, ["WORKDIR"]),
        (Rules(include_workdir=True), {"WorkingDir": "/new"}, ["WORKDIR"]),
        (Rules(include_workdir=True), {"WorkingDir": "/srv"}, []),
        (Rules(include_shell=True), {"Shell": ["/bin/bash", "-c"]}, ["/bin/bash"]),
        (Rules(path_perms=(Permissions("/opt/notes", 0),)), {}, ["/opt/notes"]),
        (Rules(include_paths=("/opt",), path_perms=(Permissions("/srv/app/way", 0),)), {}, []),
    ],
)
def test_what_the_image_does_not_have_is_doubtful(
    rules: Rules, config: dict[str, Any], subjects: list[str]
) -> None:
    doubts = selected(capture(IMAGE, config=config), rules).doubts
    assert [doubt.subject for doubt in doubts] == subjects
    assert all(doubt.text.isprintable() for doubt in doubts)


def test_the_pattern_that_dropped_a_path() -> None:
    rules = Rules(exclude_patterns=("/opt", "/srv/**/*.md", "/srv/app/doc"), preserve_paths=("/opt/run",))
    exclusion = Exclusion(tree(IMAGE), rules)
    dropped_by = {
        path: exclusion.dropped_by(path) for path in ("/opt", "/opt/run", "/srv/app/doc/a.md", "/srv", "/")
    }
    assert dropped_by == {
        "/opt": "/opt",
        "/opt/run": "",
        "/srv/app/doc/a.md": "/srv/**/*.md",
        "/srv": "",
        "/": "",
    }


# ------------------------------------------------------------------ permissions


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/a:755#1#2", Permissions("/a", 0o755, 1, 2)),
        ("/a:4755", Permissions("/a", 0o4755)),
        ("/a:0", Permissions("/a", 0)),
        ("/a:#5", Permissions("/a", None, 5)),
        ("/a:##7", Permissions("/a", None, None, 7)),
        ("/a:640##7", Permissions("/a", 0o640, None, 7)),
        ("/a:640#7#", Permissions("/a", 0o640, 7)),
        ("/a:b:600", Permissions("/a:b", 0o600)),
        ("/a\n:600", Permissions("/a\n", 0o600)),
        ("/a:0600#0#4294967294", Permissions("/a", 0o600, 0, 2**32 - 2)),
        ("/a", None),
        ("/a:", None),
        ("/a:#", None),
        ("/a:##", None),
        (":600", None),
        ("/a:888", None),
        ("/a:17777", None),
        ("/a:u+x", None),
        ("/a:600#root", None),
        ("/a:600#0#4294967295", None),
        ("/a:600#1#2#3", None),
        ("/a:600#²", None),
    ],
)
def test_permissions_as_text(text: str, wanted: Permissions | None) -> None:
    if wanted is None:
        with pytest.raises(SlimtraceError, match="cannot set permissions by"):
            path_permissions.parse(text)
    else:
        assert path_permissions.parse(text) == wanted
        assert path_permissions.parse(str(wanted)) == wanted


@pytest.mark.parametrize(
    ("line", "read_as"),
    [
        ("/a", ("/a", None)),
        ("/a:b", ("/a:b", None)),
        ("/a:600", ("/a:600", None)),  # a name may end so
        ("/a:600#1#2", ("/a", Permissions("/a", 0o600, 1, 2))),
        ("/a#b", ("/a#b", None)),
        ("/a#b:c", ("/a#b:c", None)),
        ("/a:rw#1#2", ("/a:rw#1#2", None)),
    ],
)
def test_a_line_of_a_list_of_paths(line: str, read_as: tuple[str, Permissions | None]) -> None:
    assert path_permissions.parse_path_line(line) == read_as


FILES = {
    "/d/a": "file inode=3",
    "/d/b": "file inode=3",
    "/d/c": "file 0640",
    "/d/l": "link c",
    "/d/e": "dir",
}


@pytest.mark.parametrize(
    ("wanted", "changed"),
    [
        ((), {}),
        ([Permissions("/d/c", 0o600, 1, 2)], {"/d/c": (0o600, 1, 2)}),
        ([Permissions("/d/l", 0o600)], {"/d/c": (0o600, 0, 0)}),
        (
            [Permissions("/d/a", 0o4711), Permissions("/d/b", None, 1)],
            {"/d/a": (0o4711, 1, 0), "/d/b": (0o4711, 1, 0)},
        ),
        ([Permissions("/d/e", 0o2770, 0, 7)], {"/d/e": (0o2770, 0, 7)}),
        ([Permissions("/d/c", 0o600, 1), Permissions("/d/c", 0o644, None, 9)], {"/d/c": (0o644, 1, 9)}),
        ([Permissions("/", 0o700)], {"/": (0o700, 0, 0)}),
    ],
)
def test_permissions_of_a_tree(wanted: list[Permissions], changed: dict[str, tuple[int, int, int]]) -> None:
    before = tree(FILES)
    after = path_permissions.apply(before, tuple(wanted))
    found = {entry.path: (entry.mode, entry.uid, entry.gid) for entry in after if entry != before[entry.path]}
    assert found == changed
    assert list(after.entries) == list(before.entries)


def test_permissions_of_what_is_not_there() -> None:
    with pytest.raises(SlimtraceError, match="cannot set the permissions of /gone: the image does not have it"):
        path_permissions.apply(tree(FILES), (Permissions("/gone", 0o600),))
