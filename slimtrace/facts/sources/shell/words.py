"""The words of shell scripts: quotes, expansions, substitutions (POSIX XCU 2.2 "Quoting", 2.6 "Word
Expansions"; bash(1): ``$'…'``, arrays). syntax.py makes commands of the words.

Open quotes and brackets are on a list, not on Python's own stack, and each character is read at most a few
times.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from enum import Enum

MAX_DEPTH = 200  # open brackets and quotes at a time; deeper ones are not opened

PLAIN = re.compile(r"[^\s\\'\"`$;&|()<>#]+")
_IN_QUOTES = re.compile(r"[^\"\\$`]+")
_IN_BRACES = re.compile(r"[^}\"'\\$`]+")
_IN_ARITHMETIC = re.compile(r"[^()\\$`]+")
_EXPANSION = re.compile(r"\$(?:\w+|[@*#?$!-])")
_ANSI_STRING = re.compile(r"\$'(?:[^'\\]|\\.)*+'?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Word:
    """One word, without its quotes. Expansions stay as they are written (``$NAME``, ``${NAME:-x}``), but for
    command substitutions, which are ``$(…)``; a word with an expansion is `computed`. `line` counts from 1."""

    text: str
    line: int
    computed: bool = False
    quoted: bool = False


class Kind(Enum):
    """What a frame holds."""

    LIST = 1  # commands, up to `close`
    QUOTES = 2  # "…"
    BRACES = 3  # ${…}
    ARITHMETIC = 4  # ((…)) and $((…))
    WORDS = 5  # an array's words, or a pattern's alternatives: no commands


@dataclass(slots=True)
class Frame:
    """One level of nesting. `words` are those of the command that is being read."""

    kind: Kind
    close: str = ""
    words: list[Word] = field(default_factory=list)
    parts: list[str] | None = None  # of the word that is being read
    computed: bool = False
    quoted: bool = False
    start: int = 0
    redirect: str = ""
    cases: list[str] = field(default_factory=list)  # for each open `case`: what comes next in it
    naming: bool = False  # after `function`
    condition: bool = False  # between [[ and ]]
    depth: int = 0  # open parentheses in an arithmetic expression
    owner: "Frame | None" = None  # the frame whose word these quotes or braces belong to; None if it has words
    level: int = 0  # the index on the stack of the nearest LIST frame: this one, or one around it


class WordReader:
    """One pass over a text. This class reads the inside of words, its subclass the commands."""

    def __init__(self, text: str, line: int) -> None:
        self._text = text
        self._first_line = line
        self._at = 0
        self._lines = [match.start() for match in re.finditer("\n", text)]
        self._stack = [Frame(Kind.LIST)]

    def _end_command(self, frame: Frame) -> None:
        raise NotImplementedError

    def _line(self, at: int) -> int:
        return self._first_line + bisect_right(self._lines, at - 1)

    def _push(self, kind: Kind, close: str, width: int) -> None:
        self._at += width
        if len(self._stack) < MAX_DEPTH:
            above = self._stack[-1]
            owner = None if kind in (Kind.LIST, Kind.WORDS) else above.owner or above
            level = len(self._stack) if kind is Kind.LIST else above.level
            self._stack.append(Frame(kind, close, owner=owner, level=level))

    def _add(self, text: str, computed: bool = False, quoted: bool = False) -> None:
        frame = self._stack[-1].owner or self._stack[-1]
        if frame.parts is None:
            frame.parts, frame.computed, frame.quoted, frame.start = [], False, False, self._at
        frame.parts.append(text)
        frame.computed = frame.computed or computed
        frame.quoted = frame.quoted or quoted

    def _take_match(self, pattern: re.Pattern[str]) -> bool:
        """Append what `pattern` matches here to the word; False if it does not match."""
        if found := pattern.match(self._text, self._at):
            self._add(found[0])
            self._at = found.end()
        return bool(found)

    def _read_quoting(self, frame: Frame) -> None:
        """Read a quote, a backslash or an expansion in a word."""
        char = self._text[self._at]
        if char == "'":
            end = self._text.find("'", self._at + 1)
            end = len(self._text) if end < 0 else end
            self._add(self._text[self._at + 1 : end], quoted=True)
            self._at = end + 1
        elif char == '"':
            self._add("", quoted=True)
            self._push(Kind.QUOTES, '"', 1)
        elif char == "\\":
            self._read_backslash(frame)
        elif char == "`":
            self._read_backquote(frame, "`")
        elif char == "$":
            self._read_dollar(frame)

    def _read_backslash(self, frame: Frame) -> None:
        if self._text.startswith("\\`", self._at) and any(
            frame_above.close == "`" for frame_above in self._stack[-8:]
        ):
            self._read_backquote(frame, "\\`")
            return
        escaped = self._text[self._at + 1 : self._at + 2]
        if escaped != "\n":
            self._add(escaped, quoted=True)
        self._at += 2

    def _read_backquote(self, frame: Frame, mark: str) -> None:
        command_level = frame.level
        if self._stack[command_level].close == mark:  # what is still open inside ends here too
            self._end_command(self._stack[command_level])
            del self._stack[command_level:]
            self._at += len(mark)
        else:
            self._add("$(…)", computed=True)
            self._push(Kind.LIST, mark, len(mark))

    def _read_dollar(self, frame: Frame) -> None:
        text, at = self._text, self._at
        if text.startswith("$((", at):
            self._add("$(…)", computed=True)
            self._push(Kind.ARITHMETIC, "))", 3)
        elif text.startswith("$(", at):
            self._add("$(…)", computed=True)
            self._push(Kind.LIST, ")", 2)
        elif text.startswith("${", at):
            self._add("${", computed=True)
            self._push(Kind.BRACES, "}", 2)
        elif frame.kind is not Kind.QUOTES and (string := _ANSI_STRING.match(text, at)):
            self._add(string[0][2:].removesuffix("'"), quoted=True)
            self._at = string.end()
        elif found := _EXPANSION.match(text, at):
            self._add(found[0], computed=True)
            self._at = found.end()
        else:
            self._add("$")
            self._at += 1

    def _read_quotes(self, frame: Frame) -> None:
        if self._take_match(_IN_QUOTES):
            return
        if self._text[self._at] != '"':
            self._read_quoting(frame)
        elif frame.close == '"':
            self._at += 1
            self._stack.pop()
        else:  # in a here-document a double quote is an ordinary character
            self._at += 1

    def _read_braces(self, frame: Frame) -> None:
        if self._take_match(_IN_BRACES):
            return
        char = self._text[self._at]
        if char == "}":
            self._add(char)
            self._at += 1
            self._stack.pop()
        elif char == "'" and any(frame_above.kind is Kind.QUOTES for frame_above in self._stack[-4:]):
            self._add(char)
            self._at += 1
        else:
            self._read_quoting(frame)

    def _read_arithmetic(self, frame: Frame) -> None:
        if found := _IN_ARITHMETIC.match(self._text, self._at):
            self._at = found.end()
            return
        char = self._text[self._at]
        if char in "()":
            frame.depth += 1 if char == "(" else -1
            self._at += 1
            if frame.depth < 0:
                self._at += self._text.startswith(")", self._at)
                self._stack.pop()
        else:
            self._read_quoting(frame)

    def _read_words(self, frame: Frame) -> None:
        if self._take_match(PLAIN):
            return
        char = self._text[self._at]
        if char == ")":
            self._at += 1
            self._stack.pop()
        elif char == "(":
            self._push(Kind.WORDS, ")", 1)
        elif char in "'\"\\`$":
            self._read_quoting(frame)
        elif char == "#" and frame.parts is None:
            end = self._text.find("\n", self._at)
            self._at = len(self._text) if end < 0 else end
        else:
            self._at += 1
            frame.parts = None
