"""What a JavaScript file names: CommonJS and ECMAScript modules, and files beside them.

Kinds of mentions:

    require   a module specifier by CommonJS's rules: require("x"), require.resolve("x"), a view engine's name
    import    one by ECMAScript's: import … from "x", export … from "x", import("x"), import.meta.resolve("x")
    among     the beginning of a specifier whose end is computed: require("./locale/" + name)
    path      a file or directory relative to the file's own: path.join(__dirname, "a"), new URL("a",
              import.meta.url); one that ends in a slash is the known part of a computed path
    cwd       one relative to the working directory: path.resolve("a"), express.static("public"),
              fs.readFile("a"); sendFile and Worker take it in more than one way

Sources: nodejs.org/api modules.html, esm.html, fs.html, worker_threads.html; expressjs.com/en/4x/api.html.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, NamedTuple

from slimtrace.facts import paths
from slimtrace.facts.mentions import Mention
from slimtrace.facts.sources import SOURCE_LIMIT
from slimtrace.facts.sources.javascript_tokens import Sort, Token, tokens

AHEAD, AHEAD_TOKENS = 2048, 64  # characters and tokens of an expression that are looked at
MAX_LOOKS = 30_000  # calls of one file that are looked at; a bundle of SOURCE_LIMIT bytes has a tenth of them
MAX_DEPTH = 8  # of calls within an argument
MAX_TEXT = 120  # characters of a computed expression that are told
_TELLING = (b"require", b"import", b"export", b"__dirname", b"cwd", b"static", b"File", b"Stream", b"fork")
_REQUIRES = frozenset(("require", "__require", "__non_webpack_require__"))
# Functions whose first argument is a file's name.
_OPENERS = "readFile readFileSync createReadStream sendFile download open openSync readdir readdirSync fork"
_OPENS = frozenset(_OPENERS.split())
_CALLS = frozenset((("Worker", "new"), ("static", ".")))
_JOINS = frozenset(("join", "resolve"))
_WRAPS = frozenset(("fileURLToPath", "pathToFileURL", "String"))
_OPENING, _CLOSING, _STOPPING = frozenset("([{"), frozenset(")]}"), frozenset(",;")
_CALLED = re.compile(r"\s*+(?:\(|\.)")
_OF_DECLARATIONS = frozenset((",", "{", "}", "*"))


class Value(NamedTuple):
    """What is known of an expression: its `text`, or with `whole` False the beginning of it. `base` is "" for
    the text itself, "file" or "cwd" for a path below the file's own or the working directory."""

    text: str
    whole: bool = True
    base: str = ""


_UNKNOWN = Value("", whole=False)


def mentions(stream: BinaryIO) -> tuple[Mention, ...]:
    """The mentions of a file, in the order of their lines. Raises OSError alone."""
    data = stream.read(SOURCE_LIMIT)
    if not any(word in data for word in _TELLING):
        return ()
    text = paths.decode(data)
    lines = [at for at, char in enumerate(text) if char == "\n"]
    found = (
        Mention(kind, name, bisect_right(lines, at) + 1, computed=computed)
        for kind, name, at, computed in _Reading(text).found()
        if name
    )
    return tuple(dict.fromkeys(found))


_Found = tuple[str, str, int, bool]  # kind, name, offset, computed


