"""What a PHP file names: files that it includes, classes, files that it reads.

Kinds of mentions:

    include       include, include_once, require, require_once of a literal, as it is written
    path          a file or directory relative to the file's own: __DIR__ . "/a", dirname(__FILE__) . "/a"; one
                  that ends in a slash is the known part of a computed path
    among         the directory that a computed include begins with, relative to wherever includes are
    file          a file that is read by a literal name: file_get_contents("a"), fopen, readfile…
    include_path  a directory for set_include_path, relative to the file's own
    class         a class by its whole name, as the namespace and the use statements make it

Sources: php.net/manual function.include, language.namespaces.rules, function.set-include-path.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import BinaryIO

from slimtrace.facts import paths
from slimtrace.facts.mentions import Mention
from slimtrace.facts.sources import MAX_MENTIONS, SOURCE_LIMIT
from slimtrace.facts.sources.php.statements import Sort, Token, Value, statements, value_at

MAX_TEXT = 120  # characters of a computed expression that are told
MAX_NAME = 400  # characters of a class's whole name
_INCLUDES = frozenset(("include", "include_once", "require", "require_once"))
_CLASSES = frozenset(("class", "trait", "enum", "interface"))
_BEFORE_OTHERS = frozenset(("->", "function", "const", *_CLASSES))
_BEFORE_CLASSES = frozenset(("new", "extends", "implements", "instanceof"))
_OPENERS = "file_get_contents fopen readfile file parse_ini_file simplexml_load_file is_file file_exists glob"
_OPENS = frozenset(_OPENERS.split())
_CLASS = re.compile(r"\\?[A-Za-z_]\w*+(?:\\[A-Za-z_]\w*+)+")
_Found = tuple[str, str, int, bool]  # kind, name, offset, computed


def mentions(stream: BinaryIO) -> tuple[Mention, ...]:
    """The mentions of a file, in the order of their lines. Raises OSError alone."""
    text = paths.decode(stream.read(SOURCE_LIMIT))
    lines = [match.start() for match in re.finditer("\n", text)]
    found: dict[Mention, None] = {}
    classes: set[str] = set()
    names = _Names()
    for words in statements(text):
        for kind, name, at, computed in _of_statement(words, text, names):
            if not name or (kind == "class" and name in classes):
                continue
            if kind == "class":
                classes.add(name)
            found[Mention(kind, name, bisect_right(lines, at) + 1, computed=computed)] = None
        if len(found) >= MAX_MENTIONS:
            break
    return tuple(found)


class _Names:
    """The namespace, and what the use statements have made of names."""

    def __init__(self) -> None:
        self._namespace = ""
        self._aliases: dict[str, str] = {}
        self.in_class = False  # where use takes in a trait

    def enter(self, namespace: str) -> None:
        self._namespace = namespace[:MAX_NAME]
        self._aliases = {}
        self.in_class = False

    def use(self, words: list[Token]) -> Iterator[str]:
        """The names that a use statement imports, one or a group."""
        prefix = ""
        name = ""
        for at, (sort, word, _) in enumerate(words):
            following = words[at + 1].value if at + 1 < len(words) else ""
            if sort is Sort.NAME and word.lower() not in ("function", "const", "as"):
                if at and words[at - 1].value.lower() == "as":
                    self._aliases[word.lower()] = name
                    continue
                name = (prefix + word).lstrip("\\")[:MAX_NAME]
                if following in ("\\", "{"):
                    continue
                self._aliases.setdefault(name.rpartition("\\")[2].lower(), name)
                yield name
            elif word == "\\":
                prefix = name + "\\"
        if len(self._aliases) > MAX_NAME * 10:
            self._aliases.clear()

    def whole(self, name: str) -> str:
        """A class's whole name."""
        if name.startswith("\\"):
            return name[1:MAX_NAME]
        first, slash, rest = name.partition("\\")
        if first.lower() == "namespace":
            return f"{self._namespace}{slash}{rest}"[:MAX_NAME].lstrip("\\")
        if first.lower() in self._aliases:
            return f"{self._aliases[first.lower()]}{slash}{rest}"[:MAX_NAME]
        return (f"{self._namespace}\\{name}" if self._namespace else name)[:MAX_NAME]


