"""Globs over whole paths, as regular expressions that take time in proportion to a path's length.

``**`` crosses directories (``/**/`` also matches ``/``), ``*`` and ``?`` stay within one name, ``[…]`` is a
set, ``[!…]`` its opposite. What matches a directory matches all below it.

A hostile image may have a path that is made to slow matching down. Hence every wildcard ends at the first
place where what follows it fits, and the expression never backtracks into it (an atomic group): a later place
could not help, since the next wildcard of the same kind reaches whatever lies between. A ``**`` may have to
start again at a later directory than a ``*`` can reach, so its atomic group goes as far as the next ``**``.
"""

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"/\*\*/|\*\*|\*|\?|\[([!^]?)(\]?[^\]]*)\]|.", re.DOTALL
)  # a first "]" is a member: glob(7)
_BELOW = r"(?:/.*)?\Z"


def matcher(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    """One expression whose match(path) tells whether a pattern names `path` or a directory above it; None
    without patterns."""
    return re.compile("|".join(map(glob, patterns)), re.DOTALL) if patterns else None


def glob(pattern: str) -> str:
    """`pattern` as a regular expression, for re.match with re.DOTALL."""
    # The expression that each segment begins with, and the pieces between its "*".
    segments: list[tuple[str, list[str]]] = [("", [""])]
    for token, text in _tokens(pattern):
        if token == "**":
            segments.append((".*?", [""]))
        elif token == "/**/":
            segments[-1][1][-1] += "/"
            segments.append(("(?:.*?/)??", [""]))
        elif token == "*":
            segments[-1][1].append("")
        else:
            segments[-1][1][-1] += text
    segments[-1][1][-1] += _BELOW
    return "".join(f"(?>{begin}{_pieces(pieces)})" for begin, pieces in segments)


def _pieces(pieces: list[str]) -> str:
    first, *rest = pieces
    return first + "".join(f"(?>[^/]*?{piece})" for piece in rest)


def _tokens(pattern: str) -> Iterator[tuple[str, str]]:
    """Each token of the glob, with the expression for what it matches where that is one character."""
    for token in _TOKEN.finditer(pattern):
        if token[0] == "?":
            yield "?", "[^/]"
        elif token[2] is not None:
            yield "[", _set(token)
        else:
            yield token[0], re.escape(token[0])


def _set(token: re.Match[str]) -> str:
    body = re.sub(r"([\\\[\]^&~|])", r"\\\1", token[2])
    expression = f"(?!/)[{'^' if token[1] else ''}{body}]"
    try:
        re.compile(expression)
    except re.error:  # empty, or a range from high to low: the glob's text stands for itself
        return re.escape(token[0])
    return expression


__all__ = ["glob", "matcher"]
