"""What is known of a JavaScript expression without running it: literals, their sums, templates, and the calls
that make paths of literals (path.join, path.resolve, new URL(…, import.meta.url), fileURLToPath, process.cwd).

Source: nodejs.org/api path.html, url.html, esm.html#importmeta.
"""

from typing import NamedTuple

from slimtrace.facts.sources.javascript.tokens import Sort, Token

JOINS = frozenset(("join", "resolve"))
_WRAPS = frozenset(("fileURLToPath", "pathToFileURL", "String"))
MAX_DEPTH = 8  # of calls within an argument
OPENING, CLOSING, STOPPING = frozenset("([{"), frozenset(")]}"), frozenset(",;")


class Value(NamedTuple):
    """What is known of an expression: its `text`, or with `whole` False the beginning of it. `base` is "" for
    the text itself, "file" or "cwd" for a path below the file's own or the working directory."""

    text: str
    whole: bool = True
    base: str = ""


UNKNOWN = Value("", whole=False)


def argument(ahead: list[Token]) -> Value:
    """The first argument of the call whose bracket is the first token."""
    return value_at(ahead, 1) if ahead and ahead[0].value == "(" else UNKNOWN


def end_of(ahead: list[Token], at: int) -> int:
    """Where the expression that begins at `at` ends: at a comma or the bracket that closes what holds it."""
    depth = 0
    for here in range(at, len(ahead)):
        token = ahead[here]
        if token.sort is Sort.MARK:
            if token.value in OPENING:
                depth += 1
            elif token.value in CLOSING:
                if depth == 0:
                    return here
                depth -= 1
            elif token.value in STOPPING and depth == 0:
                return here
    return len(ahead)


def value_at(ahead: list[Token], at: int, depth: int = 0) -> Value:
    """What is known of the expression at `at`: literals, their sums, templates, and the calls that make paths
    of literals."""
    end = end_of(ahead, at)
    value, at = _operand(ahead, at, end, depth)
    while at < end and value.whole and ahead[at].value == "+":
        more, at = _operand(ahead, at + 1, end, depth)
        if more.base:
            return value._replace(whole=False)
        value = Value(value.text + more.text, more.whole, value.base)
    return value if at >= end else value._replace(whole=False)


def _operand(ahead: list[Token], at: int, end: int, depth: int) -> tuple[Value, int]:
    """One operand, and where it ends."""
    if at >= end or depth > MAX_DEPTH:
        return UNKNOWN, at + 1
    token = ahead[at]
    words = [token.value for token in ahead[at : min(at + 5, end)]]
    if token.sort is Sort.STRING:
        return Value(token.value), at + 1
    if token.sort is Sort.HEAD:
        return _template(ahead, at, end)
    if token.value == "__dirname" or words[:4] == ["import", ".", "meta", ".", "dirname"]:
        return Value("", base="file"), at + (1 if token.value == "__dirname" else 5)
    if words == ["process", ".", "cwd", "(", ")"]:
        return Value("", base="cwd"), at + 5
    if words[:3] == ["new", "URL", "("]:
        second = end_of(ahead, at + 3)
        behind = [token.value for token in ahead[second : second + 7]]
        value = value_at(ahead, at + 3, depth + 1)
        if behind != [",", "import", ".", "meta", ".", "url", ")"]:
            return UNKNOWN, end
        at = second + 7
        if [token.value for token in ahead[at : at + 2]] in ([".", "pathname"], [".", "href"]):
            at += 2
        return value._replace(base="file"), at
    for skip in (0, 2):  # join(…), path.join(…)
        if len(words) > skip + 1 and words[skip + 1] == "(" and (skip == 0 or words[1] == "."):
            if words[skip] in JOINS:
                return _joined(ahead, at + skip + 2, depth)
            if words[skip] in _WRAPS:
                inner = end_of(ahead, at + skip + 2)
                return value_at(ahead, at + skip + 2, depth + 1), inner + 1
    return UNKNOWN, at + 1


def _joined(ahead: list[Token], at: int, depth: int) -> tuple[Value, int]:
    """The arguments of path.join or path.resolve from `at` on."""
    value = Value("")
    while at < len(ahead) and ahead[at].value != ")":
        part = value_at(ahead, at, depth + 1)
        at = end_of(ahead, at)
        if value.whole:
            text = f"{value.text}/{part.text}" if value.text else part.text
            value = Value(text, part.whole, value.base or part.base)
        if at < len(ahead) and ahead[at].value == ",":
            at += 1
        elif at < len(ahead) and ahead[at].value != ")":
            break
    return value, at + 1


def _template(ahead: list[Token], at: int, end: int) -> tuple[Value, int]:
    """A template: `${__dirname}/a` and `${process.cwd()}/a` are paths, of others the beginning is known."""
    head = ahead[at].value
    stop = next((here for here in range(at, end) if ahead[here].sort is Sort.TAIL), end)
    value = Value(head)
    for here in range(at + 1, stop + 1):
        if here >= end or not value.whole:
            break
        token = ahead[here]
        if token.sort in (Sort.MIDDLE, Sort.TAIL):
            value = value._replace(text=value.text + token.value)
        elif token.value == "__dirname" and value.text == "":
            value = value._replace(base="file")
        else:
            value = value._replace(whole=False)
    return value, stop + 1
