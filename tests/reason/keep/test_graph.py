"""Which paths a file use, an exec, a setting or a mount makes the image keep, and why."""

import random
import time
from typing import Any

import pytest

from slimtrace.facts.events import Exec, FileUse, Origin, Use
from slimtrace.facts.selection import Reason, Why
from slimtrace.facts.tree import Entry, FileTree, Kind
from slimtrace.reason.keep import graph_builder
from slimtrace.reason.keep.rules import Rules

from ..trees import DASH, GLIBC, INTERP, Answers, capture, kept, orders, read, selected

TREE = {
    **GLIBC,
    "/app/data": "file size=5",
    "/app/a.txt": "link b.txt",
    "/app/b.txt": "link ../real/c.txt",
    "/real/c.txt": "file",
    "/dangling": "link nowhere/at/all",
    "/loop": "link loop",
    "/srv/up": "link x/../data",
    "/srv/x": "dir",
    "/srv/data": "file",
    "/vol/seed": "file",
    "/vol/other": "file",
    "/empty": "dir 0700",
    "/opt/tool": f"elf {INTERP} needs=libt.so",
    "/usr/lib/libt.so": "link libt.so.1",
    "/usr/lib/libt.so.1": "elf soname=libt.so needs=libc.so.6",
    "/etc/ld.so.cache": "file",
}
LOADER = {"/lib", "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"}
LIBC = {*LOADER, "/usr/lib/x86_64-linux-gnu/libc.so.6"}
PROGRAM = {*LIBC, "/lib64", "/usr/lib64/ld-linux-x86-64.so.2", "/etc", "/etc/ld.so.cache"}
TOOL = {*PROGRAM, "/opt/tool", "/usr/lib/libt.so", "/usr/lib/libt.so.1"}


def use(what: Use, path: str, **more: Any) -> FileUse:
    return FileUse(what, path, **more)


@pytest.mark.parametrize(
    ("why", "event", "expected"),
    [
        ("a file", read("/app/data"), {"/app/data"}),
        (
            "all links on the way",
            read("/app/a.txt", "/real/c.txt"),
            {"/app/a.txt", "/app/b.txt", "/real/c.txt"},
        ),
        ("relative to its base", FileUse(Use.READ, "data", "/app", "/app/data"), {"/app/data"}),
        ("a link that is read", use(Use.LINK, "/app/a.txt"), {"/app/a.txt"}),
        ("lstat", use(Use.STAT, "/app/a.txt", call="lstat"), {"/app/a.txt"}),
        ("stat", use(Use.STAT, "/app/b.txt"), {"/app/b.txt", "/real/c.txt"}),
        ("a listed directory", use(Use.LIST, "/app", resolved="/app"), {"/app"}),
        ("an entered directory", use(Use.ENTER, "/empty"), {"/empty"}),
        (
            "a library and its needs",
            read("/usr/lib/libt.so", "/usr/lib/libt.so.1"),
            TOOL - PROGRAM - {"/opt/tool"} | LIBC,
        ),
        ("a stat brings no needs", use(Use.STAT, "/opt/tool"), {"/opt/tool"}),
        ("a program", use(Use.EXEC, "/opt/tool", resolved="/opt/tool"), TOOL),
        ("lookup in vain", use(Use.STAT, "/app/none/x", error=2), {"/app"}),
        ("in vain here, though the image has it", use(Use.STAT, "/app/data", error=2), {"/app"}),
        ("in vain by a dangling link", use(Use.STAT, "/dangling", error=2), {"/dangling"}),
        ("a file taken for a directory", use(Use.STAT, "/app/data/x", error=20), {"/app/data"}),
        ("refused, but there", use(Use.READ, "/app/data", error=13), {"/app/data"}),
        ("ELOOP", use(Use.STAT, "/loop", error=40), {"/loop"}),
        ("created", read("/empty/new", created=True), {"/empty"}),
        ("written over", use(Use.WRITE, "/app/data", resolved="/app/data"), {"/app/data"}),
        ("removed link", use(Use.CHANGE, "/app/a.txt", call="unlink"), {"/app/a.txt"}),
        ("made directory", use(Use.CHANGE, "/empty/d", call="mkdir"), {"/empty"}),
        ("under a mount", read("/mnt/x/y", foreign=True), set()),
        ("a mount over the image's files", read("/real/c.txt"), {"/real"}),
        (
            "by a link into a mount",
            read("/app/a.txt", "/real/c.txt", foreign=True),
            {"/app/a.txt", "/app/b.txt", "/real"},
        ),
        ("what fills a VOLUME", read("/vol/seed", foreign=True), {"/vol", "/vol/seed"}),
        ("what a VOLUME got later", read("/vol/new", foreign=True), {"/vol"}),
        ("up and down", read("/srv/x/../data", "/srv/data"), {"/srv/data"}),
        ("up and down by a link", read("/srv/up", "/srv/data"), {"/srv/up", "/srv/data"}),
        ("cut", use(Use.READ, "/app/da", resolved="/app/data", truncated=True), {"/app/data"}),
    ],
)
def test_use(why: str, event: FileUse, expected: set[str]) -> None:
    mounts = ("/mnt", "/vol", *(("/real",) if "mount" in why else ()))
    seen = capture(TREE, [event], config={"Volumes": {"/vol": {}}}, mounts=mounts)
    always = {"/etc", "/vol"}  # for the runtime, and by VOLUME
    assert kept(seen) - always == expected - always, why


