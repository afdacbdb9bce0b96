"""JavaScript as tokens: enough of ECMA-262's lexical grammar to tell code from comments, strings, templates and
regular expressions, in time in proportion to the text.

Source: ECMA-262 chapter 12. Whether a slash divides or begins a regular expression is for the grammar to say,
which is not parsed here: what stands before it decides, with the kinds of the brackets that were closed.
A wrong guess costs the rest of one line.
"""

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple


class Sort(Enum):
    """What a token is."""

    NAME = 1  # identifiers and keywords
    STRING = 2
    HEAD = 3  # a template, up to its end or its first ${
    MIDDLE = 4  # the text of a template after a substitution, up to the next
    TAIL = 5  # the text after the last one
    MARK = 6  # punctuation
    OTHER = 7  # numbers, regular expressions


class Token(NamedTuple):
    """`value` is a name, a mark, or the text that a string or template part stands for; a template without
    substitutions is a STRING. `start` and `end` are offsets in the text."""

    sort: Sort
    value: str
    start: int
    end: int


# Repeats are of single characters, and possessive: no text takes more than one pass. (Repeated groups are not
# used: before Python 3.11.5 a possessive one goes on from the wrong place, gh-106052.)
_TOKEN = re.compile(
    r"""
    (?P<blank> \s++ | //[^\n\u2028\u2029]*+ )
    | (?P<name> [^\W\d][\w$]*+ | [$#\\][\w$]*+ )
    | (?P<string> "[^"\\\n]*+" | '[^'\\\n]*+' )
    | (?P<number> \.?\d[\w.]*+ )
    | (?P<comment> /\* )
    | (?P<slash> / )
    | (?P<tick> ` )
    | (?P<quote> ["'] )
    | (?P<mark> =>|\+\+|--|\?\.|\.\.\.|[\s\S] )
    """,
    re.VERBOSE,
)
_STOPS = {mark: re.compile(rf"[\\\n{mark}]") for mark in "\"'"}
_TEMPLATE_STOPS = re.compile(r"[`\\$]")
_REGEXP_STOPS = re.compile(r"[/\\\[\]\n]")
_WORD = re.compile(r"\w*+")
# After these a value begins, as after any mark that does not end one.
_VALUES_FOLLOW = "return typeof instanceof in of new delete void throw case do else yield await"
_BEFORE_VALUES = frozenset(_VALUES_FOLLOW.split())
_ENDS = frozenset((")", "]", "}", "++", "--"))
_HEADED = frozenset(("if", "while", "for", "with"))  # their ")" is followed by a statement
_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(\r\n|[\s\S]))")
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
_NEWLINES = frozenset(("\n", "\r", "\r\n", "\u2028", "\u2029"))  # escaped, they continue the line


