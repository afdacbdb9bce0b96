"""Merging the recorded arguments and first callers of system calls."""

from hypothesis import given
from hypothesis import strategies as st

from slimtrace.facts.capture import Answers, Capture
from slimtrace.facts.events import MAX_VALUES, CallArguments, FirstCall, Phase, Trace, process_key
from slimtrace.facts.image import Image
from slimtrace.facts.tree import FileTree
from slimtrace.reason.merge import merge_captures

NAMES = st.sampled_from(["socket", "clone"])
PHASES = st.sampled_from([Phase.FILTERED, Phase.APP])
VALUES = st.one_of(st.frozensets(st.integers(0, 9), max_size=3), st.just(frozenset(range(MAX_VALUES))))
ARGUMENTS = st.builds(
    CallArguments,
    NAMES,
    st.just(0),
    VALUES.map(lambda found: tuple(sorted(found))),
    PHASES,
    more=st.booleans(),
)
FIRST_CALLS = st.builds(
    FirstCall,
    NAMES,
    st.sampled_from(["", "/a", "/b"]),
    st.builds(process_key, st.integers(0, 3), st.integers(1, 5)),
    PHASES,
)


def capture(trace: Trace) -> Capture:
    return Capture(Image("sha256:1", "app:1"), FileTree({}), trace, Answers())


CAPTURES = st.builds(
    Trace,
    arguments=st.lists(ARGUMENTS, max_size=3).map(tuple),
    first_calls=st.lists(FIRST_CALLS, max_size=4).map(tuple),
).map(capture)


@given(CAPTURES, CAPTURES, CAPTURES)
def test_order_grouping_and_repetition_do_not_matter(one: Capture, two: Capture, three: Capture) -> None:
    assert merge_captures([one, two]) == merge_captures([two, one])
    assert (
        merge_captures([merge_captures([one, two]), three])
        == merge_captures([one, merge_captures([two, three])])
        == merge_captures([one, two, three])
    )
    assert merge_captures([one, one]) == merge_captures([one]) == merge_captures([merge_captures([one]), one])


@given(CAPTURES, CAPTURES)
def test_nothing_that_one_saw_is_missing(one: Capture, other: Capture) -> None:
    both = merge_captures([one, other]).trace
    for part in (one.trace, other.trace):
        for recorded in part.arguments:
            (same,) = (
                found
                for found in both.arguments
                if (found.call, found.phase) == (recorded.call, recorded.phase)
            )
            assert set(recorded.values) <= set(same.values) or same.more
            assert same.more or not recorded.more
        assert {(first.call, first.phase) for first in part.first_calls} <= {
            (first.call, first.phase) for first in both.first_calls
        }


def test_more_says_that_there_were_too_many_values() -> None:
    halves = [
        capture(Trace(arguments=(CallArguments("socket", 0, tuple(values)),)))
        for values in (range(MAX_VALUES), range(1, MAX_VALUES + 1))
    ]
    (one,) = merge_captures(halves).trace.arguments
    assert (one.values, one.more) == (tuple(range(MAX_VALUES)), True)
    (one,) = merge_captures([halves[1], halves[1]]).trace.arguments
    assert (one.values, one.more) == (tuple(range(1, MAX_VALUES + 1)), False)


def test_the_first_caller_is_one_of_both() -> None:
    runs = [
        capture(Trace(first_calls=(FirstCall("sync", program, pid),)))
        for program, pid in (("", 1), ("/b", 2), ("/a", 3))
    ]
    for some, expected in ((runs, "/a"), (runs[:2], "/b"), (runs[:1], "")):
        assert [one.program for one in merge_captures(some).trace.first_calls] == [expected]
