"""How far one text is from another, word by word, in bounded time.

Where the fat image's own two answers differ, nothing is expected: what lies there does not count.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

_WORDS = re.compile(r"<[a-z]{2,8}>|\w+|[^\w\s]")
ALIGNED = 1 << 22  # of two texts, words times words: more are counted, and not brought into line
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
    if other in (text, again):
        return None
    words, others = _WORDS.findall(text), _WORDS.findall(other)
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
    """The places where they differ, in both. Beyond ALIGNED it is one place of the words that only one has."""
    head = 0
    most = min(len(words), len(others))
    while head < most and words[head] == others[head]:
        head += 1
    tail = 0
    while tail < most - head and words[-1 - tail] == others[-1 - tail]:
        tail += 1
    mine, theirs = words[head : len(words) - tail], others[head : len(others) - tail]
    if not mine and not theirs:
        return []
    if len(mine) * len(theirs) > ALIGNED:
        if Counter(mine) == Counter(theirs):
            return []
        return [((head, head + len(mine)), (head, head + len(theirs)))]
    codes = SequenceMatcher(None, mine, theirs).get_opcodes()
    return [((head + a, head + b), (head + c, head + d)) for tag, a, b, c, d in codes if tag != "equal"]


__all__ = ["Unlike", "unlike"]
