"""Which directories stay writable when the root is read-only, and when it cannot be."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.facts.confinement import Confinement, Repairs, Writable
from slimtrace.facts.events import Exec, FileUse, Origin, Use
from slimtrace.facts.paths import below
from slimtrace.reason.confine.confinement import derive_confinement
from slimtrace.reason.confine.volatile_names import mask
from slimtrace.reason.keep.rules import Rules

from ..trees import capture, orders, selected

APP = Exec("/usr/bin/app", "", "/usr/bin/app", 1, 0)
TREE = {
    "/usr/bin/app": "file 0755",
    "/etc/app.conf": "file",
    "/run": "dir 0755",
    "/tmp": "dir 0777",
    "/srv": "dir 0755",
    "/opt": "dir 0755",
    "/var/run": "link /run",
    "/var/lib/app": "dir 0750",
    "/var/cache/app": "dir 0700",
}


def change(call: str, asked: str, base: str = "", **more: Any) -> FileUse:
    return FileUse(Use.CHANGE, asked, base, call=call, pid=1, **more)


def write(path: str, asked: str = "", created: bool = True, **more: Any) -> FileUse:
    return FileUse(Use.WRITE, asked or path, resolved=path, created=created, call="openat", pid=1, **more)


def confined(
    *uses: FileUse,
    spec: Mapping[str, str] | None = None,
    repaired: tuple[str, ...] = (),
    rules: Rules | None = None,
    execs: tuple[Exec, ...] = (),
    **seen: Any,
) -> Confinement:
    run = capture({**TREE, **(spec or {})}, uses, [APP, *execs], **seen)
    return derive_confinement(run, selected(run, rules), Repairs(writable=repaired))


def places(found: Confinement) -> set[str]:
    """The writable directories, "+" behind a volume."""
    assert found.read_only, found.notes
    return {place.path + "+" * place.volume for place in found.writable}


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (write("/run/app.pid"), {"/run"}),
        (write("/run/app.pid", "/var/run/app.pid"), {"/run"}),
        (write("/tmp/a/b/c"), {"/tmp"}),
        (write("/var/cache/app/x"), {"/var/cache/app"}),
        (write("/var/lib/app/x"), {"/var/lib/app+"}),
        (change("mkdir", "/var/lib/app/spool"), {"/var/lib/app+"}),
        (change("mkdir", "/var/run/app"), {"/run"}),
        (change("unlink", "x", "/tmp"), {"/tmp"}),
        (change("bind", "/run/app.sock"), {"/run"}),
        (change("rename", "/run/a"), {"/run"}),
        (change("chown", "/var/cache/app"), {"/var/cache/app"}),
        (change("fchmod", "", resolved="/tmp/x"), {"/tmp"}),
        (FileUse(Use.WRITE, "/run/x", call="truncate", pid=1), {"/run"}),
        (write("/tmp/#123", "/tmp", deleted=True), {"/tmp"}),  # O_TMPFILE
        # made in a place of which nothing else is to be written: it can be there before
        (change("mkdir", "/data"), {"/data+"}),
        (change("mkdir", "/srv/app"), {"/srv/app+"}),
        (change("mkdir", "/opt/run"), {"/opt/run"}),
    ],
)  # fmt: skip
def test_a_write_needs_its_directory(use: FileUse, expected: set[str]) -> None:
    assert places(confined(use)) == expected


def test_a_reason_is_the_same_in_every_run() -> None:
    runs = (("/tmp/.ZendSem.RShvaL", "/tmp/a.4711"), ("/tmp/.ZendSem.x7Tb0q", "/tmp/a.89"))
    reasons = {confined(*map(write, names)).reasons["/tmp"] for names in runs}
    assert reasons == {"/usr/bin/app writes /tmp/a.…"}
    assert confined(write("/tmp/a.89"), write("/tmp/known")).reasons["/tmp"] == "/usr/bin/app writes /tmp/known"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("/tmp/.ZendSem.RShvaL", "/tmp/.ZendSem.…"),
        ("/run/app/app.pid.2A3UK7", "/run/app/app.pid.…"),
        ("/dev/shm/PostgreSQL.1815286688", "/dev/shm/PostgreSQL.…"),
        ("/var/lib/postgresql15/main", "/var/lib/postgresql15/main"),
        ("/app/Makefile.am", "/app/Makefile.am"),
        ("/tmp/dump-1.rdb", "/tmp/dump-1.rdb"),
        ("/tmp/tmpab12cd34", "/tmp/…"),
    ],
)
def test_volatile_names_are_masked(name: str, shown: str) -> None:
    assert mask(name) == shown


@pytest.mark.parametrize(
    "use",
    [
        write("/run/x", error=13),
        write("/data/x", foreign=True),
        change("mkdir", "/dev/shm/x"),  # what a call without a descriptor reached tells no file system
        change("chmod", "/proc/self/oom"),
        change("unlink", "/mnt/disk/x"),
        change("mkdir", "/var/lib/store/x"),
        change("mkdir", "/mnt/real/deep/x"),
        write("/etc/hosts", created=False),
        FileUse(Use.WRITE, "/run/other.sock", call="connect", pid=1),
        write("/run/fifo", created=False),
        FileUse(Use.READ, "/etc/app.conf", resolved="/etc/app.conf", pid=1),
        write("/run/x", origin=Origin.EXEC, ),
        change("mkdir", "x" * 5000, "/tmp", truncated=True),
    ],
)  # fmt: skip
def test_what_a_read_only_root_does_not_refuse_needs_nothing(use: FileUse) -> None:
    volumes = {"/var/lib/store": {}, "/link/deep": {}}
    found = confined(
        use,
        spec={"/run/fifo": "fifo", "/link": "link /mnt/real", "/mnt/real": "dir"},
        mounts=["/mnt/disk"],
        config={"Volumes": volumes},
    )
    assert places(found) == set()


@pytest.mark.parametrize(
    "use",
    [
        write("/etc/app.conf", created=False),
        write("/etc/new"),
        change("chmod", "/etc"),
        change("chmod", "/"),
        change("unlink", "/usr/bin/app"),
        change("rename", "/usr/lib/x"),
        write("/state"),
        change("mkdir", "/usr/local"),
        write("/tmp-x:y/z", created=True),
    ],
)
def test_what_cannot_be_writable_alone_forbids_a_read_only_root(use: FileUse) -> None:
    found = confined(use, write("/run/app.pid"), spec={"/tmp-x:y": "dir"})
    assert (found.read_only, found.writable) == (False, ())
    (note,) = found.notes
    assert "read-only root is not possible" in note
    assert (use.resolved or use.asked) in note or "/tmp-x:y" in note


def test_what_an_image_from_scratch_lacks_is_made_with_the_place() -> None:
    made = (change("mkdir", "/var/lib"), change("mkdir", "/var/lib/x"), write("/var/lib/x/y"))
    seen = capture({"/usr/bin/app": "file 0755"}, made, [APP])
    assert places(derive_confinement(seen, selected(seen))) == {"/var/lib/x+"}


def test_a_directory_that_is_moved_into_place_cannot_be_there_before() -> None:
    moved = (change("mkdir", "/data.new"), change("rename", "/data.new"), change("rename", "/data"))
    assert not confined(*moved, write("/data.new/x")).read_only


def test_a_tmpfs_is_as_the_image_has_the_directory() -> None:
    found = confined(write("/tmp/x"), write("/var/cache/app/x"))
    assert [(place.path, place.mode) for place in found.writable] == [
        ("/tmp", 0o777),
        ("/var/cache/app", 0o700),
    ]


def test_a_directory_that_the_image_lacks_belongs_to_the_user() -> None:
    found = confined(change("mkdir", "/opt/run"), config={"User": "7:8"})
    assert found.writable == (Writable("/opt/run", mode=0o755, uid=7, gid=8, reason="/usr/bin/app changes it"),)


def test_what_the_image_has_there_makes_it_a_volume() -> None:
    seen = FileUse(Use.READ, "/tmp/seed", resolved="/tmp/seed", pid=1)
    assert places(confined(write("/tmp/x"), seen, spec={"/tmp/seed": "file"})) == {"/tmp+"}
    # what is there and nobody uses is not in the slim image
    assert places(confined(write("/tmp/x"), spec={"/tmp/seed": "file"})) == {"/tmp"}


def test_a_directory_that_is_used_must_be_there() -> None:
    entered = FileUse(Use.ENTER, "/run/app", resolved="/run/app", pid=1)
    assert places(confined(write("/run/x"), entered, spec={"/run/app": "dir"})) == {"/run+"}
    # one that is written in itself is made writable itself, inside the other
    own = write("/run/app/y")
    assert places(confined(write("/run/x"), own, entered, spec={"/run/app": "dir"})) == {"/run", "/run/app"}
    # but not one that the program takes away: nobody can remove where something is mounted
    gone = change("rmdir", "/run/app")
    assert places(confined(write("/run/x"), own, gone, spec={"/run/app": "dir"})) == {"/run+"}


def test_one_inside_another_is_part_of_it() -> None:
    spec = {"/var/lib/app/deep/er": "dir"}
    found = confined(write("/var/lib/app/x"), write("/var/lib/app/deep/er/y"), spec=spec)
    assert places(found) == {"/var/lib/app+"}


def test_where_code_is_run_from_is_executable() -> None:
    found = confined(write("/tmp/tool"), write("/run/x"), execs=(Exec("/tmp/tool", "", "/tmp/tool", 2, 1),))
    assert {place.path: place.executable for place in found.writable} == {"/run": False, "/tmp": True}
    found = confined(write("/tmp/lib.so"), FileUse(Use.MAP, "", resolved="/tmp/lib.so", pid=1))
    assert [place.executable for place in found.writable] == [True]


def test_python_does_without_its_bytecode() -> None:
    spec = {"/usr/lib/python3/os.py": "file"}
    made = "/usr/lib/python3/__pycache__"
    found = confined(
        change("mkdir", made), write(f"{made}/os.pyc.1"), change("rename", f"{made}/os.pyc"), spec=spec
    )
    assert places(found) == set()
    (note,) = found.notes
    assert made in note


def test_a_repair_makes_a_directory_writable() -> None:
    found = confined(
        repaired=("/var/lib/app", "/var/run", "/proc/x", "/opt/new", "/usr/lib/python3/__pycache__")
    )
    assert places(found) == {"/var/lib/app+", "/run", "/opt/new+"}
    assert all(place.reason.startswith("repair") for place in found.writable)
    found = confined(repaired=("/etc",))
    assert not found.read_only and "/etc" in found.notes[0]
    assert places(confined(repaired=("/var/cache/app/file",), spec={"/var/cache/app/file": "file"})) == {
        "/var/cache/app"
    }


def test_what_was_mounted_is_to_be_mounted_again() -> None:
    (note,) = confined(mounts=["/proc/acpi", "/etc/hosts", "/mnt/data"]).notes
    assert note.startswith("/mnt/data")


def test_volumes_are_in_the_reason() -> None:
    assert "/d\\n" in confined(config={"Volumes": {"/d\n": {}}}).reasons["read-only"]


def test_too_many_directories_are_not_confined() -> None:
    many = [write(f"/srv/{number}/x") for number in range(40)]
    assert not confined(*many, spec={f"/srv/{number}": "dir" for number in range(40)}).read_only


def test_the_order_of_what_happened_does_not_matter() -> None:
    uses = [write("/run/x"), write("/run/app/y"), change("mkdir", "/data"), write("/data/z")]
    found = {repr(confined(*order, spec={"/run/app": "dir"})) for order in orders(uses)}
    assert len(found) == 1


_NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8
) | st.sampled_from(["run", "tmp", "etc", "a:b", "a,b", 'a"b', "$x", "\udcff", "..x", "a\nb", "\u202e"])


@settings(deadline=None)
@given(st.lists(st.lists(_NAMES, min_size=1, max_size=4), max_size=6))
def test_hostile_names_never_come_out_as_options(names: list[list[str]]) -> None:
    uses = [write("/" + "/".join(parts)) for parts in names if not {".", ".."} & set(parts)]
    spec = {use.resolved.rpartition("/")[0]: "dir" for use in uses if use.resolved.count("/") > 1}
    found = confined(*uses, spec={path: line for path, line in spec.items() if path not in TREE})
    for place in found.writable:
        assert place.path.isprintable() and place.path.startswith("/") and not set(':,"') & set(place.path)
    texts = (*found.notes, *found.reasons, *found.reasons.values())
    assert all(text.isprintable() for text in texts)
    written = [use.resolved for use in uses]
    assert not found.read_only or all(
        any(below(path, place.path) for place in found.writable)
        or any(below(path, directory) for directory in ("/dev", "/proc", "/sys", "/etc/hosts"))
        for path in written
    )
