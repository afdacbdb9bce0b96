"""Ruby, line by line: its tokens, and what is known of an expression without running it.

Only what makes paths of literals is understood: sums, interpolation of the file's own place, File.join,
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
_STOPS = {mark: re.compile(rf"[\\{mark}]") for mark in "\"'"}
_HERE = re.compile(
    r"\A#\{(?:__dir__|File\.dirname\(__FILE__\)|File\.expand_path\(['\"]\.\.['\"], __FILE__\))\}"
)
Line = list[tuple[str, str]]  # tokens as sort and value


class Value(NamedTuple):
    """What is known of an expression: its `text`, or with `whole` False the beginning of it. `base` is "" for
    the text itself, "dir" for a path in the file's directory, "file" for one that begins at the file's name."""

    text: str
    whole: bool = True
    base: str = ""


UNKNOWN = Value("", whole=False)


def tokens(line: str) -> Line:
    found: Line = []
    at = 0
    while at < len(line):
        match = _TOKEN.match(line, at)
        assert match is not None  # its last alternative takes anything
        sort, at = match.lastgroup or "mark", match.end()
        if sort == "comment":
            # "#" within a regular expression or after a word is none
            if match.start() == 0 or line[match.start() - 1].isspace():
                break
            at = match.start() + 1
        elif sort == "string":
            found.append((sort, match[0][1:-1]))
        elif sort == "quote":
            start = at
            while (stop := _STOPS[match[0]].search(line, at)) and stop[0] == "\\":
                at = stop.end() + 1
            found.append(("string", line[start : stop.start() if stop else len(line)].replace("\\", "")))
            at = stop.end() if stop else len(line)
        elif sort != "blank":
            found.append((sort, match[0]))
    return found


def value_at(words: Line, at: int, depth: int = 0) -> tuple[int, Value]:
    """The expression at `at`, a sum of operands, and where what was understood of it ends."""
    at, value = _operand(words, at, depth)
    while value.whole and words[at : at + 1] == [("mark", "+")]:
        at, more = _operand(words, at + 1, depth)
        value = Value(value.text + more.text, more.whole and not more.base, value.base)
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
    return at, value if known or words[at][1] == "." else value._replace(whole=False)


def _operand(words: Line, at: int, depth: int) -> tuple[int, Value]:
    if at >= len(words) or depth > MAX_DEPTH:
        return at + 1, UNKNOWN
    sort, word = words[at]
    if sort == "string":
        return at + 1, _text(word)
    if word == "__dir__":
        return at + 1, Value("", base="dir")
    if word == "__FILE__":
        return at + 1, Value("", base="file")
    owned = word in ("File", "Dir") and at + 2 < len(words)
    call = words[at + 2][1] if owned and words[at + 1][1] == "." else word
    start = at + 2 if owned and words[at + 1][1] == "[" else at + (4 if owned else 2)
    opened = words[start - 1 : start] in ([("mark", "(")], [("mark", "[")])
    if not opened:
        start -= 1
    if not (owned and words[at + 1][1] == "[") and call not in (
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
    return at + closed, _called(call, arguments)


def _called(call: str, arguments: list[Value]) -> Value:
    """What File.join, .expand_path, .dirname or Dir.glob make of their arguments."""
    if not arguments:
        return UNKNOWN
    first = arguments[0]
    if call == "dirname":
        return Value("", base="dir") if first == Value("", base="file") else UNKNOWN
    if call == "expand_path":
        if len(arguments) > 1 and arguments[1].base and arguments[1].whole and not first.base:
            base = arguments[1]
            return Value(f"{base.text}/{first.text}" if base.text else first.text, first.whole, base.base)
        return first if len(arguments) == 1 else UNKNOWN
    if call == "join":
        text = "/".join(value.text for value in arguments if value.text)
        known = next((at for at, value in enumerate(arguments) if not value.whole), None)
        if known is not None:
            text = "/".join([value.text for value in arguments[: known + 1]])
        return Value(text, known is None, first.base)
    return first


def _text(raw: str) -> Value:
    """A string literal; one with #{…} is known as far as that, and #{__dir__} is the file's directory."""
    base = ""
    if here := _HERE.match(raw):
        raw, base = raw[here.end() :], "dir"
    before, found, _ = raw.partition("#{")
    return Value(before, not found, base)
