"""The value of a JavaScript expression, as far as it is known without running it: of literals, their sums,
templates, and the calls that make paths of literals (path.join, path.resolve, new URL(…, import.meta.url),
fileURLToPath, process.cwd).

Source: nodejs.org/api path.html, url.html, esm.html#importmeta.
"""

from typing import NamedTuple

from slimtrace.facts.sources.javascript.tokens import Token, TokenType

PATH_JOINS = frozenset(("join", "resolve"))
_CONVERSIONS = frozenset(("fileURLToPath", "pathToFileURL", "String"))
MAX_DEPTH = 8  # of calls within an argument
OPENING_BRACKETS, CLOSING_BRACKETS, SEPARATORS = frozenset("([{"), frozenset(")]}"), frozenset(",;")


class Value(NamedTuple):
    """What is known of an expression's value: its `text`, or if not `complete` the beginning of it. `base` is
    "" for a plain string; "file" or "cwd" for a path relative to the file's or the working directory."""

    text: str
    complete: bool = True
    base: str = ""


UNKNOWN = Value("", complete=False)


def first_argument(ahead: list[Token]) -> Value:
    """The first argument of a call; `ahead` are the tokens from its opening bracket on."""
    return value_at(ahead, 1) if ahead and ahead[0].value == "(" else UNKNOWN


def expression_end(ahead: list[Token], at: int) -> int:
    """The index at which the expression that begins at `at` ends: of a comma, a semicolon or an unmatched
    closing bracket."""
    depth = 0
    for index in range(at, len(ahead)):
        token = ahead[index]
        if token.type is TokenType.PUNCTUATOR:
            if token.value in OPENING_BRACKETS:
                depth += 1
            elif token.value in CLOSING_BRACKETS:
                if depth == 0:
                    return index
                depth -= 1
            elif token.value in SEPARATORS and depth == 0:
                return index
    return len(ahead)


def value_at(ahead: list[Token], at: int, depth: int = 0) -> Value:
    """What is known of the value of the expression that begins at `at`."""
    end = expression_end(ahead, at)
    value, at = _operand(ahead, at, end, depth)
    while at < end and value.complete and ahead[at].value == "+":
        more, at = _operand(ahead, at + 1, end, depth)
        if more.base:
            return value._replace(complete=False)
        value = Value(value.text + more.text, more.complete, value.base)
    return value if at >= end else value._replace(complete=False)


def _operand(ahead: list[Token], at: int, end: int, depth: int) -> tuple[Value, int]:
    """The value of one operand, and the index after it."""
    if at >= end or depth > MAX_DEPTH:
        return UNKNOWN, at + 1
    token = ahead[at]
    words = [token.value for token in ahead[at : min(at + 5, end)]]
    if token.type is TokenType.STRING:
        return Value(token.value), at + 1
    if token.type is TokenType.TEMPLATE_HEAD:
        return _template(ahead, at, end)
    if token.value == "__dirname" or words[:4] == ["import", ".", "meta", ".", "dirname"]:
        return Value("", base="file"), at + (1 if token.value == "__dirname" else 5)
    if words == ["process", ".", "cwd", "(", ")"]:
        return Value("", base="cwd"), at + 5
    if words[:3] == ["new", "URL", "("]:
        second = expression_end(ahead, at + 3)
        base_argument = [token.value for token in ahead[second : second + 7]]
        value = value_at(ahead, at + 3, depth + 1)
        if base_argument != [",", "import", ".", "meta", ".", "url", ")"]:
            return UNKNOWN, end
        at = second + 7
        if [token.value for token in ahead[at : at + 2]] in ([".", "pathname"], [".", "href"]):
            at += 2
        return value._replace(base="file"), at
    for skip in (0, 2):  # join(…), path.join(…)
        if len(words) > skip + 1 and words[skip + 1] == "(" and (skip == 0 or words[1] == "."):
            if words[skip] in PATH_JOINS:
                return _joined_path(ahead, at + skip + 2, depth)
            if words[skip] in _CONVERSIONS:
                inner_end = expression_end(ahead, at + skip + 2)
                return value_at(ahead, at + skip + 2, depth + 1), inner_end + 1
    return UNKNOWN, at + 1


def _joined_path(ahead: list[Token], at: int, depth: int) -> tuple[Value, int]:
    """The path that path.join or path.resolve make of the arguments at `at`, and the index after the call."""
    value = Value("")
    while at < len(ahead) and ahead[at].value != ")":
        part = value_at(ahead, at, depth + 1)
        at = expression_end(ahead, at)
        if value.complete:
            text = f"{value.text}/{part.text}" if value.text else part.text
            value = Value(text, part.complete, value.base or part.base)
        if at < len(ahead) and ahead[at].value == ",":
            at += 1
        elif at < len(ahead) and ahead[at].value != ")":
            break
    return value, at + 1


def _template(ahead: list[Token], at: int, end: int) -> tuple[Value, int]:
    """The value of a template, and the index after it: `${__dirname}/a` and `${process.cwd()}/a` are paths, of
    others the beginning is known."""
    head = ahead[at].value
    tail = next((index for index in range(at, end) if ahead[index].type is TokenType.TEMPLATE_TAIL), end)
    value = Value(head)
    for index in range(at + 1, tail + 1):
        if index >= end or not value.complete:
            break
        token = ahead[index]
        if token.type in (TokenType.TEMPLATE_MIDDLE, TokenType.TEMPLATE_TAIL):
            value = value._replace(text=value.text + token.value)
        elif token.value == "__dirname" and value.text == "":
            value = value._replace(base="file")
        else:
            value = value._replace(complete=False)
    return value, tail + 1
