"""The tokens of a line of Ruby, and the value of an expression as far as it is known without running it.

Understood is only what makes paths of literals: sums, interpolation of the file's own directory, File.join,
File.expand_path, File.dirname, Dir.glob. Sources: docs.ruby-lang.org doc/syntax/literals, File, Dir.
"""

import re
from typing import NamedTuple

MAX_DEPTH = 8  # of calls within an argument
_TOKEN = re.compile(
    r"""
    (?P<blank> \s++ )
    | (?P<comment> \#(?!\{).* )
    | (?P<name> [^\W\d]\w*+[?!]? | \$[\w:] )
    | (?P<symbol> :[^\W\d]\w*+ )
    | (?P<string> "[^"\\]*+" | '[^'\\]*+' )
    | (?P<quote> ["'] )
    | (?P<mark> :: | << | [\s\S] )
    """,
    re.VERBOSE,
)
_STRING_STOPS = {mark: re.compile(rf"[\\{mark}]") for mark in "\"'"}
_OWN_DIRECTORY = re.compile(
    r"\A#\{(?:__dir__|File\.dirname\(__FILE__\)|File\.expand_path\(['\"]\.\.['\"], __FILE__\))\}"
)
Tokens = list[tuple[str, str]]  # of one line, as type (a group of _TOKEN) and value


class Value(NamedTuple):
    """What is known of an expression's value: its `text`, or if not `complete` the beginning of it. `base` is
    "" for a plain string, "dir" for a path relative to the file's directory, "file" for one to the file."""

    text: str
    complete: bool = True
    base: str = ""


UNKNOWN = Value("", complete=False)


def tokens(line: str) -> Tokens:
    """The tokens of a line, without blanks and comments."""
    found: Tokens = []
    at = 0
    while at < len(line):
        match = _TOKEN.match(line, at)
        assert match is not None  # its last alternative takes anything
        token_type, at = match.lastgroup or "mark", match.end()
        if token_type == "comment":
            # a "#" within a regular expression or after a word begins no comment
            if match.start() == 0 or line[match.start() - 1].isspace():
                break
            at = match.start() + 1
        elif token_type == "string":
            found.append((token_type, match[0][1:-1]))
        elif token_type == "quote":
            start = at
            while (stop := _STRING_STOPS[match[0]].search(line, at)) and stop[0] == "\\":
                at = stop.end() + 1
            found.append(("string", line[start : stop.start() if stop else len(line)].replace("\\", "")))
            at = stop.end() if stop else len(line)
        elif token_type != "blank":
            found.append((token_type, match[0]))
    return found


def value_at(words: Tokens, at: int, depth: int = 0) -> tuple[int, Value]:
    """The index after the part of an expression that was understood, a sum of operands, and its value."""
    at, value = _operand(words, at, depth)
    while value.complete and words[at : at + 1] == [("mark", "+")]:
        at, more = _operand(words, at + 1, depth)
        value = Value(value.text + more.text, more.complete and not more.base, value.base)
    known = at >= len(words) or words[at][1] in (
        ")",
        "]",
        ",",
        ";",
        "}",
        "if",
        "unless",
        "rescue",
        "and",
        "or",
        "&",
    )
    return at, value if known or words[at][1] == "." else value._replace(complete=False)


def _operand(words: Tokens, at: int, depth: int) -> tuple[int, Value]:
    if at >= len(words) or depth > MAX_DEPTH:
        return at + 1, UNKNOWN
    token_type, word = words[at]
    if token_type == "string":
        return at + 1, _string_value(word)
    if word == "__dir__":
        return at + 1, Value("", base="dir")
    if word == "__FILE__":
        return at + 1, Value("", base="file")
    on_file_or_dir = word in ("File", "Dir") and at + 2 < len(words)
    call = words[at + 2][1] if on_file_or_dir and words[at + 1][1] == "." else word
    start = at + 2 if on_file_or_dir and words[at + 1][1] == "[" else at + (4 if on_file_or_dir else 2)
    opened = words[start - 1 : start] in ([("mark", "(")], [("mark", "[")])
    if not opened:
        start -= 1
    if not (on_file_or_dir and words[at + 1][1] == "[") and call not in (
        "expand_path",
        "join",
        "dirname",
        "glob",
        "realpath",
    ):
        return at + 1, UNKNOWN
    arguments: list[Value] = []
    at = start
    while at < len(words) and words[at][1] not in (")", "]"):
        at, value = value_at(words, at, depth + 1)
        arguments.append(value)
        if at >= len(words) or words[at][1] != ",":
            break
        at += 1
    closed = at < len(words) and words[at][1] in (")", "]")
    return at + closed, _path_method(call, arguments)


def _path_method(call: str, arguments: list[Value]) -> Value:
    """The value of a call of File.join, .expand_path, .dirname or Dir.glob."""
    if not arguments:
        return UNKNOWN
    first = arguments[0]
    if call == "dirname":
        return Value("", base="dir") if first == Value("", base="file") else UNKNOWN
    if call == "expand_path":
        if len(arguments) > 1 and arguments[1].base and arguments[1].complete and not first.base:
            base = arguments[1]
            return Value(f"{base.text}/{first.text}" if base.text else first.text, first.complete, base.base)
        return first if len(arguments) == 1 else UNKNOWN
    if call == "join":
        text = "/".join(value.text for value in arguments if value.text)
        first_incomplete = next((at for at, value in enumerate(arguments) if not value.complete), None)
        if first_incomplete is not None:
            text = "/".join([value.text for value in arguments[: first_incomplete + 1]])
        return Value(text, first_incomplete is None, first.base)
    return first


def _string_value(raw: str) -> Value:
    """The value of a string literal up to its first #{…}; a leading #{__dir__} is the file's directory."""
    base = ""
    if here := _OWN_DIRECTORY.match(raw):
        raw, base = raw[here.end() :], "dir"
    before, found, _ = raw.partition("#{")
    return Value(before, not found, base)
