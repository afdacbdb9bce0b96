"""What the user asks for beside what was seen. Parsed elsewhere; the graph adds what is included, select drops
what is excluded.

Precedence: an exclude pattern wins over everything, an include over what the trace left out.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Keep(StrEnum):
    """How far a build goes beyond what was seen."""

    EXACT = "exact"  # what was used, and what the dynamic linker and the #! lines need for it
    CLOSURE = "closure"  # and what the code in use names, and what the system loads on demand
    PACKAGE = "package"  # and the whole packages of what was used


@dataclass(frozen=True, slots=True)
class Rules:
    """The user's wishes.

    `include_paths` are kept with all that lies below them; `include_bins` are programs (a name is looked up
    in the image's PATH) kept with all they need to run; `include_shell` is short for the image's shell.
    `exclude_patterns` are globs over whole paths; one that names a directory drops all below it too.
    """

    keep: Keep = Keep.CLOSURE
    include_paths: tuple[str, ...] = ()
    include_bins: tuple[str, ...] = ()
    include_shell: bool = False
    exclude_patterns: tuple[str, ...] = ()


def matcher(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    """One expression that matches a path which a pattern names, or one below it; None without patterns."""
    if not patterns:
        return None
    return re.compile("|".join(f"(?:{glob(pattern)})" for pattern in patterns), re.DOTALL)


def glob(pattern: str) -> str:
    """`pattern` as a regular expression for re.fullmatch: ``**`` crosses directories (``/**/`` also matches
    ``/``), ``*`` and ``?`` stay within one name, ``[…]`` is a set, ``[!…]`` its opposite."""
    out = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("/**/", at):
            out.append("/(?:.*/)?")
            at += 4
        elif pattern.startswith("**", at):
            out.append(".*")
            at += 2
        elif char == "*":
            out.append("[^/]*")
            at += 1
        elif char == "?":
            out.append("[^/]")
            at += 1
        elif char == "[" and (members := _SET.match(pattern, at)):
            out.append(_set(members))
            at = members.end()
        else:
            out.append(re.escape(char))
            at += 1
    return "".join(out) + "(?:/.*)?"


# A first "]" is a member; what looks like a set but is none stands for itself (glob(7)).
_SET = re.compile(r"\[([!^]?)(\]?[^\]]*)\]")


def _set(members: re.Match[str]) -> str:
    body = re.sub(r"([\\\[\]^&~|])", r"\\\1", members[2])
    expression = f"(?!/)[{'^' if members[1] else ''}{body}]"
    try:
        re.compile(expression)
    except re.error:  # empty, or a range from high to low
        return re.escape(members[0])
    return expression
