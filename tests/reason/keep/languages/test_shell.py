"""The programs, scripts and files that shell scripts in use bring."""

from collections.abc import Mapping

import pytest

from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Exec, Origin
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.rules import Keep, Rules

from ...trees import capture, kept, read, selected

BASE = {
    "/bin/sh": "elf",
    "/usr/bin/date": "elf needs=libdate.so.1",
    "/usr/lib/libdate.so.1": "elf soname=libdate.so.1",
    "/usr/bin/id": "elf",
    "/usr/bin/sed": "elf",
    "/opt/bin/tool": "script #!/bin/sh\\nid",
    "/opt/bin/data": "text not executable",
    "/usr/local/lib/lib.sh": "text f() { sed; }",
    "/etc/app.conf": "text x",
    "/srv/job/here.py": "text x",
}
CONFIG = {"Env": ["PATH=/usr/bin:/bin", "HOME_DIR=/etc"], "WorkingDir": "/srv/job"}


def ran(script: str, spec: Mapping[str, str] | None = None, path: str = "/entry.sh") -> Capture:
    run = Exec(path, "", "/bin/sh", 1, 0, Origin.CONTAINER, argv=("/bin/sh", path))
    return capture({**BASE, path: f"script #!/bin/sh\\n{script}", **(spec or {})}, [], [run], CONFIG)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("date", {"/usr/bin/date", "/usr/lib/libdate.so.1"}),
        ("if x; then y=$(id -u); fi", {"/usr/bin/id"}),
        ("tool", set()),  # not on the PATH
        ("PATH=/opt/bin:$PATH\\ntool", {"/opt/bin/tool", "/usr/bin/id"}),
        ("export PATH=/opt/bin\\ndata", set()),
        ("/opt/bin/tool", {"/opt/bin/tool", "/usr/bin/id"}),
        ("DIR=/opt/bin\\n$DIR/tool", {"/opt/bin/tool", "/usr/bin/id"}),
        ('A=/opt; B=$A/bin\\n"${B}/tool" x', {"/opt/bin/tool", "/usr/bin/id"}),
        ('CMD="id -u"\\n$CMD', {"/usr/bin/id"}),
        ("${CMD:-id}", {"/usr/bin/id"}),
        (". /usr/local/lib/lib.sh", {"/usr/local/lib/lib.sh", "/usr/bin/sed"}),
        ("LIB=/usr/local/lib\\n. $LIB/lib.sh", {"/usr/local/lib/lib.sh", "/usr/bin/sed"}),
        ("sh lib.sh", set()),
        ("test -f $HOME_DIR/app.conf", {"/etc/app.conf"}),
        ("x --conf=/etc/app.conf", {"/etc/app.conf"}),
        ("exec python here.py", {"/srv/job/here.py"}),
        ("echo x >/srv/other/new", set()),
        ("[ -x /usr/bin/id ]", {"/usr/bin/id"}),
        ("cat /proc/1/maps /dev/null; x ../../../../etc/app.conf", {"/etc/app.conf"}),
    ],
)
def test_what_a_script_names(script: str, expected: set[str]) -> None:
    seen = ran(script)
    found = kept(seen) - kept(ran(":"))
    # a directory that is named is kept too, but not what is in it
    assert {path for path in found if seen.tree[path].kind is not Kind.DIR} == expected


def test_a_directory_that_a_script_writes_in_is_kept() -> None:
    spec = {"/run/app": "dir 0700", "/run/app/old": "file"}
    found = kept(ran("echo x >/run/app/pid", spec)) - kept(ran(":", spec))
    assert found == {"/run/app"}


@pytest.mark.parametrize(
    ("script", "path", "codes"),
    [
        ('exec "$@"', "/entry.sh", []),
        ('"$1" x; ${1} y; "${@}"', "/entry.sh", []),
        ("$tool x\\n$other", "/entry.sh", ["computed-command"]),
        ("$tool x", "/usr/bin/tool.sh", []),  # the distribution's own
        ("tool=id; $tool", "/entry.sh", []),
        ("nothing-of-that-name", "/entry.sh", []),
    ],
)
def test_computed_commands(script: str, path: str, codes: list[str]) -> None:
    doubts = selected(ran(script, path=path)).doubts
    assert [doubt.code for doubt in doubts] == codes
    if codes:
        assert f"{path}:2" in doubts[0].text


def test_a_script_given_to_a_shell_and_one_that_it_opened() -> None:
    spec = {**BASE, "/srv/job/run": "text date", "/etc/profile.d/x.sh": "text id", "/etc/list": "text sed"}
    run = Exec("/bin/sh", "", "/bin/sh", 1, 0, Origin.CONTAINER, argv=("sh", "-e", "run"))
    uses = [read(path, pid=1) for path in ("/srv/job/run", "/etc/profile.d/x.sh", "/etc/list")]
    found = kept(capture(spec, uses, [run], CONFIG))
    assert {"/usr/bin/date", "/usr/bin/id"} <= found
    assert "/usr/bin/sed" not in found


def test_nothing_is_added_with_keep_exact() -> None:
    assert "/usr/bin/date" in kept(ran("date"))
    assert "/usr/bin/date" not in kept(ran("date"), Rules(keep=Keep.EXACT))
