"""Every page's Markdown is read as it was meant: tables are tables, lists are lists, fences end.

The parser is markdown-it-py, which rich depends on. It makes text in a paragraph of broken Markdown, without a
complaint. So most of these checks look for marks of Markdown that were left in a paragraph.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from documents import PAGES, name
from markdown_it import MarkdownIt
from markdown_it.token import Token

WIDTH = 120
PARSER = MarkdownIt("commonmark").enable("table")

CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
ITEM = re.compile(r" *(?:[-*+]|\d{1,9}[.)])(?: +|$)")
TABLE_ROW = re.compile(r"^\s*\||\|\s*:?-{3,}:?\s*\|")
HEADING_MARK = re.compile(r"(?:^|\s)#{1,6}\s|^\s*#{1,6}[A-Za-z]")
ITEM_AT_LINE_START = re.compile(r"^\s*(?:[-*+]|\d{1,9}[.)])\s")
ITEM_BEHIND_SENTENCE = re.compile(r"[.:;]\s+[-*+]\s+\S")
LINK_TARGET = re.compile(r"\]\([^)\s]*\)|https?://\S+")
LEFT_OPEN = ("`", "**", "](")


class Fault(NamedTuple):
    check: str
    line: int  # from 1

    def __str__(self) -> str:
        return f"line {self.line}: {CHECKS[self.check]}"


CHECKS = {
    "row": "a table's row in a paragraph",
    "cells": "a table's row with another number of cells than its head",
    "fence": "a code fence that is not closed",
    "heading": "a heading's mark in a paragraph",
    "underlined": "a heading by underlining, which a rule below a paragraph makes too",
    "item": "a list item in a paragraph",
    "list": "a list without an empty line before it",
    "margin": "a line of a list item that is not indented as the item's text is",
    "code": "indented code in a paragraph",
    "open": "a mark of code, bold text or a link that is not closed",
    "width": f"more than {WIDTH} characters",
}


def faults(text: str) -> list[Fault]:
    """What is wrong with a page, by lines."""
    lines, tokens = text.splitlines(), PARSER.parse(text)
    found = {*_in_blocks(lines, tokens), *_too_wide(lines, tokens)}
    return sorted(found, key=lambda fault: (fault.line, fault.check))


def _in_blocks(lines: Sequence[str], tokens: Sequence[Token]) -> Iterator[Fault]:
    margins = [0]  # where the text of each list item begins, from the outermost on
    for token, following in pairwise([*tokens, Token("end", "", 0)]):
        if token.type == "list_item_open":
            margins.append(_margin(lines[_first(token)]))
        elif token.type == "list_item_close":
            margins.pop()
        elif token.type in ("bullet_list_open", "ordered_list_open"):
            if len(margins) == 1 and _first(token) and lines[_first(token) - 1].strip():
                yield Fault("list", _first(token) + 1)
        elif token.type == "heading_open" and token.markup in ("=", "-"):
            yield Fault("underlined", _first(token) + 1)
        elif token.type == "fence":
            yield from _fence(lines, token)
        elif token.type == "table_open":
            yield from _table(lines, token)
        elif token.type == "paragraph_open":
            yield from _paragraph(lines, following, margins[-1])


def _first(token: Token) -> int:
    assert token.map is not None
    return token.map[0]


def _margin(line: str) -> int:
    mark = ITEM.match(line)
    return mark.end() if mark else 0


def _fence(lines: Sequence[str], token: Token) -> Iterator[Fault]:
    assert token.map is not None
    first, end = token.map
    last = lines[end - 1].strip() if end - first > 1 else ""
    if not (last.startswith(token.markup) and not last.strip(token.markup[0])):
        yield Fault("fence", first + 1)


def _table(lines: Sequence[str], token: Token) -> Iterator[Fault]:
    assert token.map is not None
    first, end = token.map
    width = _cells(lines[first])
    for number in range(first + 1, end):
        if _cells(lines[number]) != width:
            yield Fault("cells", number + 1)


def _cells(row: str) -> int:
    inner = row.strip().removeprefix("|")
    return len(re.findall(r"(?<!\\)\|", inner)) + (not re.search(r"(?<!\\)\|$", inner))


def _paragraph(lines: Sequence[str], inline: Token, margin: int) -> Iterator[Fault]:
    first = _first(inline)
    # In code the marks mean themselves.
    text = CODE_SPAN.sub(lambda code: "`" + re.sub(r"[^\n]+", "", code[0]), inline.content)
    for offset, line in enumerate(text.split("\n")):
        number = first + offset + 1
        indent = len(lines[number - 1]) - len(lines[number - 1].lstrip())
        if TABLE_ROW.search(line):
            yield Fault("row", number)
        if HEADING_MARK.search(line):
            yield Fault("heading", number)
        if ITEM_BEHIND_SENTENCE.search(line) or (offset and ITEM_AT_LINE_START.search(line)):
            yield Fault("item", number)
        if offset and indent >= margin + 4:
            yield Fault("code", number)
        elif offset and indent != margin:
            yield Fault("margin", number)
    rest = "\n".join(child.content for child in inline.children or () if child.type == "text")
    if any(mark in rest for mark in LEFT_OPEN):
        yield Fault("open", first + 1)


def _too_wide(lines: Sequence[str], tokens: Sequence[Token]) -> Iterator[Fault]:
    may_be_wide = {
        number
        for token in tokens
        if token.type in ("table_open", "fence", "code_block") and token.map
        for number in range(*token.map)
    }
    for number, line in enumerate(lines):
        if number not in may_be_wide and len(LINK_TARGET.sub("]", line)) > WIDTH:
            yield Fault("width", number + 1)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_page_is_read_as_it_was_meant(page: Path) -> None:
    assert "\n".join(map(str, faults(page.read_text()))) == ""


JOINED_TABLE = """\
# kernels/: what slimtrace wants of a kernel, as data

