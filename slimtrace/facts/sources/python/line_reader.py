"""Python source that cannot be parsed here (Python 2, a newer Python, a forged file), read line by line.

Only import statements are found. Those that are indented deeper than a def before them stand in a function.
"""

import re
from collections.abc import Iterator

from slimtrace.facts.mentions import Mention

_DEF = re.compile(r"([ \t]*)(?:async[ \t]+)?def[ \t]")
_IMPORT = re.compile(r"([ \t]*)import[ \t]+([\w., \t]+)")
_FROM = re.compile(r"([ \t]*)from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]*\(?([\w., \t*]*)")
_QUOTES = re.compile(r"\"\"\"|'''")
_NAME = re.compile(r"\w+(?:\.\w+)*")
MAX_CONTINUED = 200  # lines of one parenthesized import


def mentions(text: str) -> Iterator[Mention]:
    """The imports of `text`."""
    functions: list[int] = []  # the indentations of the functions that the line is in
    quote = ""
    open_import: tuple[str, bool, int] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        before = quote
        for found in _QUOTES.finditer(line):
            quote = "" if quote == found[0] else quote or found[0]
        if before:
            continue
        if open_import:
            base, lazy, left = open_import
            yield from _members(base, line.partition("#")[0].partition(")")[0], number, lazy)
            open_import = None if ")" in line or not left else (base, lazy, left - 1)
            continue
        indent = len(line) - len(line.lstrip(" \t"))
        if line.strip():
            while functions and indent <= functions[-1]:
                functions.pop()
        lazy = bool(functions)
        kind = "attempt" if indent else "import"
        if _DEF.match(line):
            if len(functions) < 100:
                functions.append(indent)
        elif plain := _IMPORT.match(line):
            for name in plain[2].split(","):
                if module := _NAME.match(name.strip()):
                    yield Mention(kind, module[0], number, lazy)
        elif members := _FROM.match(line):
            yield Mention(kind, members[2], number, lazy)
            yield from _members(members[2], members[3], number, lazy)
            if "(" in line and ")" not in line:
                open_import = members[2], lazy, MAX_CONTINUED


def _members(base: str, names: str, line: int, lazy: bool) -> Iterator[Mention]:
    for name in names.split(","):
        if member := _NAME.match(name.strip()):
            dot = "" if base.endswith(".") else "."
            yield Mention("member", f"{base}{dot}{member[0]}", line, lazy)
