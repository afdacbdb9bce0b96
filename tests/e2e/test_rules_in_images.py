"""The rules of a build on real images: which files each rule keeps, and which rule wins."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from builds import Build, Program
from containers import docker, entries, inspect

from slimtrace.errors import Exit

Builder = Callable[..., Build]
Images = Callable[[str], str]

LIBRARY = "/usr/lib/x86_64-linux-gnu/libbz2.so.1.0.4"
DATE = ("--entrypoint", "date")  # instead of jq, so that nothing uses /data
DOC = "/usr/share/doc/jq"


@pytest.mark.parametrize(
    ("options", "there", "absent"),
    [
        ((), set(), {"/data/people.json", "/usr/bin/stat", LIBRARY}),
        (("--include-workdir",), {"/data/people.json"}, {"/usr/bin/stat"}),
        (("--include-exe", "stat"), {"/usr/bin/stat", "/usr/lib/x86_64-linux-gnu/libselinux.so.1"}, set()),
        (("--include-bin", "/bin/stat"), {"/usr/bin/stat", "/bin"}, set()),
        (("--include-bin", LIBRARY), {LIBRARY}, {"/usr/bin/stat"}),
        (
            ("--include-bin", "/usr/bin/ldd"),
            {"/usr/bin/ldd", "/usr/bin/bash"},
            set(),
        ),  # a script, and its interpreter
        # preserve > exclude > include > what the run used
        (("--exclude-pattern", "**/date"), set(), {"/usr/bin/date"}),
        (("--include-path", "/data", "--exclude-pattern", "**.json"), {"/data"}, {"/data/people.json"}),
        (
            ("--include-path", DOC, "--preserve-path", f"{DOC}/copyright", "--exclude-pattern", "/usr/share"),
            {DOC, f"{DOC}/copyright"},
            {f"{DOC}/changelog.Debian.gz", f"{DOC}/NEWS.Debian.gz"},
        ),
        (
            ("--preserve-path", "/var/spool", "--exclude-pattern", "**"),
            {"/var/spool", "/var/spool/mail"},
            {"/etc"},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_is_kept(build: Builder, options: tuple[str, ...], there: set[str], absent: set[str]) -> None:
    kept = build("jq", *DATE, *options).kept
    assert there <= kept
    assert not absent & kept


def test_programs_and_lists_and_permissions_as_a_container_sees_them(build: Builder, tmp_path: Path) -> None:
    listed = tmp_path / "keep.txt"
    listed.write_text("# for the tests\n\n/data/people.json:0604#7#8\n/etc/issue\n")
    options = ("--include-path-file", str(listed), "--include-exe", "stat", "--include-path", "/var/spool")
    wanted = ("--path-perms", "/var/spool:1770##65534", "--path-perms", "/etc/issue.net:4600")
    result = build("jq", *DATE, *options, *wanted)
    paths = ("/data/people.json", "/etc/issue", "/var/spool", "/data")
    said = docker("run", "--rm", "--entrypoint", "stat", result.slim, "--format=%n %a %u:%g", *paths)
    assert said.splitlines() == [
        "/data/people.json 604 7:8", "/etc/issue 644 0:0", "/var/spool 1770 0:65534", "/data 755 0:0",
    ]  # fmt: skip
    # --path-perms alone does not keep a path; a doubt says so.
    assert [(doubt["code"], doubt["subject"]) for doubt in result.report["doubts"]] == [
        ("unkept-path", "/etc/issue.net")
    ]


def test_permissions_leave_capabilities_and_setuid_and_all_names_alike(build: Builder, image: Images) -> None:
    permissions = (
        "/bin/edge-capable:0711#1234#1234",
        "/bin/edge-setuid:#0#0",
        "/etc/app.conf:0600",
        "/data/first:#5",
    )
    result = build("edge", *(word for each in permissions for word in ("--path-perms", each)))
    fat, slim = entries(result.fat), entries(result.slim)
    found = {path: (slim[path].mode & 0o7777, slim[path].uid, slim[path].gid) for path in slim}
    assert found["/bin/edge-capable"] == (0o711, 1234, 1234)
    assert slim["/bin/edge-capable"].capability == fat["/bin/edge-capable"].capability != ""
    assert found["/bin/edge-setuid"] == (0o4755, 0, 0)
    assert found["/opt/releases/2.0/conf/app.conf"] == (0o600, 0, 0)  # the target of the link
    assert found["/data/first"] == found["/var/spool/second"] == (0o640, 5, 2000)
    assert slim["/data/first"].names == {"/data/first", "/var/spool/second"}
    said = docker("run", "--rm", "--entrypoint", "/bin/edge-setuid", result.slim)
    assert said == "setuid: euid 0"
    others = slim.keys() - {"/bin/edge-capable", "/bin/edge-setuid", "/opt/releases/2.0/conf/app.conf"}
    others -= {"/data/first", "/var/spool/second"}
    assert {path: vars(slim[path]) for path in others} == {
        path: {**vars(fat[path]), "names": fat[path].names & slim.keys()} for path in others
    }


@pytest.mark.parametrize(
    ("options", "exit_code", "said"),
    [
        (("--path-perms", "/gone:0600"), Exit.BAD_INPUT, "cannot set the permissions of /gone"),
        (("--path-perms", "/etc:rwx"), Exit.USAGE, "cannot set permissions by '/etc:rwx'"),
        (("--include-path", "etc"), Exit.USAGE, "a path in the image begins with /"),
        (("--include-exe", "/bin/sh"), Exit.USAGE, "--include-bin"),
        (("--keep", "all"), Exit.USAGE, "exact, closure, package"),
        (("--include-path-file", "/gone"), Exit.BAD_INPUT, "cannot read /gone"),
        (("--config", "/gone"), Exit.BAD_INPUT, "cannot read /gone"),
    ],
)
def test_what_means_nothing_ends_before_the_container_starts(
    build: Builder, options: tuple[str, ...], exit_code: Exit, said: str
) -> None:
    result = build("never-listens", *options)  # a run would take a minute
    assert result.completed.returncode == exit_code
    assert said in result.completed.stderr
    assert not result.artifacts.exists()


@pytest.mark.parametrize("options", [("--include-path", "/gone"), ("--include-exe", "gone")])
def test_what_a_rule_names_in_vain_is_doubtful(build: Builder, options: tuple[str, ...]) -> None:
    result = build("jq", "--strict", *options)
    assert result.completed.returncode == Exit.DOUBTFUL
    assert [doubt["subject"] for doubt in json.loads(result.completed.stdout)["doubts"]] == [options[1]]


def test_exact_keeps_no_more_than_the_closure(build: Builder, built: Callable[[str], Build]) -> None:
    exact = build("python", "--keep", "exact")
    assert exact.kept <= built("python").kept
    assert 'keep = "exact"' in (exact.artifacts / "rules.toml").read_text()
    assert 'keep = "closure"' in (built("python").artifacts / "rules.toml").read_text()


def test_a_file_says_all_of_it_and_the_rules_are_followed_again(
    image: Images, slimtrace: Program, name_for_slim: Callable[[str], str], tmp_path: Path
) -> None:
    first, again = name_for_slim("configured"), name_for_slim("again")
    (tmp_path / "keep.txt").write_text("/etc/issue:0600#1#2\n")
    (tmp_path / "slimtrace.toml").write_text(f"""
        [build]
        tag = "{first}"
        artifacts = "one"
        [rules]
        include-path-file = ["keep.txt"]
        include-exe = ["stat"]
        exclude-pattern = ["**.json"]
        [exercise]
        entrypoint = "date"
    """)
    done = slimtrace("build", "--json", "--include-exe", "env", image("jq"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    kept = {file["path"] for file in json.loads(done.stdout)["files"]}
    assert {"/etc/issue", "/usr/bin/stat", "/usr/bin/env", "/usr/bin/date"} <= kept
    assert "/data/people.json" not in kept
    (tmp_path / "slimtrace.toml").unlink()
    rules, capture = tmp_path / "one" / "rules.toml", tmp_path / "one" / "capture"
    words = ("--from", str(capture), "--config", str(rules), "--tag", again, "--artifacts", "two")
    done = slimtrace("build", *words, image("jq"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert inspect(first, ".RootFS.Layers") == inspect(again, ".RootFS.Layers")
    assert (tmp_path / "two" / "rules.toml").read_text() == rules.read_text()
