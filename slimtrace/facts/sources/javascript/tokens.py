"""JavaScript as tokens: enough of ECMA-262's lexical grammar to tell code from comments, strings, templates and
regular expressions, in time in proportion to the text.

Source: ECMA-262 chapter 12. Whether a slash divides or begins a regular expression depends on the grammar,
which is not parsed here: it is guessed from the token before the slash and from the kinds of the brackets that
were closed. After a wrong guess the rest of that line may be misread.
"""

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple


class TokenType(Enum):
    """What a token is; the terms are those of ECMA-262."""

    NAME = 1  # identifiers and keywords
    STRING = 2
    TEMPLATE_HEAD = 3  # of a template: the text up to its first ${
    TEMPLATE_MIDDLE = 4  # the text between two substitutions
    TEMPLATE_TAIL = 5  # the text after the last substitution
    PUNCTUATOR = 6
    OTHER = 7  # numbers, regular expressions


class Token(NamedTuple):
    """`value` is a name, a punctuator, or the text that a string or a part of a template stands for; a template
    without substitutions is a STRING. `start` and `end` are offsets in the text."""

    type: TokenType
    value: str
    start: int
    end: int


# Every repetition is possessive and of single characters: no text takes more than one pass. (Repeated groups
# are not used: before Python 3.11.5 a possessive one goes on from the wrong place, gh-106052.)
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
_STRING_STOPS = {punctuator: re.compile(rf"[\\\n{punctuator}]") for punctuator in "\"'"}
_TEMPLATE_STOPS = re.compile(r"[`\\$]")
_REGEXP_STOPS = re.compile(r"[/\\\[\]\n]")
_REGEXP_FLAGS = re.compile(r"\w*+")
# After these keywords an operand begins, as after any punctuator that does not end one.
_OPERAND_KEYWORDS = "return typeof instanceof in of new delete void throw case do else yield await"
_BEFORE_OPERANDS = frozenset(_OPERAND_KEYWORDS.split())
_OPERAND_ENDS = frozenset((")", "]", "}", "++", "--"))
# Keywords of which the ")" is followed by a statement.
_STATEMENT_HEADS = frozenset(("if", "while", "for", "with"))
_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(\r\n|[\s\S]))")
_CONTROL_CHARACTERS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
# After a backslash in a string they stand for nothing.
_LINE_TERMINATORS = frozenset(("\n", "\r", "\r\n", "\u2028", "\u2029"))


def tokens(text: str, at: int = 0) -> Iterator[Token]:
    """The tokens of `text` from `at` on, where an operand or statement may begin. Any text is accepted: one
    that is not JavaScript gives tokens too."""
    operand_next = True  # a slash would begin a regular expression
    previous = ""
    brackets: list[str] = []  # for each open bracket, see `_after_bracket`; "template" for a ${
    no_regexp_before = 0  # up to this offset there is no regular expression
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
            yield Token(TokenType.NAME, word, start, at)
            operand_next = word in _BEFORE_OPERANDS and previous != "."
            previous = word
            continue
        if kind == "mark":
            punctuator = found[0]
            if punctuator in "([{":
                brackets.append(_after_bracket(punctuator, previous, operand_next))
                operand_next = True
            elif punctuator in ")]}":
                left = brackets.pop() if brackets else "value"
                if left == "template":
                    at, part = _template(text, at)
                    if part.type is TokenType.TEMPLATE_HEAD:
                        brackets.append("template")
                    yield part._replace(
                        type=TokenType.TEMPLATE_MIDDLE
                        if part.type is TokenType.TEMPLATE_HEAD
                        else TokenType.TEMPLATE_TAIL
                    )
                    operand_next = part.type is TokenType.TEMPLATE_HEAD
                    previous = "`"
                    continue
                operand_next = left == "statement"
            else:
                operand_next = punctuator not in _OPERAND_ENDS
            previous = punctuator
            yield Token(TokenType.PUNCTUATOR, punctuator, start, at)
            continue
        if kind == "string":
            yield Token(TokenType.STRING, found[0][1:-1], start, at)
        elif kind == "quote":
            end, at = _string(text, at, found[0])
            yield Token(TokenType.STRING, unescaped(text[start + 1 : end]), start, at)
        elif kind == "tick":
            at, part = _template(text, at)
            if part.type is TokenType.TEMPLATE_HEAD:
                brackets.append("template")
            yield part._replace(start=start)
            operand_next, previous = part.type is TokenType.TEMPLATE_HEAD, "`"
            continue
        elif kind == "slash" and operand_next and start >= no_regexp_before:
            if end := _regexp(text, at):
                at = end
                yield Token(TokenType.OTHER, "", start, at)
            else:
                no_regexp_before = _line_end(text, start)
                yield Token(TokenType.PUNCTUATOR, "/", start, at)
                previous = "/"
                continue
        elif kind == "slash":
            yield Token(TokenType.PUNCTUATOR, "/", start, at)
            operand_next, previous = True, "/"
            continue
        else:
            yield Token(TokenType.OTHER, "", start, at)
        operand_next, previous = False, "value"


