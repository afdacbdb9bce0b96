"""Two texts, word by word: what differs, how much of it, and what is allowed to."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.reason.prove.text_distance import MAX_ALIGNED, text_difference

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), max_size=40)
MANY = [f"word{number}" for number in range(5000)]


@pytest.mark.parametrize(
    ("text", "other", "share", "expected", "actual"),
    [
        ("one two three four", "one two 3 four", 0.25, "three", "3"),
        ("one two", "one two three", 0.5, "", "three"),
        ("one two three", "one two", 1 / 3, "three", ""),
        ("<p>hello</p>", "<p>hallo</p>", 1 / 8, "hello", "hallo"),
        ("all of it", "", 1.0, "all of it", ""),
        ("", "something", 1.0, "", "something"),
        ("a b c d e f", "x b c y e f", 2 / 6, "a", "x"),
    ],
)
def test_how_they_differ(text: str, other: str, share: float, expected: str, actual: str) -> None:
    found = text_difference(text, other)
    assert found is not None
    assert (found.share, found.expected, found.actual) == (pytest.approx(share), expected, actual)


@pytest.mark.parametrize(
    ("text", "again", "other"),
    [
        ("visit 3 of you", "visit 4 of you", "visit 9 of you"),
        ("quote: be brave. end", "quote: all is well that ends well. end", "quote: no. end"),
        ("a 1 b 2 c", "a 3 b 4 c", "a 5 b 6 c"),
        ("list end", "list x y end", "list z end"),
        ("x", "y", "y"),
    ],
)
def test_what_differs_by_itself_does_not_count(text: str, again: str, other: str) -> None:
    assert text_difference(text, other) is not None
    assert text_difference(text, other, again) is None


@pytest.mark.parametrize(
    ("text", "again", "other", "expected", "actual"),
    [
        ("visit 3 of you good one", "visit 4 of you good one", "visit 9 of you bad one", "good", "bad"),
        ("visit 3 of you", "visit 4 of you", "error 500", "visit 3 of you", "error 500"),
        ("a b c d 1", "a b c d 2", "a x c d 3", "b", "x"),
    ],
)
def test_what_differs_beside_it_counts(text: str, again: str, other: str, expected: str, actual: str) -> None:
    found = text_difference(text, other, again)
    assert found is not None
    assert (found.expected, found.actual) == (expected, actual)


def test_the_order_of_a_hash_table_does_not_count() -> None:
    assert text_difference('{"a": 1, "b": 2}', '{"b": 2, "a": 1}') is None


@settings(deadline=None)
@given(WORDS, WORDS.filter(bool))
def test_a_text_is_like_itself_and_its_other_form(words: list[str], again: list[str]) -> None:
    text, other = " ".join(words), " ".join(again)
    assert text_difference(text, text, other) is None
    assert text_difference(text, other, other) is None


@settings(deadline=None)
@given(WORDS, st.data())
def test_a_changed_word_is_found(words: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(words)))
    for changed in (
        [*words[:at], "z", *words[at:]],
        [*words[:at], "z", *words[at + 1 :]],
    ):
        found = text_difference(" ".join(words), " ".join(changed))
        assert found is not None
        assert found.actual == "z"
        assert 0 < found.share <= 1


@settings(deadline=None)
@given(st.lists(st.integers(0, len(MANY) - 1), min_size=1, max_size=5, unique=True))
def test_changes_far_apart_in_a_long_text_are_few(places: list[int]) -> None:
    assert len(MANY) ** 2 > MAX_ALIGNED
    changed = ["other" if at in places else word for at, word in enumerate(MANY)]
    found = text_difference(" ".join(MANY), " ".join(changed))
    assert found is not None
    assert found.share == pytest.approx(len(places) / len(MANY))


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda at: "ab"[at * at % 7 % 2],
        lambda at: str(at * 7919 % 20011),
        lambda at: str(at % 3),
        lambda at: str(20011 - at),
        lambda at: "[",
    ],
)
def test_hostile_texts_take_no_longer_than_others(spoilt: Callable[[int], str]) -> None:
    text = " ".join("ba"[at % 3 % 2] if at % 5 else str(at) for at in range(20_000))
    begun = time.process_time()
    assert text_difference(text, " ".join(spoilt(at) for at in range(20_000)), text[::-1]) is not None
    assert time.process_time() - begun < 20  # each word with each other takes minutes