class _Reading:
    """One pass over a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._looks = 0
        self._passed = 0  # what begins before it was part of a require's argument

    def found(self) -> Iterator[_Found]:
        declaring = False  # between an import or export and its from
        before = last = Token(Sort.MARK, "", 0, 0)
        for token in tokens(self._text):
            sort, value, start, end = token
            if sort is Sort.NAME:
                if value in ("import", "export") and last.value != ".":
                    declaring = True
                    if value == "import" and _CALLED.match(self._text, end):
                        yield from self._import(start, end)
                elif start >= self._passed:
                    yield from self._name(value, start, end, last, before)
            elif sort is Sort.STRING and declaring and last.value in ("from", "import"):
                yield "import", value, start, False
                declaring = False
            elif declaring and not (sort is Sort.STRING or value in _OF_DECLARATIONS):
                declaring = False
            elif sort is Sort.HEAD and value == "" and start >= self._passed:
                yield from self._path(_value(self._ahead(start), 0), start)
            before, last = last, token

    def _name(self, name: str, start: int, end: int, last: Token, before: Token) -> Iterator[_Found]:
        if name != "__dirname" and not _CALLED.match(self._text, end):
            return
        called = last.value == "."
        if name in _REQUIRES:
            if not (called and before.value != "module") and last.value != "function":
                yield from self._require(start, end)
        elif name in _JOINS:
            yield from self._path(self._join(name, start, called and before.value == "path"), start)
        elif name == "__dirname":
            yield from self._path(_value(self._ahead(start), 0), start)
        elif name == "URL" and last.value == "new":
            yield from self._path(_value(self._ahead(last.start), 0), start)
        elif name in _OPENS or (name, last.value) in _CALLS:
            yield from self._cwd(_argument(self._ahead(end)), start)
        elif name == "set" and called:
            yield from self._setting(start, end)

    def _ahead(self, at: int) -> list[Token]:
        """The tokens of the expression or call that begins at `at`, as far as it is looked at."""
        self._looks += 1
        found: list[Token] = []
        depth = 0
        text = self._text[at : at + AHEAD] if self._looks <= MAX_LOOKS else ""
        for token in islice(tokens(text), AHEAD_TOKENS):
            found.append(token._replace(start=token.start + at, end=token.end + at))
            if token.sort is Sort.MARK:
                closed = token.value in _CLOSING
                depth += (token.value in _OPENING) - closed
                if depth < 0 or (depth == 0 and (closed or token.value in _STOPPING)):
                    break
        return found

    def _import(self, start: int, end: int) -> Iterator[_Found]:
        ahead = self._ahead(end)
        words = [token.value for token in ahead[:5]]
        if words[:1] == ["("]:
            yield from self._module("import", ahead, start)
        elif words[:4] == [".", "meta", ".", "resolve"]:
            yield from self._module("import", ahead[4:], start)

    def _require(self, start: int, end: int) -> Iterator[_Found]:
        ahead = self._ahead(end)
        words = [token.value for token in ahead[:2]]
        if words == [".", "resolve"]:
            ahead = ahead[2:]
        if ahead and ahead[0].value == "(" and ahead[0].sort is Sort.MARK:
            yield from self._module("require", ahead, start)

    def _module(self, kind: str, ahead: list[Token], start: int) -> Iterator[_Found]:
        """What the first argument of a require or import(), its bracket first in `ahead`, names."""
        if not ahead or ahead[0].value != "(":
            return
        stop = _end(ahead, 1)
        if stop == 1:
            return
        value = _value(ahead, 1)
        last = ahead[stop - 1]
        self._passed = max(self._passed, last.end)
        spelled = {"file": "./", "cwd": ""}.get(value.base, "") + value.text
        if value.whole and value.base == "cwd":
            yield "cwd", spelled, start, False
        elif value.whole:
            yield kind, spelled, start, False
        else:
            source = " ".join(self._text[ahead[1].start : last.end].split())
            yield kind, source[:MAX_TEXT], start, True
            directory = spelled[: spelled.rfind("/") + 1]
            if directory and value.base != "cwd":
                yield "among", directory, start, False

    def _join(self, name: str, start: int, of_path: bool) -> Value:
        value = _value(self._ahead(start), 0)
        if value.base or not of_path or name != "resolve":
            return value
        return value._replace(base="cwd")

    def _path(self, value: Value, start: int) -> Iterator[_Found]:
        text = value.text if value.whole else value.text[: value.text.rfind("/") + 1]
        if text.strip("/.") and value.base:
            yield ("path" if value.base == "file" else "cwd"), text.lstrip("/"), start, False

    def _cwd(self, value: Value, start: int) -> Iterator[_Found]:
        if value.whole and not value.base and value.text:
            yield "cwd", value.text, start, False

    def _setting(self, start: int, end: int) -> Iterator[_Found]:
        """Express: set("view engine", "pug") requires it when a view is rendered, from views by default."""
        ahead = self._ahead(end)
        if len(ahead) < 4 or ahead[0].value != "(" or ahead[1].sort is not Sort.STRING or ahead[2].value != ",":
            return
        value = _value(ahead, 3)
        if ahead[1].value == "views":
            yield from self._cwd(value, start)
        elif ahead[1].value == "view engine" and value.whole:
            yield "require", value.text, start, False
            yield "cwd", "views", start, False


def _argument(ahead: list[Token]) -> Value:
    """The first argument of the call whose bracket is the first token."""
    return _value(ahead, 1) if ahead and ahead[0].value == "(" else _UNKNOWN


def _end(ahead: list[Token], at: int) -> int:
    """Where the expression that begins at `at` ends: at a comma or the bracket that closes what holds it."""
    depth = 0
    for here in range(at, len(ahead)):
        token = ahead[here]
        if token.sort is Sort.MARK:
            if token.value in _OPENING:
                depth += 1
            elif token.value in _CLOSING:
                if depth == 0:
                    return here
                depth -= 1
            elif token.value in _STOPPING and depth == 0:
                return here
    return len(ahead)


def _value(ahead: list[Token], at: int, depth: int = 0) -> Value:
    """What is known of the expression at `at`: literals, their sums, templates, and the calls that make paths
    of literals."""
    end = _end(ahead, at)
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
        return _UNKNOWN, at + 1
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
        second = _end(ahead, at + 3)
        behind = [token.value for token in ahead[second : second + 7]]
        value = _value(ahead, at + 3, depth + 1)
        if behind != [",", "import", ".", "meta", ".", "url", ")"]:
            return _UNKNOWN, end
        at = second + 7
        if [token.value for token in ahead[at : at + 2]] in ([".", "pathname"], [".", "href"]):
            at += 2
        return value._replace(base="file"), at
    for skip in (0, 2):  # join(…), path.join(…)
        if len(words) > skip + 1 and words[skip + 1] == "(" and (skip == 0 or words[1] == "."):
            if words[skip] in _JOINS:
                return _joined(ahead, at + skip + 2, depth)
            if words[skip] in _WRAPS:
                inner = _end(ahead, at + skip + 2)
                return _value(ahead, at + skip + 2, depth + 1), inner + 1
    return _UNKNOWN, at + 1


def _joined(ahead: list[Token], at: int, depth: int) -> tuple[Value, int]:
    """The arguments of path.join or path.resolve from `at` on."""
    value = Value("")
    while at < len(ahead) and ahead[at].value != ")":
        part = _value(ahead, at, depth + 1)
        at = _end(ahead, at)
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