def test_what_is_walked_through_is_there() -> None:
    assert "/srv/x" in selected(capture(TREE, [read("/srv/x/../data", "/srv/data")])).kept
    assert "/srv/x" in selected(capture(TREE, [read("/srv/up", "/srv/data")])).kept


def test_every_kept_path_has_its_directories_and_reasons() -> None:
    chosen = selected(capture(TREE, [read("/app/a.txt", "/real/c.txt")]))
    assert Reason(Why.PARENT, "/real/c.txt") in chosen.kept["/real"]
    assert all(chosen.kept.values())
    assert chosen.kept["/app/b.txt"] == (Reason(Why.LINK_TO, "/real/c.txt"),)


SERVER = {
    **TREE,
    **DASH,
    "/entry.sh": "script #!/bin/sh",
    "/usr/bin/curl": f"elf {INTERP}",
    "/etc/passwd": "text root:x:0:0::/root:/bin/sh\\napp:x:7:7::/home/app:/bin/sh\\n",
    "/etc/group": "text root:x:0:",
    "/home/app": "dir 0700",
    "/root": "dir 0700",
    "/var/run": "link /run",
    "/run": "dir",
    "/tmp": "dir 1777",
    "/desk": "dir",
    "/data": "dir",
}
ALWAYS = {"/etc", "/etc/passwd", "/etc/group", "/run", "/var/run", "/tmp"}
SH = {*PROGRAM, "/bin", "/usr/bin/sh", "/usr/bin/dash"}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, {"/root"}),
        ({"User": "app:app", "WorkingDir": "/desk/"}, {"/home/app", "/desk"}),
        ({"User": "7"}, {"/home/app"}),
        ({"User": "99"}, set()),
        ({"User": "7", "Volumes": {"/data": {}}}, {"/home/app", "/data"}),
        ({"Entrypoint": ["/opt/tool"]}, {"/root", *TOOL}),
        (
            {"Entrypoint": ["/entry.sh"], "Cmd": ["tool"], "Env": ["PATH=/usr/bin:/opt"]},
            {"/root", "/entry.sh", *SH, *TOOL},
        ),
        ({"Cmd": ["/bin/sh", "-c", "curl x"]}, {"/root", *SH, "/usr/bin/curl"}),
        ({"Cmd": ["/opt/tool"], "Shell": ["/usr/bin/curl"]}, {"/root", *TOOL}),
        ({"Healthcheck": {"Test": ["CMD", "curl", "x"]}}, {"/root", *PROGRAM, "/usr/bin/curl"}),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "curl -f x || exit 1"]}}, {"/root", *SH, "/usr/bin/curl"}),
        ({"Healthcheck": {"Test": ["NONE"]}}, {"/root"}),
    ],
)
def test_configuration(config: dict[str, Any], expected: set[str]) -> None:
    got = kept(capture(SERVER, config=config)) - ALWAYS
    # A program without needs still has its interpreter, which is no libc.
    assert got - LIBC == expected - ALWAYS - LIBC


def test_exec_sessions_from_outside_do_not_count() -> None:
    run = {"base": "", "parent": 0, "origin": Origin.EXEC}
    events = [
        read("/app/data", pid=51, origin=Origin.EXEC),
        read("/srv/data", pid=60, origin=Origin.EXEC),
        read("/real/c.txt", pid=51),  # the container's own: a pid alone does not decide
        read("/opt/tool", pid=70, origin=Origin.EXEC),
    ]
    health = ("curl", "x")
    execs = [
        Exec("/bin/sh", binary="/usr/bin/dash", pid=50, **run),
        Exec("/usr/bin/curl", binary="", pid=60, argv=health, **run),
        Exec("/bin/sh", binary="/usr/bin/dash", pid=70, argv=("sh", "-c", "docker exec of somebody's"), **run),
    ]
    config = {"Healthcheck": {"Test": ["CMD", *health]}}
    seen = capture(SERVER, events, execs, own_execs=(50,), parents={51: 50}, config=config)
    got = kept(seen)
    assert "/app/data" not in got and "/usr/bin/dash" not in got and "/opt/tool" not in got
    assert {"/srv/data", "/usr/bin/curl", "/real/c.txt"} <= got


def test_exec_of_a_script() -> None:
    run = Exec("entry.sh", "/", "/usr/bin/dash", pid=1, parent=0)
    assert {"/entry.sh", *SH} <= kept(capture(SERVER, execs=[run]))


