"""The distance of one text from another, word by word, in bounded time.

Where the fat image's own two answers differ, any text will do: differences at that place do not count.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

_WORDS = re.compile(r"<[a-z]{2,8}>|\w+|[^\w\s]")
MAX_ALIGNED = 1 << 16  # words times words of two blocks that are compared each with each
MAX_DEPTH = 8  # of blocks within blocks
JOIN_DISTANCE = 2  # words at most between two varying places that count as one
MAX_SHOWN = 12  # words of a difference that are shown

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class TextDifference:
    """The difference of two texts: its `share` of all the words, and of the first place that differs the
    `expected` text and the `actual` one."""

    share: float
    expected: str
    actual: str


def text_difference(text: str, other: str, again: str = "") -> TextDifference | None:
    """The difference of `other` from `text`, of which `again` is another valid form; None where there is none.
    All three are normalised already."""
    if other == text or (again and other == again):
        return None
    words, others = _WORDS.findall(text), _WORDS.findall(other)
    if Counter(words) == Counter(others):  # a hash table's order is another in each process
        return None
    varying = _joined([left for left, _ in _changes(words, _WORDS.findall(again))]) if again else []
    found = [
        (left, right)
        for left, right in _changes(words, others)
        if not any(begin <= left[0] and left[1] <= end for begin, end in varying)
    ]
    if not found:
        return None
    count = sum(max(left[1] - left[0], right[1] - right[0]) for left, right in found)
    fixed = len(words) - sum(end - begin for begin, end in varying)
    (left, right), *_ = found
    expected, actual = (
        " ".join(part[begin : min(end, begin + MAX_SHOWN)])
        for part, (begin, end) in ((words, left), (others, right))
    )
    return TextDifference(count / max(fixed, count, 1), expected, actual)


def _joined(spans: Sequence[Span]) -> list[Span]:
    """The spans, with those that are near to each other joined."""
    found: list[Span] = []
    for begin, end in spans:
        if found and begin - found[-1][1] <= JOIN_DISTANCE:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return found


def _changes(words: Sequence[str], others: Sequence[str]) -> list[tuple[Span, Span]]:
    """The spans of both, in order, that differ."""
    found = []
    blocks = [((0, len(words)), (0, len(others)), 0)]
    while blocks:
        span, other_span, depth = blocks.pop()
        left, right = _trimmed(words, others, span, other_span)
        if left[0] == left[1] and right[0] == right[1]:
            continue
        if left[0] == left[1] or right[0] == right[1]:
            found.append((left, right))
        elif (left[1] - left[0]) * (right[1] - right[0]) <= MAX_ALIGNED:
            found += _aligned(words, others, left, right)
        elif depth < MAX_DEPTH and (anchors := _anchors(words, others, left, right)):
            begin, start = left[0], right[0]
            for at, place in anchors:
                blocks.append(((begin, at), (start, place), depth + 1))
                begin, start = at, place
            blocks.append(((begin, left[1]), (start, right[1]), depth + 1))
        else:
            found.append((left, right))
    return sorted(found)


def _trimmed(words: Sequence[str], others: Sequence[str], left: Span, right: Span) -> tuple[Span, Span]:
    """The two blocks without the words that they have in common at their begin and end."""
    (begin, end), (start, stop) = left, right
    while begin < end and start < stop and words[begin] == others[start]:
        begin, start = begin + 1, start + 1
    while begin < end and start < stop and words[end - 1] == others[stop - 1]:
        end, stop = end - 1, stop - 1
    return (begin, end), (start, stop)


def _aligned(
    words: Sequence[str], others: Sequence[str], left: Span, right: Span
) -> Iterator[tuple[Span, Span]]:
    (a, b), (c, d) = left, right
    for tag, begin, end, start, stop in SequenceMatcher(None, words[a:b], others[c:d], False).get_opcodes():
        if tag != "equal":
            yield (a + begin, a + end), (c + start, c + stop)


def _anchors(words: Sequence[str], others: Sequence[str], left: Span, right: Span) -> list[tuple[int, int]]:
    """The places where both blocks have the same three words, which are unique in each (as in Bram Cohen's
    patience diff): the longest sequence of such places that has the same order in both."""
    triples, other_triples = (_unique_triples(text, span) for text, span in ((words, left), (others, right)))
    pairs = [(at, other_triples[triple]) for triple, at in triples.items() if triple in other_triples]
    tops: list[int] = []  # by length of a sequence, the smallest place at which one ends
    ends: list[int] = []  # by length, the index of the last pair of that sequence
    before: list[int] = []
    for index, (_, place) in enumerate(pairs):
        length = bisect_left(tops, place)
        before.append(ends[length - 1] if length else -1)
        tops[length : length + 1] = [place]
        ends[length : length + 1] = [index]
    found = []
    index = ends[-1] if ends else -1
    while index >= 0:
        found.append(pairs[index])
        index = before[index]
    return found[::-1]


def _unique_triples(words: Sequence[str], span: Span) -> dict[tuple[str, ...], int]:
    """The triples of words that occur once in a block, each with its place, in order."""
    places: dict[tuple[str, ...], int] = {}
    for at in range(span[0], span[1] - 2):
        triple = tuple(words[at : at + 3])
        places[triple] = -1 if triple in places else at
    return {triple: at for triple, at in places.items() if at >= 0}


__all__ = ["TextDifference", "text_difference"]
