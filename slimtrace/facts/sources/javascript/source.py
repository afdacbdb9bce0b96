"""What a JavaScript file names: CommonJS and ECMAScript modules, and files beside them.

Kinds of mentions:

    require   a module specifier for CommonJS: require("x"), require.resolve("x"), the name of a view engine
    import    a module specifier for ECMAScript: import … from "x", export … from "x", import("x"),
              import.meta.resolve("x")
    among     the beginning of a specifier whose end is computed: require("./locale/" + name)
    path      a file or directory, relative to the directory of the source: path.join(__dirname, "a"),
              new URL("a", import.meta.url); one that ends in a slash is the known part of a computed path
    cwd       a file or directory, relative to the working directory: path.resolve("a"),
              express.static("public"), fs.readFile("a"); sendFile and Worker may resolve it in other ways

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
    CLOSING_BRACKETS,
    OPENING_BRACKETS,
    PATH_JOINS,
    SEPARATORS,
    Value,
    expression_end,
    first_argument,
    value_at,
)
from slimtrace.facts.sources.javascript.tokens import Token, TokenType, tokens

MAX_AHEAD, MAX_AHEAD_TOKENS = 2048, 64  # characters and tokens of one expression that are read
# Expressions of one file that are read; a bundle of SOURCE_LIMIT bytes has a tenth of them.
MAX_LOOKAHEADS = 30_000

MAX_TEXT = 120  # characters of a computed expression that a mention has
# A source without any of these words has no mentions.
_MARKER_WORDS = b"require import export __dirname cwd path. static File Stream fork readdir Worker view"
_MARKERS = _MARKER_WORDS.split()
_REQUIRE_FUNCTIONS = frozenset(("require", "__require", "__non_webpack_require__"))
# Functions whose first argument is a file name.
_FILE_FUNCTION_WORDS = (
    "readFile readFileSync createReadStream sendFile download open openSync readdir readdirSync fork"
)
_FILE_FUNCTIONS = frozenset(_FILE_FUNCTION_WORDS.split())
# Calls with a file name as their first argument, by their name and the token before it.
_FILE_CALLS = frozenset((("Worker", "new"), ("static", ".")))


_CALL_OR_MEMBER = re.compile(r"\s*+(?:\(|\.)")
_IN_DECLARATIONS = frozenset((",", "{", "}", "*"))


def mentions(stream: BinaryIO) -> tuple[Mention, ...]:
    """The mentions of the source open as `stream`, in the order of their lines. Raises nothing but OSError."""
    data = stream.read(SOURCE_LIMIT)
    if not any(word in data for word in _MARKERS):
        return ()
    text = paths.decode(data)
    lines = [at for at, char in enumerate(text) if char == "\n"]
    found = (
        Mention(kind, name, bisect_right(lines, at) + 1, computed=computed)
        for kind, name, at, computed in _SourceReader(text).found()
        if name
    )
    return tuple(dict.fromkeys(islice(found, MAX_MENTIONS)))


_RawMention = tuple[str, str, int, bool]  # kind, name, offset, computed


class _SourceReader:
    """One pass over the text of a source."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lookaheads = 0
        self._argument_end = 0  # names before this offset are part of a require's argument that was read

    def found(self) -> Iterator[_RawMention]:
        declaring = False  # between an import or export and its specifier
        second_previous = previous = Token(TokenType.PUNCTUATOR, "", 0, 0)
        for token in tokens(self._text):
            token_type, value, start, end = token
            if token_type is TokenType.NAME:
                if value in ("import", "export") and previous.value != ".":
                    declaring = True
                    if value == "import" and _CALL_OR_MEMBER.match(self._text, end):
                        yield from self._of_import(start, end)
                elif start >= self._argument_end:
                    yield from self._of_name(value, start, end, previous, second_previous)
            elif token_type is TokenType.STRING and declaring and previous.value in ("from", "import"):
                yield "import", value, start, False
                declaring = False
            elif declaring and not (token_type is TokenType.STRING or value in _IN_DECLARATIONS):
                declaring = False
            elif token_type is TokenType.TEMPLATE_HEAD and value == "" and start >= self._argument_end:
                yield from self._of_path(value_at(self._lookahead(start), 0), start)
            second_previous, previous = previous, token

    def _of_name(
        self, name: str, start: int, end: int, previous: Token, second_previous: Token
    ) -> Iterator[_RawMention]:
        if name != "__dirname" and not _CALL_OR_MEMBER.match(self._text, end):
            return
        called = previous.value == "."
        if name in _REQUIRE_FUNCTIONS:
            if not (called and second_previous.value != "module") and previous.value != "function":
                yield from self._of_require(start, end)
        elif name in PATH_JOINS:
            yield from self._of_path(
                self._joined_path(name, start, called and second_previous.value == "path"), start
            )
        elif name == "__dirname":
            yield from self._of_path(value_at(self._lookahead(start), 0), start)
        elif name == "URL" and previous.value == "new":
            yield from self._of_path(value_at(self._lookahead(previous.start), 0), start)
        elif name in _FILE_FUNCTIONS or (name, previous.value) in _FILE_CALLS:
            yield from self._of_file_argument(first_argument(self._lookahead(end)), start)
        elif name == "set" and called:
            yield from self._of_setting(start, end)

    def _lookahead(self, at: int) -> list[Token]:
        """The tokens of the expression or call that begins at `at`, up to the limits."""
        self._lookaheads += 1
        found: list[Token] = []
        depth = 0
        text = self._text[at : at + MAX_AHEAD] if self._lookaheads <= MAX_LOOKAHEADS else ""
        for token in islice(tokens(text), MAX_AHEAD_TOKENS):
            found.append(token._replace(start=token.start + at, end=token.end + at))
            if token.type is TokenType.PUNCTUATOR:
                closed = token.value in CLOSING_BRACKETS
                depth += (token.value in OPENING_BRACKETS) - closed
                if depth < 0 or (depth == 0 and (closed or token.value in SEPARATORS)):
                    break
        return found

    def _of_import(self, start: int, end: int) -> Iterator[_RawMention]:
        ahead = self._lookahead(end)
        words = [token.value for token in ahead[:5]]
        if words[:1] == ["("]:
            yield from self._of_specifier("import", ahead, start)
        elif words[:4] == [".", "meta", ".", "resolve"]:
            yield from self._of_specifier("import", ahead[4:], start)

    def _of_require(self, start: int, end: int) -> Iterator[_RawMention]:
        ahead = self._lookahead(end)
        words = [token.value for token in ahead[:2]]
        if words == [".", "resolve"]:
            ahead = ahead[2:]
        if ahead and ahead[0].value == "(" and ahead[0].type is TokenType.PUNCTUATOR:
            yield from self._of_specifier("require", ahead, start)

    def _of_specifier(self, kind: str, ahead: list[Token], start: int) -> Iterator[_RawMention]:
        """What the first argument of a require or import() names; `ahead` begins with its opening bracket."""
        if not ahead or ahead[0].value != "(":
            return
        stop = expression_end(ahead, 1)
        if stop == 1:
            return
        value = value_at(ahead, 1)
        last = ahead[stop - 1]
        self._argument_end = max(self._argument_end, last.end)
        specifier = {"file": "./", "cwd": ""}.get(value.base, "") + value.text
        if value.complete and value.base == "cwd":
            yield "cwd", specifier, start, False
        elif value.complete:
            yield kind, specifier, start, False
        else:
            source = " ".join(self._text[ahead[1].start : last.end].split())
            yield kind, source[:MAX_TEXT], start, True
            directory = specifier[: specifier.rfind("/") + 1]
            if directory and value.base != "cwd":
                yield "among", directory, start, False

    def _joined_path(self, name: str, start: int, of_path: bool) -> Value:
        value = value_at(self._lookahead(start), 0)
        if value.base or not of_path or name != "resolve":
            return value
        return value._replace(base="cwd")

    def _of_path(self, value: Value, start: int) -> Iterator[_RawMention]:
        text = value.text if value.complete else value.text[: value.text.rfind("/") + 1]
        if text.strip("/.") and value.base:
            yield ("path" if value.base == "file" else "cwd"), text.lstrip("/"), start, False

    def _of_file_argument(self, value: Value, start: int) -> Iterator[_RawMention]:
        if value.complete and not value.base and value.text:
            yield "cwd", value.text, start, False

    def _of_setting(self, start: int, end: int) -> Iterator[_RawMention]:
        """Express: after set("view engine", "pug") rendering a view requires pug, by default from "views"."""
        ahead = self._lookahead(end)
        if (
            len(ahead) < 4
            or ahead[0].value != "("
            or ahead[1].type is not TokenType.STRING
            or ahead[2].value != ","
        ):
            return
        value = value_at(ahead, 3)
        if ahead[1].value == "views":
            yield from self._of_file_argument(value, start)
        elif ahead[1].value == "view engine" and value.complete:
            yield "require", value.text, start, False
            yield "cwd", "views", start, False
