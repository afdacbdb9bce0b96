"""The grammar of shell scripts, as far as finding the commands needs it (POSIX XCU 2, "Shell Command
Language", with bash's additions: ``[[``, arrays, ``$'…'``, ``<(…)``, ``<<<``, ``function``).

No parser is complete for every shell. This one never fails: it skips what makes no sense."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from slimtrace.facts.sources.shell.words import PLAIN, Frame, Kind, Word, WordReader


@dataclass(frozen=True, slots=True)
class Command:
    """A simple command: its words, with the assignments before it and without redirections."""

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
class HereDocument:
    """The body of a here-document whose delimiter is not quoted (it is expanded), and the line it begins at."""

    text: str
    line: int


Item = Command | Redirect | Function | HereDocument

# Reserved words that are not part of a command (XCU 2.4; bash: time, coproc).
_RESERVED = frozenset(
    ["if", "then", "elif", "else", "fi", "while", "until", "do", "done", "!", "{", "}", "time", "coproc"]
)
_IN_CONDITION = re.compile(r"[^\s\\'\"`$]+")
_REDIRECTION = re.compile(r"<<<|<<-?|<>|<&|>&|>>|>\||<|>")
_DELIMITER = re.compile(r"[ \t]*((?:[^\s\\'\";&|()<>]|\\.|'[^'\n]*'|\"[^\"\n]*\")+)")
_FUNCTION = re.compile(r"\([ \t]*\)")
_NUMBER = re.compile(r"\d+|\{\w+\}")
_ASSIGNMENT = re.compile(r"\w+\+?=")


class Scanner(WordReader):
    """One pass over a script, or with `body` over that of a here-document, read as in double quotes."""

    def __init__(self, text: str, line: int = 1, body: bool = False) -> None:
        super().__init__(text, line)
        self._body = body
        if body:
            self._push(Kind.QUOTES, "\0", 0)
        self._pending_documents: list[tuple[str, bool, bool]] = []  # delimiter, strip tabs, expand
        self._items: list[Item] = []

    def items(self) -> Iterator[Item]:
        """All items of the text, in the order of their ends."""
        size = len(self._text)
        read = {
            Kind.LIST: self._read_list,
            Kind.QUOTES: self._read_quotes,
            Kind.BRACES: self._read_braces,
            Kind.ARITHMETIC: self._read_arithmetic,
            Kind.WORDS: self._read_words,
        }
        while self._at < size:
            before = self._at, len(self._stack)
            read[self._stack[-1].kind](self._stack[-1])
            if (self._at, len(self._stack)) == before:  # always go on
                self._at += 1
            yield from self._items
            self._items.clear()
        while self._stack:
            frame = self._stack.pop()
            if frame.kind is Kind.LIST and (self._stack or not self._body):
                self._end_command(frame)
        yield from self._items

    def _read_list(self, frame: Frame) -> None:
        if frame.condition and frame.parts is None and self._text.startswith("]]", self._at):
            self._at += 2
            frame.condition = False
            return
        if self._take_match(_IN_CONDITION if frame.condition else PLAIN):
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
            self._read_parenthesis(frame)
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

    def _read_operator(self, frame: Frame) -> None:
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

    def _read_parenthesis(self, frame: Frame) -> None:
        if frame.cases and frame.cases[-1] == "pattern" and frame.parts is None:
            self._at += 1  # (pattern)
            return
        defined = _FUNCTION.match(self._text, self._at)
        if defined and (frame.parts is not None) + len(frame.words) == 1:
            self._end_word(frame)
            if frame.words:
                self._items.append(Function(frame.words[0].text))
                frame.words.clear()
            self._at = defined.end()
        elif frame.parts is not None:  # NAME=(…), or a pattern such as @(…)
            self._push(Kind.WORDS, ")", 1)
        elif self._text.startswith("((", self._at) and (not frame.words or self._is_for_loop(frame)):
            self._push(Kind.ARITHMETIC, "))", 2)
        else:
            self._push(Kind.LIST, ")", 1)

    @staticmethod
    def _is_for_loop(frame: Frame) -> bool:
        return bool(frame.words) and frame.words[0].text == "for" and not frame.words[0].quoted

    def _read_redirection(self, frame: Frame) -> None:
        if self._text.startswith(("<(", ">("), self._at):
            self._add("$(…)", computed=True)
            self._push(Kind.LIST, ")", 2)
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
            self._pending_documents.append((plain, operator == "<<-", plain == delimiter[1]))

    def _read_documents(self) -> None:
        for delimiter, strip_tabs, expanded in self._pending_documents:
            begin = at = self._at
            end = size = len(self._text)
            while at < size:
                stop = self._text.find("\n", at)
                stop = size if stop < 0 else stop
                line = self._text[at:stop]
                if (line.lstrip("\t") if strip_tabs else line) == delimiter:
                    end = at
                    break
                at = stop + 1
            self._at = min(end + len(delimiter), size) if end < size else size
            if end < size:
                stop = self._text.find("\n", end)
                self._at = size if stop < 0 else stop + 1
            if expanded:
                self._items.append(HereDocument(self._text[begin:end], self._line(begin)))
        self._pending_documents.clear()

    def _end_word(self, frame: Frame) -> None:
        if frame.parts is None:
            return
        word = Word("".join(frame.parts), self._line(frame.start), frame.computed, frame.quoted)
        frame.parts = None
        if frame.redirect:
            if frame.redirect != "<<<":
                self._items.append(Redirect(frame.redirect, word))
            frame.redirect = ""
        elif not self._is_reserved_word(frame, word):
            frame.words.append(word)

    def _is_reserved_word(self, frame: Frame, word: Word) -> bool:
        """Whether `word` is part of the grammar (a reserved word, a pattern of a case…), not of a command."""
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
            self._items.append(Function(word.text))
            follows = _FUNCTION.match(self._text, self._at)
            self._at = follows.end() if follows else self._at
            return True
        if frame.condition:
            return False
        if frame.words:
            # "for NAME do"
            ends = text == "do" and len(frame.words) == 2 and self._is_for_loop(frame)
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

    def _end_command(self, frame: Frame) -> None:
        self._end_word(frame)
        frame.redirect = ""
        frame.condition = False
        words, frame.words = frame.words, []
        if words and (words[0].text not in ("for", "select") or words[0].quoted):
            self._items.append(Command(tuple(words)))


def starts_with_assignment(text: str) -> bool:
    """Whether a word that is not quoted before its ``=`` assigns: ``NAME=…`` or ``NAME+=…``."""
    return bool(_ASSIGNMENT.match(text)) and not text[0].isdigit()