def tokens(text: str, at: int = 0) -> Iterator[Token]:
    """The tokens of `text` from `at` on, where a value or statement may begin. Anything is taken: what is no
    JavaScript gives tokens too."""
    value_next = True  # a slash would begin a regular expression
    previous = ""
    brackets: list[str] = []  # what closes each open one leaves behind: "value", "statement", "template"
    no_regexp_before = 0  # a regular expression was tried in vain as far as this
    size = len(text)
    if at == 0 and text.startswith("#!"):
        at = _line_end(text, 0)
    while at < size:
        found = _TOKEN.match(text, at)
        assert found is not None  # its last alternative takes anything
        kind, start, at = found.lastgroup, at, found.end()
        if kind == "blank":
            continue
        if kind == "comment":
            at = text.find("*/", at) + 2
            if at == 1:
                return
            continue
        if kind == "name":
            word = found[0]
            yield Token(Sort.NAME, word, start, at)
            value_next = word in _BEFORE_VALUES and previous != "."
            previous = word
            continue
        if kind == "mark":
            mark = found[0]
            if mark in "([{":
                brackets.append(_leaves(mark, previous, value_next))
                value_next = True
            elif mark in ")]}":
                left = brackets.pop() if brackets else "value"
                if left == "template":
                    at, part = _template(text, at)
                    if part.sort is Sort.HEAD:
                        brackets.append("template")
                    yield part._replace(sort=Sort.MIDDLE if part.sort is Sort.HEAD else Sort.TAIL)
                    value_next = part.sort is Sort.HEAD
                    previous = "`"
                    continue
                value_next = left == "statement"
            else:
                value_next = mark not in _ENDS
            previous = mark
            yield Token(Sort.MARK, mark, start, at)
            continue
        if kind == "string":
            yield Token(Sort.STRING, found[0][1:-1], start, at)
        elif kind == "quote":
            end, at = _string(text, at, found[0])
            yield Token(Sort.STRING, unescaped(text[start + 1 : end]), start, at)
        elif kind == "tick":
            at, part = _template(text, at)
            if part.sort is Sort.HEAD:
                brackets.append("template")
            yield part._replace(start=start)
            value_next, previous = part.sort is Sort.HEAD, "`"
            continue
        elif kind == "slash" and value_next and start >= no_regexp_before:
            if end := _regexp(text, at):
                at = end
                yield Token(Sort.OTHER, "", start, at)
            else:
                no_regexp_before = _line_end(text, start)
                yield Token(Sort.MARK, "/", start, at)
                previous = "/"
                continue
        elif kind == "slash":
            yield Token(Sort.MARK, "/", start, at)
            value_next, previous = True, "/"
            continue
        else:
            yield Token(Sort.OTHER, "", start, at)
        value_next, previous = False, "value"


def unescaped(raw: str) -> str:
    """What the inside of a string or template literal stands for."""
    return _ESCAPE.sub(_meant, raw) if "\\" in raw else raw


def _meant(escape: re.Match[str]) -> str:
    digits = escape[1] or escape[2] or escape[3]
    if digits:
        code = int(digits, 16)
        return chr(code) if code < 0x110000 else "\ufffd"
    return "" if escape[4] in _NEWLINES else _CONTROLS.get(escape[4], escape[4])


def _string(text: str, at: int, quote: str) -> tuple[int, int]:
    """Where the inside of a string ends, and where the string does; the line's end if nothing closes it."""
    while stop := _STOPS[quote].search(text, at):
        at = stop.end()
        if stop[0] == quote:
            return at - 1, at
        if stop[0] == "\n":
            return at - 1, at - 1
        at += 2 if text.startswith("\r\n", at) else 1
    return len(text), len(text)


def _regexp(text: str, at: int) -> int:
    """Where the regular expression ends whose first slash is before `at`; 0 where the line ends first."""
    in_class = False
    while stop := _REGEXP_STOPS.search(text, at):
        at = stop.end()
        if stop[0] == "\\":
            at += 1
        elif stop[0] == "\n":
            return 0
        elif stop[0] == "/":
            if not in_class:
                flags = _WORD.match(text, at)
                return flags.end() if flags else at
        else:
            in_class = stop[0] == "["
    return 0


def _template(text: str, at: int) -> tuple[int, Token]:
    """The template's text from `at` on, and where it ends: a HEAD if a substitution follows, else a STRING."""
    start = at
    while stop := _TEMPLATE_STOPS.search(text, at):
        at = stop.end()
        if stop[0] == "`":
            return at, Token(Sort.STRING, unescaped(text[start : at - 1]), start, at)
        if stop[0] == "$" and text.startswith("{", at):
            return at + 1, Token(Sort.HEAD, unescaped(text[start : at - 1]), start, at + 1)
        if stop[0] == "\\":
            at += 1
    return len(text), Token(Sort.STRING, unescaped(text[start:]), start, len(text))


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return end if end >= 0 else len(text)


def _leaves(mark: str, previous: str, value_next: bool) -> str:
    """What a bracket leaves behind when it is closed."""
    if mark == "(":
        return "statement" if previous in _HEADED else "value"
    if mark == "{" and (not value_next or previous in ("", ";", "{", "}", ")", "=>", "else", "do")):
        return "statement"  # a block, or the body of a function
    return "value"
