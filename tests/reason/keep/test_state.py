"""What a container changed: files of the image are kept, files that the container made are not."""

from typing import Any

import pytest

from slimtrace.facts.events import Exec, FileUse, Origin, Use

from ..trees import capture, kept, read, selected

IMAGE = {
    "/etc/app.conf": "file 0640",
    "/data/old": "file",
    "/data/dir/a": "file",
    "/data/dir/deep/b": "file",
    "/data/dir/way": "link a",
    "/data/link": "link old",
    "/run/app": "dir 2770",
    "/var/lib/app/seed": "file",
    "/var/lib/app/rest": "file",
}


def used(use: Use, path: str, call: str = "", **more: Any) -> FileUse:
    return FileUse(use, path, call=call, **more)


@pytest.mark.parametrize(
    ("uses", "there"),
    [
        # content
        ([used(Use.WRITE, "/etc/app.conf", "open", resolved="/etc/app.conf")], {"/etc/app.conf"}),
        ([read("/etc/app.conf"), used(Use.WRITE, "/etc/app.conf", "open")], {"/etc/app.conf"}),
        # names
        ([used(Use.CHANGE, "/data/old", "unlink")], {"/data/old"}),
        ([used(Use.CHANGE, "/data/link", "unlink")], {"/data/link"}),
        ([used(Use.CHANGE, "/data/old", "rename"), used(Use.CHANGE, "/data/new", "rename"), read("/data/new")],
         {"/data", "/data/old"}),
        ([used(Use.CHANGE, "/new", "rename"), used(Use.CHANGE, "/etc/app.conf", "rename")], {"/etc/app.conf"}),
        ([used(Use.CHANGE, "/data/dir", "rename"), used(Use.CHANGE, "/data/moved", "rename")],
         {"/data", "/data/dir", "/data/dir/a", "/data/dir/deep", "/data/dir/deep/b", "/data/dir/way"}),
        ([used(Use.CHANGE, "/data/dir", "rename", error=18)], {"/data/dir"}),  # EXDEV: overlay
        ([used(Use.CHANGE, "/data/dir", "chmod")], {"/data/dir"}),
        # what was made
        ([used(Use.WRITE, "/data/made", "open", resolved="/data/made", created=True)], {"/data"}),
        ([used(Use.CHANGE, "/run/app/new", "mkdir"), used(Use.WRITE, "/run/app/new/x", "open")], {"/run/app"}),
        ([used(Use.CHANGE, "/run/app", "mkdir", error=17)], {"/run/app"}),
        # directories
        ([used(Use.LIST, "/run/app", "open", resolved="/run/app")], {"/run/app"}),
        ([used(Use.ENTER, "/run/app", "chdir", resolved="/run/app")], {"/run/app"}),
        ([used(Use.STAT, "/run/app/none", "access", error=2)], {"/run/app"}),
    ],
)  # fmt: skip
def test_what_a_run_leaves(uses: list[FileUse], there: set[str]) -> None:
    assert kept(capture(IMAGE, uses)) - {"/run", "/etc"} == there - {"/run", "/etc"}


def test_a_directory_that_was_only_walked_through() -> None:
    use = used(Use.STAT, "../run/app/../../data/none", "access", base="/etc", error=2)
    assert set(selected(capture(IMAGE, [use])).kept) == {"/", "/etc", "/run", "/run/app", "/data"}


def test_a_volume_is_filled_from_the_image() -> None:
    config = {"Volumes": {"/var/lib/app": {}}}
    seed = used(Use.READ, "/var/lib/app/seed", "open", resolved="/var/lib/app/seed", foreign=True)
    made = used(Use.WRITE, "/var/lib/app/new", "open", resolved="/var/lib/app/new", foreign=True)
    assert kept(capture(IMAGE, [seed, made], config=config, mounts=["/var/lib/app"])) - {"/run", "/etc"} == {
        "/var/lib/app",
        "/var/lib/app/seed",
    }


def test_what_the_configuration_names_stays_empty() -> None:
    image = capture(
        {
            "/etc/passwd": "text root:x:0:0::/root:/bin/sh\\nkeeper:x:7:8::/home/keeper:\\n",
            "/home/keeper": "dir 0700",
            "/home/keeper/.profile": "file",
            "/srv": "dir",
            "/srv/x": "file",
            "/vol": "dir 1777",
        },
        config={"User": "keeper:8", "WorkingDir": "/srv", "Volumes": {"/vol": {}}},
    )
    assert set(selected(image).kept) == {"/", "/etc", "/etc/passwd", "/home", "/home/keeper", "/srv", "/vol"}


@pytest.mark.parametrize(
    ("run", "uses", "doubtful"),
    [
        (Exec("/bin/app", "", "/bin/app", 1, 0), [], False),
        (Exec("app", "/bin", "/bin/app", 1, 0), [], False),
        (Exec("/tmp/made", "", "/tmp/made", 1, 0), [], True),
        (Exec("/tmp/script", "", "/bin/app", 1, 0), [], True),
        (Exec("/proc/self/exe", "", "/bin/app", 1, 0), [], False),
        (Exec("/proc/self/fd/3", "", "/memfd:x", 1, 0), [], True),
        (Exec("/bin/app", "", "/bin/app", 1, 0, foreign=True), [], True),
        (Exec("/vol/app", "", "/vol/app", 1, 0, foreign=True), [], False),
        (Exec("/vol/made", "", "/vol/made", 1, 0, foreign=True), [], True),
        (Exec("/bin/app", "", "/bin/app", 1, 0), [used(Use.WRITE, "/bin/app", "open")], True),
        (Exec("/bin/app", "", "/bin/app", 1, 0), [used(Use.WRITE, "/bin/app", "open", error=26)], False),
        (Exec("/bin/app", "", "/bin/app", 1, 0), [used(Use.CHANGE, "/bin/app", "rename")], True),
        (Exec("/bin/app", "", "/bin/app", 1, 0), [used(Use.CHANGE, "app", "chmod", base="/bin")], False),
        (Exec("/tmp/made", "", "/tmp/made", 1, 0, Origin.EXEC), [], False),  # by docker exec
    ],
)
def test_a_program_that_is_not_as_the_image_has_it(run: Exec, uses: list[FileUse], doubtful: bool) -> None:
    image = capture({"/bin/app": "elf", "/vol/app": "elf"}, uses, [run], {"Volumes": {"/vol": {}}})
    found = [(doubt.code, doubt.subject) for doubt in selected(image).doubts]
    asked = "/bin/app" if run.base else run.asked
    assert found == ([("unknown-program", asked)] if doubtful else [])
