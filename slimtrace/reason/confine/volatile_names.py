"""Names that a program makes up anew in every run, told by their looks, so that what is said of two runs is the
same."""

import re

_WORD = re.compile(r"[A-Za-z0-9]+")
_KINDS = (re.compile(r"[a-z]"), re.compile(r"[A-Z]"), re.compile(r"[0-9]"))
# What somebody wrote: Makefile, PostgreSQL, sessionCache, postgresql15.
_WRITTEN = re.compile(r"(?:[A-Z]?[a-z]{2,}|[A-Z]{2,})(?:[A-Z][a-z]{2,}|[A-Z]{2,})*[0-9]*")
_SHORTEST = 6  # letters that mkstemp(3) puts for XXXXXX
_MADE_UP = "…"


def masked(name: str) -> str:
    """`name`, which may be a path, with an ellipsis in place of words that are numbers (a process, a time) or
    mix letters and digits or cases as made-up words do; the file extension and a version stay."""
    return _WORD.sub(lambda found: _MADE_UP if _made_up(found[0]) else found[0], name)


def _made_up(word: str) -> bool:
    if word.isdigit():
        return len(word) > 1
    kinds = sum(bool(kind.search(word)) for kind in _KINDS)
    return len(word) >= _SHORTEST and kinds > 1 and not _WRITTEN.fullmatch(word)
