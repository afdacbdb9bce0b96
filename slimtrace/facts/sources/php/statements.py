"""PHP as statements of tokens, and the value of an expression as far as it is known without running it.

Sources: php.net/manual language.basic-syntax, language.types.string, language.constants.magic. Text outside of
the tags is skipped. No part of a text is scanned twice, so that no text takes more than one pass.
"""

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple


class TokenType(Enum):
    """What a token is."""

    NAME = 1  # keywords, functions, constants and classes, with their backslashes
    STRING = 2
    INTERPOLATED = 3  # a string with variables: the text before the first of them
    VARIABLE = 4
    PUNCTUATOR = 5
    OTHER = 6


class Token(NamedTuple):
    """`value` is a name, a punctuator, or the text that a string stands for. `at` is an offset in the text."""

    type: TokenType
    value: str
    at: int


class Value(NamedTuple):
    """What is known of an expression's value: its `text`, or if not `complete` the beginning of it. `base` is
    "" for a plain string, "dir" for a path relative to the file's directory, "file" for the file's own path."""

    text: str
    complete: bool = True
    base: str = ""


UNKNOWN = Value("", complete=False)
MAX_STATEMENT = 400  # tokens; a longer one is split
MAX_DEPTH = 8  # of calls within an expression
_OPENING_TAG = re.compile(r"<\?(?:php(?![\w])|=)", re.IGNORECASE)
_TOKEN = re.compile(
    r"""
    (?P<blank> \s++ )
    | (?P<line> // | \#(?!\[) )
    | (?P<comment> /\* )
    | (?P<close> \?> )
    | (?P<name> [^\W\d]\w*+ | \\[^\W\d]\w*+ )
    | (?P<variable> \$+\w*+ )
    | (?P<string> '[^'\\]*+' | "[^"\\$]*+" )
    | (?P<quote> ["'`] )
    | (?P<heredoc> <<<[\ \t]*+(?P<mark_of>["']?)(?P<label>[^\W\d]\w*+)["']?\r?\n )
    | (?P<number> \d[\w.]*+ )
    | (?P<mark> :: | -> | => | [\s\S] )
    """,
    re.VERBOSE,
)
_LINE_END = re.compile(r"\n|\?>")
_STRING_STOPS = {quote_mark: re.compile(rf"[\\{quote_mark}]") for quote_mark in "\"'`"}
_VARIABLE = re.compile(r"\{?\$")
_STATEMENT_ENDS = frozenset((";", "{", "}"))
_ESCAPE = re.compile(r"\\([\\'\"$])")


def statements(text: str) -> Iterator[list[Token]]:
    """The tokens of each statement, without the punctuator that ends it."""
    words: list[Token] = []
    for token in _tokens(text):
        if (token.type is TokenType.PUNCTUATOR and token.value in _STATEMENT_ENDS) or len(
            words
        ) >= MAX_STATEMENT:
            # A group use has braces of its own: the tokens before and after them are one statement.
            if token.value == "{" and words and words[0].value.lower() == "use" and len(words) < MAX_STATEMENT:
                words.append(token)
                continue
            yield words
            words = []
        else:
            words.append(token)
    yield words


def _tokens(text: str) -> Iterator[Token]:
    at = 0
    while opened := _OPENING_TAG.search(text, at):
        at = opened.end()
        closed = False
        while at < len(text) and not closed:
            found = _TOKEN.match(text, at)
            assert found is not None  # its last alternative takes anything
            kind, start, at = found.lastgroup, at, found.end()
            if kind == "line":
                end = _LINE_END.search(text, at)
                at = end.start() if end else len(text)
            elif kind == "comment":
                at = text.find("*/", at) + 2
                if at == 1:
                    return
            elif kind == "close":
                closed = True
                yield Token(TokenType.PUNCTUATOR, ";", start)
            elif kind == "name":
                at, name = _qualified(text, at, found[0])
                yield Token(TokenType.NAME, name, start)
            elif kind == "variable":
                yield Token(TokenType.VARIABLE, found[0], start)
            elif kind == "string":
                yield Token(TokenType.STRING, found[0][1:-1], start)
            elif kind == "quote":
                inner_end, at = _string(text, at, found[0])
                yield _quoted(text[start + 1 : inner_end], found[0], start)
            elif kind == "heredoc":
                label = re.compile(rf"\n[ \t]*+{found['label']}\b").search(text, at - 1)
                if label is None:
                    return
                yield _quoted(text[at : label.start()], found["mark_of"] or '"', start)
                at = label.end()
            elif kind != "blank":
                yield Token(TokenType.PUNCTUATOR if kind == "mark" else TokenType.OTHER, found[0], start)


