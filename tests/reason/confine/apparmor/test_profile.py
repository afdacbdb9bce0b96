"""The AppArmor profile: rules by use, and that apparmor_parser takes whatever a name may hold."""

from typing import Any

import pytest

from slimtrace.facts.capture import Capture
from slimtrace.facts.events import CallSet, Exec, FileUse, Origin, Phase, Use
from slimtrace.facts.image import Image
from slimtrace.reason.confine import apparmor

from ...keep.test_graph import SERVER
from ...trees import capture, read, selected
from .profiles import compiled


def profile(seen: Capture) -> str:
    return apparmor.profile(apparmor.profile_name(seen.image), seen, selected(seen))


def use(what: Use, path: str, **more: Any) -> FileUse:
    return FileUse(what, path, **more)


@pytest.mark.parametrize(
    ("event", "rule"),
    [
        (read("/real/c.txt"), '"/real/c.txt" r,'),
        (read("/app/a.txt", "/real/c.txt"), '"/real/c.txt" r,'),  # the real path, not the link's
        (use(Use.STAT, "/real/c.txt"), '"/real/c.txt" r,'),
        (use(Use.LIST, "/app", resolved="/app"), '"/app/" r,'),
        (read("/usr/lib/libt.so", "/usr/lib/libt.so.1"), '"/usr/lib/libt.so.1" rm,'),
        (use(Use.EXEC, "/opt/tool", resolved="/opt/tool"), '"/opt/tool" rmix,'),
        (use(Use.WRITE, "/real/c.txt", resolved="/real/c.txt"), '"/real/c.txt" rwk,'),
        (read("/proc/17/stat", foreign=True), '"/proc/@{slimtrace_pid}/stat" r,'),
        (read("/proc/1/task/9/comm", foreign=True), '"/proc/@{slimtrace_pid}/task/@{slimtrace_pid}/comm" r,'),
        (read("/proc/sys/kernel/x", foreign=True), '"/proc/sys/kernel/x" r,'),
        (use(Use.WRITE, "/tmp/x1", resolved="/tmp/x1"), '"/tmp/{,**}" rwkl,'),
        (use(Use.WRITE, "/x1", resolved="/x1"), '"/x1" rwk,'),
        (use(Use.CHANGE, "/desk/l", call="link"), '"/desk/l" rwkl,'),
        (read('/odd/a b"[*]\n'), None),
    ],
)
def test_rules_by_use(event: FileUse, rule: str | None) -> None:
    text = profile(capture(SERVER, [event], mounts=("/proc",)))
    if rule:
        assert f"  {rule}\n" in text


def test_what_no_one_uses_is_not_there() -> None:
    text = profile(capture(SERVER, [use(Use.WRITE, "/tmp/x", pid=9, origin=Origin.EXEC)], own_execs=(9,)))
    assert "/real/c.txt" not in text and '"/tmp/' not in text


def test_network_only_with_sockets() -> None:
    calls = [CallSet(Phase.APP, Origin.CONTAINER, names) for names in (("read",), ("read", "socket"))]
    found = ["network inet," in profile(capture({}, calls=(group,))) for group in calls]
    assert found == [False, True]


def test_programs_run_under_the_same_profile() -> None:
    text = profile(capture(SERVER, execs=[Exec("/entry.sh", "", "/usr/bin/dash", 1, 0)]))
    assert '  "/entry.sh" rmix,\n' in text and '  "/usr/bin/dash" rmix,\n' in text


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("my/app:1.2", "slimtrace-my-app-1.2"),
        ("reg.io:5000/a_b@sha256:00", "slimtrace-reg.io-5000-a_b-sha256-00"),
        ('"} profile x {', "slimtrace-profile-x"),
        ("", "slimtrace-abc"),
    ],
)
def test_names(reference: str, name: str) -> None:
    assert apparmor.profile_name(Image("sha256:abc", reference)) == name


@pytest.mark.requires("apparmor-parser")
def test_the_parser_takes_a_server() -> None:
    events = [
        read("/real/c.txt"),
        read("/proc/17/task/3/stat", foreign=True),
        use(Use.WRITE, "/tmp/x1", resolved="/tmp/x1"),
        use(Use.LIST, "/app", resolved="/app"),
        use(Use.WRITE, "/", resolved="/"),
    ]
    execs = [Exec("/entry.sh", "", "/usr/bin/dash", 1, 0)]
    done = compiled(profile(capture(SERVER, events, execs, {"Cmd": ["/opt/tool"]}, mounts=("/proc",))))
    assert done.returncode == 0, done.stderr


@pytest.mark.requires("apparmor-parser")
@pytest.mark.parametrize(
    ("path", "expression"),
    [
        ("/a b", rb"/a\ b"),
        ("/a*b", rb"/a\*b"),
        ("/a?b", rb"/a?b"),
        ("/a[b]", rb"/a\[b\]"),
        ("/a{b,c}", rb"/a{b,c}"),
        ("/a@{b}", rb"/a@{b}"),
        ('/a"b', rb'/a"b'),
        ("/a\\b", rb"/a\\b"),
        ("/a\nb", rb"/a\nb"),
        ("/a^b", rb"/a^b"),
        ("/a\\052", rb"/a\\052"),
        ("/a\udcff", rb"/a\xff"),
    ],
)
def test_a_name_means_itself(path: str, expression: bytes) -> None:
    text = f"profile x {{\n {apparmor.quoted(path)} r,\n}}\n"
    done = compiled(text, "-D", "rule-exprs")
    assert done.returncode == 0
    # The parser prints the expression that it compiles, with its own escapes for what has a meaning there.
    shown = (done.stdout + done.stderr).replace(b"\\\\", b"\\")
    assert expression.replace(b"\\\\", b"\\") in shown