def test_chain_leads_from_the_configuration() -> None:
    execs = [
        Exec("/entry.sh", "", "/usr/bin/dash", pid=1, parent=0),
        Exec("/opt/tool", "", "/opt/tool", pid=1, parent=0),
    ]
    uses = [
        read("/app/a.txt", "/real/c.txt", pid=9, program="/opt/tool"),
        read("/srv/up", "/srv/data", pid=1, program="/entry.sh"),  # before it executed the tool
    ]
    seen = capture(SERVER, uses, execs, {"Cmd": ["/entry.sh"]}, parents={9: 1})
    built = graph_builder.build_graph(seen)
    assert built.chain("/real/c.txt") == [
        ("/entry.sh", Reason(Why.EXECUTED, "the container's start")),
        ("/opt/tool", Reason(Why.EXECUTED, "/entry.sh")),
        ("/real/c.txt", Reason(Why.OPENED, "/opt/tool")),
    ]
    assert built.chain("/srv/data")[-2:] == [
        ("/entry.sh", Reason(Why.EXECUTED, "the container's start")),
        ("/srv/data", Reason(Why.OPENED, "/entry.sh")),
    ]
    assert [path for path, _ in built.chain("/usr/lib/libt.so.1")][-2:] == ["/opt/tool", "/usr/lib/libt.so.1"]
    assert built.chain("/app/data") == []
    assert all(built.chain(path) for path in built.paths() if path != "/")


def test_the_order_of_events_does_not_matter() -> None:
    events = [read("/app/a.txt", "/real/c.txt"), read("/srv/up", "/srv/data"), use(Use.STAT, "/x/y", error=2)]
    events.append(use(Use.EXEC, "/opt/tool", resolved="/opt/tool"))
    results = [selected(capture(SERVER, order)) for order in orders(events)]
    assert all(list(result.kept.items()) == list(results[0].kept.items()) for result in results)
    assert all(result.doubts == results[0].doubts for result in results)


@pytest.mark.parametrize(
    ("spec", "config", "codes"),
    [
        ({"/x": f"elf {INTERP} needs=libnone.so"}, {"Cmd": ["/x"]}, ["unresolved-library"]),
        ({"/x": "elf interp=/lib/none.so"}, {"Cmd": ["/x"]}, ["unresolved-library"]),
        ({"/x": "script #!/usr/bin/none"}, {"Cmd": ["/x"]}, ["interpreter"]),
        ({"/x": "script #!/usr/bin/env none"}, {"Cmd": ["/x"]}, ["interpreter", "interpreter"]),
        ({}, {"Entrypoint": ["/x"]}, ["missing-program"]),
        ({"/x": f"elf {INTERP}"}, {"Entrypoint": ["/x"], "Cmd": ["--help"]}, []),
    ],
)
def test_doubts(spec: dict[str, str], config: dict[str, Any], codes: list[str]) -> None:
    assert [doubt.code for doubt in selected(capture({**GLIBC, **spec}, config=config)).doubts] == codes


def test_a_library_loaded_from_elsewhere_is_no_doubt() -> None:
    spec = {"/x": f"elf {INTERP} needs=libodd.so", "/odd/libodd.so": "elf soname=libodd.so"}
    seen = capture({**GLIBC, **spec}, [read("/odd/libodd.so")], config={"Cmd": ["/x"]})
    assert selected(seen).doubts == ()


def test_hardlinks_are_kept_by_the_names_in_need() -> None:
    spec = {"/a": "file inode=7", "/b": "file inode=7"}
    assert kept(capture(spec, [read("/a")])) == {"/a"}


def test_includes() -> None:
    rules = Rules(include_paths=("/srv", "/gone"), include_bins=("curl", "none"), include_shell=True)
    seen = capture({**SERVER, "/srv/l": "link /app/data"})
    chosen = selected(seen, rules)
    assert {"/srv/data", "/srv/x", "/srv/l", "/usr/bin/dash", "/usr/bin/curl"} <= set(chosen.kept)
    assert "/app/data" not in chosen
    assert [doubt.code for doubt in chosen.doubts] == ["missing-program", "missing-path"]


def test_forty_thousand_entries_and_five_thousand_uses_are_quick() -> None:
    entries = {"/": Entry("/", Kind.DIR)}
    for at in range(200):
        entries[f"/d{at}"] = Entry(f"/d{at}", Kind.DIR)
        entries |= {(path := f"/d{at}/s/f{n}"): Entry(path, Kind.FILE) for n in range(198)}
        entries[f"/d{at}/s"] = Entry(f"/d{at}/s", Kind.DIR)
    files = random.Random(1).sample(sorted(path for path in entries if path.count("/") == 3), 5000)
    base = capture({}, [read(path, pid=1) for path in files])
    seen = type(base)(base.image, FileTree(entries), base.trace, Answers())
    start = time.process_time()
    assert len(selected(seen).kept) > 5000
    assert time.process_time() - start < 1.5  # 0.3 s on a quiet machine; the bound is for a busy one