_NAMESPACE_PART = re.compile(r"\\[^\W\d]\w*+")


def _qualified(text: str, at: int, name: str) -> tuple[int, str]:
    """The offset after a name with its namespace parts, and that name."""
    parts = [name]
    while part := _NAMESPACE_PART.match(text, at):
        parts.append(part[0])
        at = part.end()
    return at, "".join(parts)


def _string(text: str, at: int, quote: str) -> tuple[int, int]:
    """The ends of a string's inside and of the string itself."""
    while stop := _STRING_STOPS[quote].search(text, at):
        if stop[0] == quote:
            return stop.start(), stop.end()
        at = stop.end() + 1
    return len(text), len(text)


def _quoted(raw: str, quote: str, at: int) -> Token:
    if quote == "'":
        return Token(TokenType.STRING, _ESCAPE.sub(r"\1", raw), at)
    variable = _VARIABLE.search(raw)
    value = _ESCAPE.sub(r"\1", raw[: variable.start()] if variable else raw)
    return Token(TokenType.INTERPOLATED if variable or quote == "`" else TokenType.STRING, value, at)


def value_at(words: list[Token], at: int, depth: int = 0) -> tuple[int, Value]:
    """The index after the part of an expression at `at` that was understood, a concatenation, and its value."""
    at, value = _operand(words, at, depth)
    while (
        value.complete and at < len(words) and words[at].value == "." and words[at].type is TokenType.PUNCTUATOR
    ):
        at, more = _operand(words, at + 1, depth)
        value = Value(value.text + more.text, more.complete and not more.base, value.base)
    # All operators but these bind less tightly than a concatenation.
    ended = at >= len(words) or words[at].value not in (".", "[", "(", "->", "::")
    return at, value if ended else value._replace(complete=False)


def _operand(words: list[Token], at: int, depth: int) -> tuple[int, Value]:
    if at >= len(words) or depth > MAX_DEPTH:
        return at + 1, UNKNOWN
    token_type, word, _ = words[at]
    if token_type in (TokenType.STRING, TokenType.INTERPOLATED):
        return at + 1, Value(word, token_type is TokenType.STRING)
    if token_type is TokenType.PUNCTUATOR and word == "(":
        at, value = value_at(words, at + 1, depth + 1)
        return (at + 1, value) if at < len(words) and words[at].value == ")" else (at + 1, UNKNOWN)
    name = word.lstrip("\\").lower() if token_type is TokenType.NAME else ""
    if name == "__dir__":
        return at + 1, Value("", base="dir")
    if name == "__file__":
        return at + 1, Value("", base="file")
    if name == "directory_separator":
        return at + 1, Value("/")
    if name in ("dirname", "realpath") and at + 1 < len(words) and words[at + 1].value == "(":
        at, value = value_at(words, at + 2, depth + 1)
        levels = 1
        if at + 1 < len(words) and words[at].value == "," and words[at + 1].value.isdigit():
            levels = min(int(words[at + 1].value[:3]), 20)
            at += 2
        if at < len(words) and words[at].value == ")":
            return at + 1, _dirname(value, levels) if name == "dirname" else value
    return at + 1, UNKNOWN


def _dirname(value: Value, levels: int) -> Value:
    if not value.complete:
        return UNKNOWN
    if value.base == "file":
        value, levels = Value("", base="dir"), levels - 1
    return value._replace(text=value.text + "/.." * levels) if value.base else UNKNOWN