def unescaped(raw: str) -> str:
    """The text that the inside of a string or template literal stands for."""
    return _ESCAPE.sub(_escaped_character, raw) if "\\" in raw else raw


def _escaped_character(escape: re.Match[str]) -> str:
    digits = escape[1] or escape[2] or escape[3]
    if digits:
        code = int(digits, 16)
        return chr(code) if code < 0x110000 else "\ufffd"
    return "" if escape[4] in _LINE_TERMINATORS else _CONTROL_CHARACTERS.get(escape[4], escape[4])


def _string(text: str, at: int, quote: str) -> tuple[int, int]:
    """The ends of a string's inside and of the string; both are the end of the line if nothing closes it."""
    while stop := _STRING_STOPS[quote].search(text, at):
        at = stop.end()
        if stop[0] == quote:
            return at - 1, at
        if stop[0] == "\n":
            return at - 1, at - 1
        at += 2 if text.startswith("\r\n", at) else 1
    return len(text), len(text)


def _regexp(text: str, at: int) -> int:
    """The end of the regular expression whose first slash is before `at`; 0 if the line ends first."""
    in_class = False
    while stop := _REGEXP_STOPS.search(text, at):
        at = stop.end()
        if stop[0] == "\\":
            at += 1
        elif stop[0] == "\n":
            return 0
        elif stop[0] == "/":
            if not in_class:
                flags = _REGEXP_FLAGS.match(text, at)
                return flags.end() if flags else at
        else:
            in_class = stop[0] == "["
    return 0


def _template(text: str, at: int) -> tuple[int, Token]:
    """The end of the part of a template that begins at `at`, and its token: a TEMPLATE_HEAD if a substitution
    follows, else a STRING."""
    start = at
    while stop := _TEMPLATE_STOPS.search(text, at):
        at = stop.end()
        if stop[0] == "`":
            return at, Token(TokenType.STRING, unescaped(text[start : at - 1]), start, at)
        if stop[0] == "$" and text.startswith("{", at):
            return at + 1, Token(TokenType.TEMPLATE_HEAD, unescaped(text[start : at - 1]), start, at + 1)
        if stop[0] == "\\":
            at += 1
    return len(text), Token(TokenType.STRING, unescaped(text[start:]), start, len(text))


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return end if end >= 0 else len(text)


def _after_bracket(punctuator: str, previous: str, operand_next: bool) -> str:
    """What stands before a slash once this bracket is closed: a "value", which the slash divides, or a
    "statement", after which it begins a regular expression."""
    if punctuator == "(":
        return "statement" if previous in _STATEMENT_HEADS else "value"
    if punctuator == "{" and (not operand_next or previous in ("", ";", "{", "}", ")", "=>", "else", "do")):
        return "statement"  # a block, or the body of a function
    return "value"
