"""What a trial's trace says that the slim image lacked."""

from dataclasses import replace

import pytest

from slimtrace.facts.confinement import Confinement, Repairs
from slimtrace.facts.events import CallSet, CapabilitySet, Exec, FileUse, Mount, Origin, Phase, Trace, Use
from slimtrace.facts.selection import Reason, Selection, Why
from slimtrace.reason.confine import seccomp
from slimtrace.reason.keep.rules import Rules
from slimtrace.reason.prove.diagnosis import diagnose, needed_repairs, used_repairs

from ..trees import capture

ENOENT, EACCES, ENOTDIR, EROFS = 2, 13, 20, 30
FAT = capture(
    {
        "/app/run": "file 0755",
        "/app/data/a": "file",
        "/app/data/b": "file",
        "/app/current": "link data",
        "/app/late.so": "file",
        "/srv/volume/seed": "file",
        "/mnt/host": "file",
        "/var/cache/app": "dir",
    },
    mounts=("/mnt",),
)
KEPT = Selection({path: (Reason(Why.OPENED),) for path in ("/", "/app", "/app/run", "/app/data", "/var")})


def looked(asked: str, error: int = ENOENT, use: Use = Use.READ, base: str = "", **more: object) -> FileUse:
    return replace(FileUse(use, asked, base, error=error, pid=1), **more)


def lacking(*uses: FileUse, rules: Rules | None = None, confined: bool = True) -> Repairs:
    trace = Trace(uses, (Exec("/app/run", "", "/app/run", 1, 0),))
    return diagnose(FAT, KEPT, rules or Rules(), trace, Confinement() if confined else None).repairs


@pytest.mark.parametrize(
    ("use", "paths"),
    [
        (looked("/app/late.so"), ("/app/late.so",)),
        (looked("late.so", base="/app"), ("/app/late.so",)),
        (looked("late.so"), ()),  # relative to a directory that is not known
        (looked("/app/current/a"), ("/app/current", "/app/data/a")),
        (looked("/app/current/a", ENOTDIR), ("/app/current", "/app/data/a")),
        (looked("/app/current", use=Use.LINK), ("/app/current",)),
        (looked("/app/late.so", EACCES), ()),  # it was there
        (looked("/app/run"), ()),  # it is kept: the container itself has removed it
        (looked("/app/never"), ()),  # the fat image has it neither
        (looked("/app/../app/late.so"), ("/app/late.so",)),
        (looked("/mnt/host"), ()),  # of the host, not of the image
        (looked("/app/late.so", truncated=True), ()),
        (looked("/app/late.so", origin=Origin.EXEC, pid=9), ()),  # somebody's docker exec
    ],
)
def test_lookups_that_failed(use: FileUse, paths: tuple[str, ...]) -> None:
    assert lacking(use).paths == paths


def test_what_a_volume_of_the_image_begins_with_is_the_images() -> None:
    fat = replace(
        FAT,
        image=replace(FAT.image, config={"Volumes": {"/srv/volume": {}}}),
        trace=Trace(mounts=(Mount("/srv/volume"),)),
    )
    trace = Trace((looked("/srv/volume/seed"),), (Exec("/app/run", "", "/app/run", 1, 0),))
    assert diagnose(fat, KEPT, Rules(), trace).repairs.paths == ("/srv/volume/seed",)


def test_what_a_rule_excludes_is_named_and_not_repaired() -> None:
    trace = Trace((looked("/app/late.so"),), (Exec("/app/run", "", "/app/run", 1, 0),))
    found = diagnose(FAT, KEPT, Rules(exclude_patterns=("**.so",)), trace)
    assert found.repairs == Repairs()
    assert found.excluded == {"/app/late.so": "**.so"}


def test_what_a_listing_could_have_shown() -> None:
    listed = FileUse(Use.LIST, "/app/data", resolved="/app/data", pid=1)
    above = Trace((FileUse(Use.LIST, "/srv", resolved="/srv", pid=1),))
    assert diagnose(FAT, KEPT, Rules(), above).suspects == ("/srv/volume", "/srv/volume/seed")
    trace = Trace((listed, replace(listed, asked="/mnt", resolved="/mnt", foreign=True)))
    assert diagnose(FAT, KEPT, Rules(), trace).suspects == ("/app/data/a", "/app/data/b")
    assert diagnose(FAT, KEPT, Rules(exclude_patterns=("/app/data/b",)), trace).suspects == ("/app/data/a",)


