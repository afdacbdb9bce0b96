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
from typing import BinaryIO

from slimtrace.facts import paths
from slimtrace.facts.mentions import Mention
from slimtrace.facts.sources import MAX_MENTIONS, SOURCE_LIMIT
from slimtrace.facts.sources.javascript.expressions import (
    CLOSING,
    JOINS,
    OPENING,
    STOPPING,
    Value,
    argument,
    end_of,
    value_at,
)
from slimtrace.facts.sources.javascript.tokens import Sort, Token, tokens

AHEAD, AHEAD_TOKENS = 2048, 64  # characters and tokens of an expression that are looked at
MAX_LOOKS = 30_000  # calls of one file that are looked at; a bundle of SOURCE_LIMIT bytes has a tenth of them

MAX_TEXT = 120  # characters of a computed expression that are told
_TELLS = b"require import export __dirname cwd path. static File Stream fork readdir Worker view"
_TELLING = _TELLS.split()
_REQUIRES = frozenset(("require", "__require", "__non_webpack_require__"))
# Functions whose first argument is a file's name.
_OPENERS = "readFile readFileSync createReadStream sendFile download open openSync readdir readdirSync fork"
_OPENS = frozenset(_OPENERS.split())
_CALLS = frozenset((("Worker", "new"), ("static", ".")))


_CALLED = re.compile(r"\s*+(?:\(|\.)")
_OF_DECLARATIONS = frozenset((",", "{", "}", "*"))


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
    return tuple(dict.fromkeys(islice(found, MAX_MENTIONS)))


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
                yield from self._path(value_at(self._ahead(start), 0), start)
            before, last = last, token

    def _name(self, name: str, start: int, end: int, last: Token, before: Token) -> Iterator[_Found]:
        if name != "__dirname" and not _CALLED.match(self._text, end):
            return
        called = last.value == "."
        if name in _REQUIRES:
            if not (called and before.value != "module") and last.value != "function":
                yield from self._require(start, end)
        elif name in JOINS:
            yield from self._path(self._join(name, start, called and before.value == "path"), start)
        elif name == "__dirname":
            yield from self._path(value_at(self._ahead(start), 0), start)
        elif name == "URL" and last.value == "new":
            yield from self._path(value_at(self._ahead(last.start), 0), start)
        elif name in _OPENS or (name, last.value) in _CALLS:
            yield from self._cwd(argument(self._ahead(end)), start)
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
                closed = token.value in CLOSING
                depth += (token.value in OPENING) - closed
                if depth < 0 or (depth == 0 and (closed or token.value in STOPPING)):
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
        stop = end_of(ahead, 1)
        if stop == 1:
            return
        value = value_at(ahead, 1)
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
        value = value_at(self._ahead(start), 0)
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
        value = value_at(ahead, 3)
        if ahead[1].value == "views":
            yield from self._cwd(value, start)
        elif ahead[1].value == "view engine" and value.whole:
            yield "require", value.text, start, False
            yield "cwd", "views", start, False