| file | holds | read by | |---|---|---| | `features.toml` | each feature: how it is tried, what is lost without
it, how to mend it, where it is specified | `slimtrace doctor` | | `slimtrace.config` | the Kconfig fragment of
a kernel that has everything | who builds a kernel | | `matrix.toml` | the kernels known, what was found on
each, ways to degrade one | the tests on other kernels |
"""
JOINED_LINES = """\
- **Ask for the feature, never for the version.** `since` informs the reader; nothing decides by it.
Distributions
  backport, lockdown takes away.
"""
TABLE = "| a | b |\n|---|---|\n"

# A page with one thing wrong, and what is found in it.
BROKEN = [
    (JOINED_TABLE, [("row", 3)]),
    ("Text.\n\n| a | b |\n|---|\n| 1 | 2 |\n", [("row", 3), ("row", 4), ("row", 5)]),
    ("- text\n  | a | b |\n", [("row", 2)]),
    (TABLE + "| 1 | 2 | 3 |\n", [("cells", 3)]),
    (TABLE + "| 1 |\n", [("cells", 3)]),
    (TABLE + "| `a|b` | 2 |\n", [("cells", 3)]),
    (TABLE + "| 1 | 2 |\nText behind it.\n", [("cells", 4)]),
    ("```\ncode\n\nText behind it.\n", [("fence", 1)]),
    ("````\ncode\n```\n", [("fence", 1)]),
    ("- item\n\n  ```sh\n  code\n\nText.\n", [("fence", 3)]),
    ("```", [("fence", 1)]),
    ("Text. ## Heading\n", [("heading", 1)]),
    ("Text\n##Heading\n", [("heading", 2)]),
    ("#Heading\n", [("heading", 1)]),
    ("Text, a paragraph.\n---\n", [("underlined", 1)]),
    ("Two rules: - one. - two.\n", [("item", 1)]),
    ("Text\n2. two\n3. three\n", [("item", 2), ("item", 3)]),
    ("Two rules:\n- one\n- two\n", [("list", 2)]),
    ("Done with Linux 6.1\n- and later.\n", [("list", 2)]),
    (JOINED_LINES, [("margin", 2)]),
    ("Text\n  more text.\n", [("margin", 2)]),
    ("1. item\n  more text.\n", [("margin", 2)]),
    ("Call it:\n    make test\n", [("code", 2)]),
    ("- Call it:\n      make test\n", [("code", 2)]),
    ("This is `code.\n", [("open", 1)]),
    ("This is **bold.\n", [("open", 1)]),
    ("This is [a link](to nowhere.\n", [("open", 1)]),
    ("x" * (WIDTH + 1), [("width", 1)]),
    ("- " + "x " * WIDTH, [("width", 1)]),
]

SOUND = f"""\
# Heading

Text with `| code |` and `## code`, and a line that ends with a dash -
as this one. `- code` may
`- begin` a line. C# is a language, #1 a number. It costs 3 | 4.

```sh
| code | in a fence, {"x" * WIDTH}
# a comment
```

    - indented code, {"x" * WIDTH}

Two lists:

- one,
  whose text goes on
  - with a list in it
    of two lines
- two

      code in an item

1. one
2. two

| a | b, {"x" * WIDTH} |
|---|--:|
| `a \\| b` | |
| | 2 |

See [here](https://example.org/{"x" * WIDTH}) and https://example.org/{"x" * WIDTH}
"""


@pytest.mark.parametrize(("page", "expected"), BROKEN)
def test_what_is_broken_is_found(page: str, expected: list[tuple[str, int]]) -> None:
    assert faults(page) == [Fault(*fault) for fault in expected]


def test_each_check_can_fail() -> None:
    assert {check for _, expected in BROKEN for check, _ in expected} == set(CHECKS)


def test_nothing_is_found_in_a_sound_page() -> None:
    assert [str(fault) for fault in faults(SOUND)] == []
