"""How far one text is from another, word by word, in bounded time.

Where the fat image's own two answers differ, nothing is expected: what lies there does not count.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

_WORDS = re.compile(r"<[a-z]{2,8}>|\w+|[^\w\s]")
ALIGNED = 1 << 16  # of two blocks, words times words, that are compared each with each
DEEPEST = 8  # blocks within blocks
NEAR = 2  # words between two places that vary: they are taken for one
SHOWN = 12  # words of a difference that are shown

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Unlike:
    """How much differs: its `share` of all the words, and the first place with what was expected there, and
    what came instead."""

    share: float
    expected: str
    came: str


def unlike(text: str, other: str, again: str = "") -> Unlike | None:
    """How `other` differs from `text`, of which `again` is another form that is as good; None where it does
    not. All three are normalised already."""
    if other == text or (again and other == again):
        return None
    words, others = _WORDS.findall(text), _WORDS.findall(other)
    if Counter(words) == Counter(others):  # a hash table's order is another in each process
        return None
    varying = _joined([mine for mine, _ in _changes(words, _WORDS.findall(again))]) if again else []
    found = [
        (mine, theirs)
        for mine, theirs in _changes(words, others)
        if not any(begin <= mine[0] and mine[1] <= end for begin, end in varying)
    ]
    if not found:
        return None
    count = sum(max(mine[1] - mine[0], theirs[1] - theirs[0]) for mine, theirs in found)
    fixed = len(words) - sum(end - begin for begin, end in varying)
    (mine, theirs), *_ = found
    expected, came = (
        " ".join(part[begin : min(end, begin + SHOWN)])
        for part, (begin, end) in ((words, mine), (others, theirs))
    )
    return Unlike(count / max(fixed, count, 1), expected, came)


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Spans that are near to each other as one."""
    found: list[Span] = []
    for begin, end in spans:
        if found and begin - found[-1][1] <= NEAR:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return found


def _changes(words: Sequence[str], others: Sequence[str]) -> list[tuple[Span, Span]]:
    """The places where they differ, in both, in their order."""
    found = []
    blocks = [((0, len(words)), (0, len(others)), 0)]
    while blocks:
        whole, its, depth = blocks.pop()
        mine, theirs = _trimmed(words, others, whole, its)
        if mine[0] == mine[1] and theirs[0] == theirs[1]:
            continue
        if mine[0] == mine[1] or theirs[0] == theirs[1]:
            found.append((mine, theirs))
        elif (mine[1] - mine[0]) * (theirs[1] - theirs[0]) <= ALIGNED:
            found += _aligned(words, others, mine, theirs)
        elif depth < DEEPEST and (anchors := _anchors(words, others, mine, theirs)):
            begin, start = mine[0], theirs[0]
            for at, place in anchors:
                blocks.append(((begin, at), (start, place), depth + 1))
                begin, start = at, place
            blocks.append(((begin, mine[1]), (start, theirs[1]), depth + 1))
        else:
            found.append((mine, theirs))
    return sorted(found)


def _trimmed(words: Sequence[str], others: Sequence[str], mine: Span, theirs: Span) -> tuple[Span, Span]:
    """The two blocks without what they have in common at their begin and end."""
    (begin, end), (start, stop) = mine, theirs
    while begin < end and start < stop and words[begin] == others[start]:
        begin, start = begin + 1, start + 1
    while begin < end and start < stop and words[end - 1] == others[stop - 1]:
        end, stop = end - 1, stop - 1
    return (begin, end), (start, stop)


def _aligned(
    words: Sequence[str], others: Sequence[str], mine: Span, theirs: Span
) -> Iterator[tuple[Span, Span]]:
    (a, b), (c, d) = mine, theirs
    for tag, begin, end, start, stop in SequenceMatcher(None, words[a:b], others[c:d], False).get_opcodes():
        if tag != "equal":
            yield (a + begin, a + end), (c + start, c + stop)


def _anchors(words: Sequence[str], others: Sequence[str], mine: Span, theirs: Span) -> list[tuple[int, int]]:
    """Where both have the same three words, each once (as in Bram Cohen's patience diff): the longest row of
    such places that come in the same order in both."""
    once, here = (_once(text, span) for text, span in ((words, mine), (others, theirs)))
    pairs = [(at, here[three]) for three, at in once.items() if three in here]
    tops: list[int] = []  # of the rows of each length the one that ends first
    ends: list[int] = []  # index of its last pair
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


def _once(words: Sequence[str], span: Span) -> dict[tuple[str, ...], int]:
    """The rows of three words that come once in a block, and where, by place."""
    places: dict[tuple[str, ...], int] = {}
    for at in range(span[0], span[1] - 2):
        three = tuple(words[at : at + 3])
        places[three] = -1 if three in places else at
    return {three: at for three, at in places.items() if at >= 0}


__all__ = ["Unlike", "unlike"]
