"""Merging captures: their order, grouping and repetition must not matter."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slimtrace.errors import SlimtraceError
from slimtrace.facts.capture import Answers, Capture
from slimtrace.facts.events import (
    Abi,
    CallSet,
    CapabilitySet,
    Doubt,
    Exec,
    FileUse,
    Listen,
    Mount,
    Origin,
    Phase,
    Socket,
    Trace,
    Use,
    process_key,
)
from slimtrace.facts.image import Image
from slimtrace.facts.mentions import Mention
from slimtrace.facts.runs import Answer, Run, Start
from slimtrace.facts.tree import Entry, FileTree, Kind
from slimtrace.reason.merge import merge_captures

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # captures have many parts
TREE = FileTree({"/": Entry("/", Kind.DIR)})
NAMES = st.sampled_from(["/a", "/b/c", "/d\udcff", "x y"])
PIDS = st.builds(process_key, st.integers(0, 3), st.integers(1, 5))
CALLS = st.lists(st.sampled_from(["read", "write", "mmap", "clone3"]), unique=True).map(
    lambda found: tuple(sorted(found))
)


@st.composite
def call_sets(draw: st.DrawFn) -> tuple[CallSet, ...]:
    return tuple(
        CallSet(phase, origin, draw(CALLS), draw(CALLS), draw(st.sampled_from([(), (500,)])), abi)
        for abi in draw(st.sampled_from([(Abi.NATIVE,), (Abi.NATIVE, Abi.COMPAT), tuple(Abi)]))
        for origin in Origin
        for phase in Phase
    )


TRACES = st.builds(
    Trace,
    uses=st.lists(
        st.builds(FileUse, st.sampled_from(Use), NAMES, resolved=NAMES, error=st.sampled_from([0, 2]), pid=PIDS)
    ).map(tuple),
    execs=st.lists(st.builds(Exec, NAMES, st.just(""), NAMES, PIDS, PIDS)).map(tuple),
    listens=st.lists(st.builds(Listen, st.integers(1, 9), st.just("::"), PIDS)).map(tuple),
    calls=call_sets(),
    capabilities=st.lists(st.sampled_from(["chown", "setuid", "kill"]), unique=True, min_size=1).map(
        lambda names: tuple(CapabilitySet(Phase.APP, origin, tuple(sorted(names))) for origin in Origin)
    ),
    mounts=st.dictionaries(NAMES, st.sampled_from(["", "tmpfs"])).map(
        lambda found: tuple(Mount(path, found[path]) for path in sorted(found))
    ),
    sockets=st.lists(st.builds(Socket, NAMES, NAMES, NAMES, pid=PIDS)).map(tuple),
    parents=st.dictionaries(PIDS, PIDS),
    lost=st.integers(0, 9),
    doubts=st.lists(st.builds(Doubt, NAMES, NAMES)).map(tuple),
    own_execs=st.lists(PIDS, unique=True).map(lambda found: tuple(sorted(found))),
)
MENTIONS = st.lists(st.builds(Mention, NAMES, NAMES), max_size=2).map(tuple)
ANSWERS = st.builds(
    Answers,
    heads=st.dictionaries(NAMES, st.none() | st.binary(max_size=3)),
    named=st.dictionaries(NAMES, MENTIONS),
)
RUNS = st.lists(
    st.builds(
        lambda env, port, body: Run(Start(env=env), ports=(port,), answers=(Answer("GET", True, body=body),)),
        st.lists(NAMES, max_size=2).map(tuple),
        st.integers(1, 2),
        NAMES,
    ),
    max_size=2,
).map(tuple)
REFERENCES = st.sampled_from(["app:1", "sha256:1"])


def capture(trace: Trace, answers: Answers, reference: str, runs: tuple[Run, ...] = ()) -> Capture:
    return Capture(Image("sha256:1", reference), TREE, trace, answers, runs)


CAPTURES = st.builds(capture, TRACES, ANSWERS, REFERENCES, RUNS)


@PATIENT
@given(CAPTURES, CAPTURES)
def test_the_order_does_not_matter(one: Capture, other: Capture) -> None:
    assert merge_captures([one, other]) == merge_captures([other, one])


@PATIENT
@given(CAPTURES, CAPTURES, CAPTURES)
def test_the_grouping_does_not_matter(one: Capture, two: Capture, three: Capture) -> None:
    assert (
        merge_captures([merge_captures([one, two]), three])
        == merge_captures([one, merge_captures([two, three])])
        == merge_captures([one, two, three])
    )


@PATIENT
@given(CAPTURES)
def test_a_capture_merged_with_itself_is_itself(one: Capture) -> None:
    once = merge_captures([one])
    assert merge_captures([one, one]) == once
    assert merge_captures([once, one]) == once


@PATIENT
@given(CAPTURES, CAPTURES)
def test_nothing_that_one_saw_is_missing(one: Capture, other: Capture) -> None:
    both = merge_captures([one, other]).trace
    for part in (one.trace, other.trace):
        assert set(part.uses) <= set(both.uses)
        assert set(part.execs) <= set(both.execs)
        assert set(part.listens) <= set(both.listens)
        assert set(part.doubts) <= set(both.doubts)
        assert set(part.sockets) <= set(both.sockets)
        assert part.parents.keys() <= both.parents.keys()
        assert part.lost <= both.lost
        for group in part.calls:
            where = (group.phase, group.origin, group.abi)
            (same,) = (found for found in both.calls if (found.phase, found.origin, found.abi) == where)
            assert set(group.calls) <= set(same.calls) and set(group.refused) <= set(same.refused)


@PATIENT
@given(CAPTURES, CAPTURES)
def test_every_run_is_there_once(one: Capture, other: Capture) -> None:
    both = merge_captures([one, other]).runs
    assert all(run in both for run in (*one.runs, *other.runs))
    assert all(run in (*one.runs, *other.runs) for run in both)
    assert all(both.count(run) == 1 for run in both)


def test_capabilities_are_those_of_both() -> None:
    groups = [
        CapabilitySet(Phase.APP, Origin.CONTAINER, granted=("chown",), denied=("kill",)),
        CapabilitySet(Phase.APP, Origin.CONTAINER, granted=("setuid",), denied=("kill",)),
    ]
    both = merge_captures([capture(Trace(capabilities=(group,)), Answers(), "app:1") for group in groups])
    assert both.trace.capabilities == (
        CapabilitySet(Phase.APP, Origin.CONTAINER, granted=("chown", "setuid"), denied=("kill",)),
    )


def test_a_mount_counts_only_where_every_run_had_it() -> None:
    one = capture(Trace(mounts=(Mount("/data"), Mount("/proc"))), Answers(), "app:1")
    other = capture(Trace(mounts=(Mount("/proc", "proc"),)), Answers(), "app:1")
    assert merge_captures([one, other]).trace.mounts == (Mount("/proc", "proc"),)


def test_a_name_is_preferred_to_an_id() -> None:
    captures = [capture(Trace(), Answers(), reference) for reference in ("sha256:1", "app:1")]
    assert merge_captures(captures).image.reference == "app:1"


def test_captures_of_two_images_are_refused() -> None:
    other = Capture(Image("sha256:2", "other:1"), TREE, Trace(), Answers())
    with pytest.raises(SlimtraceError, match=r"cannot merge captures of two images: .*app:1.*other:1"):
        merge_captures([capture(Trace(), Answers(), "app:1"), other])
