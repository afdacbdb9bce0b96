"""The grammar of shell scripts, as far as it takes to tell commands from the rest (POSIX XCU 2, "Shell Command
Language", with bash's additions: ``[[``, arrays, ``$'…'``, ``<(…)``, ``<<<``, ``function``).

No shell's parser is complete for all of them; this one never fails: what makes no sense it passes over.
Nesting is kept on a list, not on Python's own stack, and no character is looked at more than a few times.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

MAX_DEPTH = 200  # open brackets and quotes at a time; what is nested deeper is passed over


@dataclass(frozen=True, slots=True)
class Word:
    """One word, its quotes removed. Expansions stay as they are written (``$NAME``, ``${NAME:-x}``), but for
    command substitutions, which are ``$(…)``; `computed` tells that there is one. `line` counts from 1."""

    text: str
    line: int
    computed: bool = False
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A simple command: its words (assignments before it among them), without redirections."""

    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirection to a file: ``<``, ``>`` and the like, and the word after it."""

    operator: str
    target: Word


@dataclass(frozen=True, slots=True)
class Function:
    """The name of a function that is defined here."""

    name: str


@dataclass(frozen=True, slots=True)
class Document:
    """The body of a here-document in which expansions take place, and the line at which it begins."""

    text: str
    line: int


Item = Command | Redirect | Function | Document

# Reserved words after which a command begins, or which are none themselves (XCU 2.4; bash: time, coproc).
_RESERVED_WORDS = """
if then elif else fi while until do done ! { } time coproc
"""
_RESERVED = frozenset(_RESERVED_WORDS.split())
_PLAIN = re.compile(r"[^\s\\'\"`$;&|()<>#]+")
_IN_QUOTES = re.compile(r"[^\"\\$`]+")
_IN_BRACES = re.compile(r"[^}\"'\\$`]+")
_IN_ARITHMETIC = re.compile(r"[^()\\$`]+")
_IN_CONDITION = re.compile(r"[^\s\\'\"`$]+")
_EXPANSION = re.compile(r"\$(?:\w+|[@*#?$!-])")
_ANSI_STRING = re.compile(r"\$'(?:[^'\\]|\\.)*+'?", re.DOTALL)
_REDIRECTION = re.compile(r"<<<|<<-?|<>|<&|>&|>>|>\||<|>")
_DELIMITER = re.compile(r"[ \t]*((?:[^\s\\'\";&|()<>]|\\.|'[^'\n]*'|\"[^\"\n]*\")+)")
_FUNCTION = re.compile(r"\([ \t]*\)")
_NUMBER = re.compile(r"\d+|\{\w+\}")
_ASSIGNMENT = re.compile(r"\w+\+?=")


class _Kind(Enum):
    LIST = 1  # commands, until `close`
    QUOTES = 2  # "…"
    BRACES = 3  # ${…}
    ARITHMETIC = 4  # ((…)) and $((…))
    WORDS = 5  # an array's words, or a pattern's alternatives: no commands


@dataclass(slots=True)
class _Frame:
    """One level of nesting. The words are those of the command that is being read."""

    kind: _Kind
    close: str = ""
    words: list[Word] = field(default_factory=list)
    parts: list[str] | None = None  # of the word that is being read
    computed: bool = False
    quoted: bool = False
    start: int = 0
    redirect: str = ""
    cases: list[str] = field(default_factory=list)  # of each open `case`: what is to come next
    naming: bool = False  # after `function`
    condition: bool = False  # between [[ and ]]
    depth: int = 0  # open parentheses in an arithmetic expression
    owner: "_Frame | None" = None  # whose word quotes and braces are a part of; None for a frame of words
    level: int = 0  # where on the stack the commands are in which this stands


class Scanner:
    """One pass over a script, or over the body of a here-document."""

    def __init__(self, text: str, line: int = 1, body: bool = False) -> None:
        self._text = text
        self._first = line
        self._body = body
        self._at = 0
        self._lines = [match.start() for match in re.finditer("\n", text)]
        self._stack = [_Frame(_Kind.LIST)]
        # The body of a here-document is read as what stands between quotes.
        if body:
            self._push(_Kind.QUOTES, "\0", 0)
        self._documents: list[tuple[str, bool, bool]] = []  # delimiter, tabs removed, expanded
        self._found: list[Item] = []

    def items(self) -> Iterator[Item]:
        """Everything that is found, in the order in which it ends."""
        size = len(self._text)
        read = {
            _Kind.LIST: self._read_list,
            _Kind.QUOTES: self._read_quotes,
            _Kind.BRACES: self._read_braces,
            _Kind.ARITHMETIC: self._read_arithmetic,
            _Kind.WORDS: self._read_words,
        }
        while self._at < size:
            before = self._at, len(self._stack)
            read[self._stack[-1].kind](self._stack[-1])
            if (self._at, len(self._stack)) == before:  # never wait on one place
                self._at += 1
            yield from self._found
            self._found.clear()
        while self._stack:
            frame = self._stack.pop()
            if frame.kind is _Kind.LIST and (self._stack or not self._body):
                self._end_command(frame)
        yield from self._found

    def _line(self, at: int) -> int:
        return self._first + bisect_right(self._lines, at - 1)

    def _push(self, kind: _Kind, close: str, width: int) -> None:
        self._at += width
        if len(self._stack) < MAX_DEPTH:
            above = self._stack[-1]
            owner = None if kind in (_Kind.LIST, _Kind.WORDS) else above.owner or above
            level = len(self._stack) if kind is _Kind.LIST else above.level
            self._stack.append(_Frame(kind, close, owner=owner, level=level))

    def _add(self, text: str, computed: bool = False, quoted: bool = False) -> None:
        frame = self._stack[-1].owner or self._stack[-1]
        if frame.parts is None:
            frame.parts, frame.computed, frame.quoted, frame.start = [], False, False, self._at
        frame.parts.append(text)
        frame.computed = frame.computed or computed
        frame.quoted = frame.quoted or quoted

    def _run(self, pattern: re.Pattern[str]) -> bool:
        """Take what `pattern` matches here into the word."""
        if found := pattern.match(self._text, self._at):
            self._add(found[0])
            self._at = found.end()
        return bool(found)

    def _read_list(self, frame: _Frame) -> None:
        if frame.condition and frame.parts is None and self._text.startswith("]]", self._at):
            self._at += 2
            frame.condition = False
            return
        if self._run(_IN_CONDITION if frame.condition else _PLAIN):
            return
        char = self._text[self._at]
        if char in " \t\r\f\v":
            self._at += 1
            self._end_word(frame)
        elif char == "\n":
            self._at += 1
            self._end_word(frame)
            if not frame.condition:
                self._end_command(frame)
            self._read_documents()
        elif char == "#":
            if frame.parts is None:
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            else:
                self._add(char)
                self._at += 1
        elif char in ";&|":
            self._read_operator(frame)
        elif char == "(":
            self._open(frame)
        elif char == ")":
            self._at += 1
            self._end_word(frame)
            self._end_command(frame)
            if frame.cases and frame.cases[-1] == "pattern":
                frame.cases[-1] = "body"
            elif frame.close == ")":
                self._stack.pop()
        elif char in "<>":
            self._read_redirection(frame)
        else:
            self._read_quoting(frame)

    def _read_operator(self, frame: _Frame) -> None:
        if self._text.startswith("&>", self._at):  # bash: both outputs
            self._end_word(frame)
            self._at += 1
            return
        self._end_word(frame)
        self._end_command(frame)
        if self._text.startswith((";;", ";&"), self._at):
            if frame.cases:
                frame.cases[-1] = "pattern"
            self._at += 2
        else:
            self._at += 1

    def _open(self, frame: _Frame) -> None:
        if frame.cases and frame.cases[-1] == "pattern" and frame.parts is None:
            self._at += 1  # (pattern)
            return
        defined = _FUNCTION.match(self._text, self._at)
        if defined and (frame.parts is not None) + len(frame.words) == 1:
            self._end_word(frame)
            if frame.words:
                self._found.append(Function(frame.words[0].text))
                frame.words.clear()
            self._at = defined.end()
        elif frame.parts is not None:  # NAME=(…), or a pattern such as @(…)
            self._push(_Kind.WORDS, ")", 1)
        elif self._text.startswith("((", self._at) and (not frame.words or self._is_for(frame)):
            self._push(_Kind.ARITHMETIC, "))", 2)
        else:
            self._push(_Kind.LIST, ")", 1)

    @staticmethod
    def _is_for(frame: _Frame) -> bool:
        return bool(frame.words) and frame.words[0].text == "for" and not frame.words[0].quoted

    def _read_redirection(self, frame: _Frame) -> None:
        if self._text.startswith(("<(", ">("), self._at):
            self._add("$(…)", computed=True)
            self._push(_Kind.LIST, ")", 2)
            return
        if frame.parts is not None and _NUMBER.fullmatch("".join(frame.parts)):
            frame.parts = None  # the descriptor
        self._end_word(frame)
        found = _REDIRECTION.match(self._text, self._at)
        operator = found[0] if found else ""
        self._at += len(operator)
        if operator not in ("<<", "<<-"):
            frame.redirect = operator
        elif delimiter := _DELIMITER.match(self._text, self._at):
            self._at = delimiter.end()
            plain = re.sub(r"\\(.)|['\"]", r"\1", delimiter[1])
            self._documents.append((plain, operator == "<<-", plain == delimiter[1]))

    def _read_documents(self) -> None:
        for delimiter, tabs, expanded in self._documents:
            begin = at = self._at
            end = size = len(self._text)
            while at < size:
                stop = self._text.find("\n", at)
                stop = size if stop < 0 else stop
                line = self._text[at:stop]
                if (line.lstrip("\t") if tabs else line) == delimiter:
                    end = at
                    break
                at = stop + 1
            self._at = min(end + len(delimiter), size) if end < size else size
            if end < size:
                stop = self._text.find("\n", end)
                self._at = size if stop < 0 else stop + 1
            if expanded:
                self._found.append(Document(self._text[begin:end], self._line(begin)))
        self._documents.clear()

    def _read_quoting(self, frame: _Frame) -> None:
        """A quote, a backslash or an expansion, in a word."""
        char = self._text[self._at]
        if char == "'":
            end = self._text.find("'", self._at + 1)
            end = len(self._text) if end < 0 else end
            self._add(self._text[self._at + 1 : end], quoted=True)
            self._at = end + 1
        elif char == '"':
            self._add("", quoted=True)
            self._push(_Kind.QUOTES, '"', 1)
        elif char == "\\":
            self._read_backslash(frame)
        elif char == "`":
            self._read_backquote(frame, "`")
        elif char == "$":
            self._read_dollar(frame)

    def _read_backslash(self, frame: _Frame) -> None:
        if self._text.startswith("\\`", self._at) and any(one.close == "`" for one in self._stack[-8:]):
            self._read_backquote(frame, "\\`")
            return
        escaped = self._text[self._at + 1 : self._at + 2]
        if escaped != "\n":
            self._add(escaped, quoted=True)
        self._at += 2

    def _read_backquote(self, frame: _Frame, mark: str) -> None:
        around = frame.level
        if self._stack[around].close == mark:  # what is still open inside ends with it
            self._end_word(self._stack[around])
            self._end_command(self._stack[around])
            del self._stack[around:]
            self._at += len(mark)
        else:
            self._add("$(…)", computed=True)
            self._push(_Kind.LIST, mark, len(mark))

    def _read_dollar(self, frame: _Frame) -> None:
        text, at = self._text, self._at
        if text.startswith("$((", at):
            self._add("$(…)", computed=True)
            self._push(_Kind.ARITHMETIC, "))", 3)
        elif text.startswith("$(", at):
            self._add("$(…)", computed=True)
            self._push(_Kind.LIST, ")", 2)
        elif text.startswith("${", at):
            self._add("${", computed=True)
            self._push(_Kind.BRACES, "}", 2)
        elif frame.kind is not _Kind.QUOTES and (string := _ANSI_STRING.match(text, at)):
            self._add(string[0][2:].removesuffix("'"), quoted=True)
            self._at = string.end()
        elif found := _EXPANSION.match(text, at):
            self._add(found[0], computed=True)
            self._at = found.end()
        else:
            self._add("$")
            self._at += 1

    def _read_quotes(self, frame: _Frame) -> None:
        if self._run(_IN_QUOTES):
            return
        if self._text[self._at] != '"':
            self._read_quoting(frame)
        elif frame.close == '"':
            self._at += 1
            self._stack.pop()
        else:  # in a here-document it is a character like any other
            self._at += 1

    def _read_braces(self, frame: _Frame) -> None:
        if self._run(_IN_BRACES):
            return
        char = self._text[self._at]
        if char == "}":
            self._add(char)
            self._at += 1
            self._stack.pop()
        elif char == "'" and any(one.kind is _Kind.QUOTES for one in self._stack[-4:]):
            self._add(char)
            self._at += 1
        else:
            self._read_quoting(frame)

    def _read_arithmetic(self, frame: _Frame) -> None:
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

    def _read_words(self, frame: _Frame) -> None:
        if self._run(_PLAIN):
            return
        char = self._text[self._at]
        if char == ")":
            self._at += 1
            self._stack.pop()
        elif char == "(":
            self._push(_Kind.WORDS, ")", 1)
        elif char in "'\"\\`$":
            self._read_quoting(frame)
        elif char == "#" and frame.parts is None:
            end = self._text.find("\n", self._at)
            self._at = len(self._text) if end < 0 else end
        else:
            self._at += 1
            frame.parts = None

    def _end_word(self, frame: _Frame) -> None:
        if frame.parts is None:
            return
        word = Word("".join(frame.parts), self._line(frame.start), frame.computed, frame.quoted)
        frame.parts = None
        if frame.redirect:
            if frame.redirect != "<<<":
                self._found.append(Redirect(frame.redirect, word))
            frame.redirect = ""
        elif not self._is_grammar(frame, word):
            frame.words.append(word)

    def _is_grammar(self, frame: _Frame, word: Word) -> bool:
        """Whether `word` is no part of a simple command."""
        text = "" if word.quoted or word.computed else word.text
        state = frame.cases[-1] if frame.cases else ""
        if state in ("subject", "in"):
            frame.cases[-1] = "in" if state == "subject" else "pattern"
            return True
        if state == "pattern":
            if text == "esac":
                frame.cases.pop()
            return True
        if frame.naming:
            frame.naming = False
            self._found.append(Function(word.text))
            follows = _FUNCTION.match(self._text, self._at)
            self._at = follows.end() if follows else self._at
            return True
        if frame.condition:
            return False
        if frame.words:
            # "for NAME do"
            ends = text == "do" and len(frame.words) == 2 and self._is_for(frame)
            frame.words = [] if ends else frame.words
            return ends
        if text == "case":
            frame.cases.append("subject")
        elif text == "esac" and frame.cases:
            frame.cases.pop()
        elif text == "function":
            frame.naming = True
        elif text == "[[":
            frame.condition = True
            return False
        return text in _RESERVED or text in ("case", "esac", "function")

    def _end_command(self, frame: _Frame) -> None:
        self._end_word(frame)
        frame.redirect = ""
        frame.condition = False
        words, frame.words = frame.words, []
        if words and (words[0].text not in ("for", "select") or words[0].quoted):
            self._found.append(Command(tuple(words)))


def starts_with_assignment(text: str) -> bool:
    """Whether a word that is not quoted before its ``=`` assigns: ``NAME=…`` or ``NAME+=…``."""
    return bool(_ASSIGNMENT.match(text)) and not text[0].isdigit()