def _of_statement(words: list[Token], text: str, names: _Names) -> Iterator[_Found]:
    if not words:
        return
    first = words[0].value.lower()
    if first == "namespace":
        names.enter(words[1].value.lstrip("\\") if len(words) > 1 else "")
        return
    if first == "use" and not names.in_class:
        yield from (("class", name, words[0].at, False) for name in names.use(words[1:]))
        return
    at = 0
    while at < len(words):
        sort, word, offset = words[at]
        before = words[at - 1].value.lower() if at else ""
        lower = word.lower() if sort is Sort.NAME else ""
        if lower in _CLASSES and before != "::" and at + 1 < len(words) and words[at + 1].sort is Sort.NAME:
            names.in_class = True
        called = at + 1 < len(words) and words[at + 1].value == "("
        if lower in _INCLUDES and before not in ("->", "::", "function"):
            end, value = value_at(words, at + 1)
            yield from _include(value, offset, text)
            # What was understood is told; what was not may hold more.
            at = end if value.whole else at + 1
            continue
        if lower == "set_include_path" and called:
            yield from _include_path(words, at)
        elif lower in ("__dir__", "__file__", "dirname", "realpath"):
            end, value = value_at(words, at)
            yield from _path(value, offset)
            at = max(end, at + 1)
            continue
        elif lower.lstrip("\\") in _OPENS and called and before not in ("->", "::", "function"):
            _, value = value_at(words, at + 2)
            if value.whole and not value.base:
                yield "file", value.text, offset, False
        elif sort is Sort.NAME and before not in _BEFORE_OTHERS and _may_be_class(words, at):
            yield "class", names.whole(word), offset, False
        elif sort is Sort.STRING and "\\" in word and len(word) < MAX_NAME:
            plain = word.replace("\\\\", "\\")
            if _CLASS.fullmatch(plain):
                yield "class", plain.lstrip("\\"), offset, False
        at += 1


def _include(value: Value, offset: int, text: str) -> Iterator[_Found]:
    if value.whole:
        yield (
            ("path" if value.base else "include"),
            value.text.lstrip("/") if value.base else value.text,
            offset,
            False,
        )
        return
    expression = text[offset : offset + MAX_TEXT].partition(";")[0]
    yield "include", " ".join(expression.split()), offset, True
    directory = value.text[: value.text.rfind("/") + 1]
    if value.base and directory.strip("/"):
        yield "path", directory.lstrip("/"), offset, False
    elif directory:
        yield "among", directory, offset, False


def _path(value: Value, offset: int) -> Iterator[_Found]:
    text = value.text if value.whole else value.text[: value.text.rfind("/") + 1]
    if value.base and text.strip("/.") and "\0" not in text:
        yield "path", text.lstrip("/").partition("*")[0], offset, False


def _include_path(words: list[Token], at: int) -> Iterator[_Found]:
    for here in range(at + 2, len(words)):
        if words[here].value.lower() in ("__dir__", "dirname") and words[here].sort is Sort.NAME:
            _, value = value_at(words, here)
            yield "include_path", value.text.lstrip("/") or ".", words[here].at, False
        elif words[here].sort is Sort.STRING and words[here].value[:1] == "/" and words[here - 1].value != ".":
            yield "include_path", words[here].value, words[here].at, False


def _may_be_class(words: list[Token], at: int) -> bool:
    """Where the grammar leaves it open, constants and functions are told from classes by their capitals."""
    word = words[at].value
    if (at and words[at - 1].value.lower() in _BEFORE_CLASSES) or "\\" in word:
        return True
    return (at + 1 < len(words) and words[at + 1].value == "::") or (word[:1].isupper() and not word.isupper())