@pytest.mark.parametrize(
    ("asked", "writable"),
    [
        ("/var/cache/app/x", "/var/cache/app"),
        ("/var/cache/app/new/x", "/var/cache/app"),
        ("/app/current/x", "/app/data"),
    ],
)
def test_the_nearest_directory_is_to_be_writable(asked: str, writable: str) -> None:
    assert lacking(looked(asked, EROFS, Use.WRITE)).writable == (writable,)
    assert lacking(looked(asked, EROFS, Use.WRITE), confined=False) == Repairs()


def test_capabilities_that_docker_gives_and_we_did_not() -> None:
    asked = CapabilitySet(Phase.APP, Origin.CONTAINER, ("setgid",), ("chown", "setuid", "sys_admin"))
    trace = Trace(capabilities=(asked, replace(asked, origin=Origin.EXEC, denied=("kill",))))
    found = diagnose(FAT, KEPT, Rules(), trace, Confinement(cap_add=("setuid",))).repairs
    assert found.capabilities == ("chown",)


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        (CapabilitySet(Phase.APP, Origin.CONTAINER, (), ("chown", "kill")), ("setuid",)),
        # Of two processes the fat image's one was granted it, and the slim one's is not given it.
        (CapabilitySet(Phase.APP, Origin.CONTAINER, ("chown",), ("chown",)), ("chown", "setuid")),
        (CapabilitySet(Phase.APP, Origin.EXEC, (), ("chown",)), ("chown", "setuid")),
        (CapabilitySet(Phase.FILTERED, Origin.CONTAINER, (), ("chown",)), ("chown", "setuid")),
    ],
)
def test_a_program_that_comes_out_well_does_without_what_the_fat_run_was_denied(
    before: CapabilitySet, wanted: tuple[str, ...]
) -> None:
    repairs = Repairs(calls=("splice",), capabilities=("chown", "setuid"), writable=("/app",))
    fat = replace(FAT, trace=Trace(capabilities=(before,)))
    assert needed_repairs(fat, repairs) == Repairs(calls=("splice",), capabilities=wanted)


def test_calls_that_the_profile_refused_and_docker_allows() -> None:
    called = replace(FAT, trace=Trace(calls=(CallSet(Phase.APP, Origin.CONTAINER, ("read", "splice")),)))
    less = replace(called, trace=Trace(calls=(CallSet(Phase.APP, Origin.CONTAINER, ("read",)),)))
    more = CallSet(Phase.APP, Origin.CONTAINER, ("read", "splice", "mount"))
    body = seccomp.profile(less)
    found = diagnose(less, KEPT, Rules(), Trace(calls=(more,)), Confinement(), body).repairs
    assert found == Repairs(calls=("splice",))
    assert diagnose(less, KEPT, Rules(), Trace(calls=(more,)), Confinement()).repairs == Repairs()
    assert seccomp.allows(seccomp.profile(less, found), "splice")
    assert not seccomp.allows(seccomp.profile(less, found), "mount")


def test_repairs_that_were_of_no_use_are_left_out() -> None:
    repairs = Repairs(
        paths=("/app/current", "/app/data/a", "/app/data/b", "/app/late.so"),
        calls=("sendfile", "shutdown"),
        capabilities=("chown", "kill"),
        writable=("/var/cache/app",),
    )
    trace = Trace(
        uses=(looked("/app/current/a", 0),),
        calls=(CallSet(Phase.APP, Origin.CONTAINER, ("sendfile",)),),
        capabilities=(CapabilitySet(Phase.APP, Origin.CONTAINER, granted=("kill",)),),
    )
    assert used_repairs(FAT, repairs, [trace]) == Repairs(
        paths=("/app/current", "/app/data/a"),
        calls=("sendfile",),
        capabilities=("kill",),
        writable=("/var/cache/app",),
    )


def test_what_apparmor_refused_is_missing_too() -> None:
    refused = Trace((looked("/app/run", EACCES), looked("/app/data/a", EACCES, Use.WRITE)))
    assert diagnose(FAT, KEPT, Rules(), refused).repairs == Repairs()
    assert diagnose(FAT, KEPT, Rules(), refused, mediated=True).repairs == Repairs(paths=("/app/run",))
    before = replace(FAT, trace=Trace((looked("/app/run", EACCES),)))  # the fat run lived with it
    assert diagnose(before, KEPT, Rules(), refused, mediated=True).repairs == Repairs()
