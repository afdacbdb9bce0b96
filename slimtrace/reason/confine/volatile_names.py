"""Names that a program makes up anew in every run, recognised by their form and masked, so that two runs give
the same texts."""

import re

_WORD = re.compile(r"[A-Za-z0-9]+")
_KINDS = (re.compile(r"[a-z]"), re.compile(r"[A-Z]"), re.compile(r"[0-9]"))
# Words that a person wrote: Makefile, PostgreSQL, sessionCache, postgresql15.
_HUMAN_WORD = re.compile(r"(?:[A-Z]?[a-z]{2,}|[A-Z]{2,})(?:[A-Z][a-z]{2,}|[A-Z]{2,})*[0-9]*")
_SHORTEST = 6  # the letters and digits of mkstemp(3)'s XXXXXX
_MASK = "…"


def mask(name: str) -> str:
    """`name`, which may be a path, with an ellipsis in place of words that are numbers (a process, a time) or
    mix letters and digits or cases as random words do; the file extension and a version stay."""
    return _WORD.sub(lambda found: _MASK if _is_volatile(found[0]) else found[0], name)


def _is_volatile(word: str) -> bool:
    if word.isdigit():
        return len(word) > 1
    kinds = sum(bool(kind.search(word)) for kind in _KINDS)
    return len(word) >= _SHORTEST and kinds > 1 and not _HUMAN_WORD.fullmatch(word)
