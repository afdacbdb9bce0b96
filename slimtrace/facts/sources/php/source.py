"""What a PHP file names: files that it includes, classes, files that it reads.

Kinds of mentions:

    include       the literal of an include, include_once, require or require_once
    path          a file or directory, relative to the directory of the source: __DIR__ . "/a",
                  dirname(__FILE__) . "/a"; one that ends in a slash is the known part of a computed path
    among         the directory that a computed include begins with, to be searched as an include is
    file          the literal name of a file that is read: file_get_contents("a"), fopen, readfile…
    include_path  a directory for set_include_path, relative to the directory of the source
    class         the fully qualified name of a class, by the namespace and the use statements

Sources: php.net/manual function.include, language.namespaces.rules, function.set-include-path.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import BinaryIO

from slimtrace.facts import paths
from slimtrace.facts.mentions import Mention
from slimtrace.facts.sources import MAX_MENTIONS, SOURCE_LIMIT
from slimtrace.facts.sources.php.statements import Token, TokenType, Value, statements, value_at

MAX_TEXT = 120  # characters of a computed expression that a mention has
MAX_NAME = 400  # characters of a class's fully qualified name
_INCLUDE_KEYWORDS = frozenset(("include", "include_once", "require", "require_once"))
_CLASS_KEYWORDS = frozenset(("class", "trait", "enum", "interface"))
_BEFORE_OTHER_NAMES = frozenset(("->", "function", "const", *_CLASS_KEYWORDS))
_BEFORE_CLASSES = frozenset(("new", "extends", "implements", "instanceof"))
_FILE_FUNCTION_WORDS = (
    "file_get_contents fopen readfile file parse_ini_file simplexml_load_file is_file file_exists glob"
)
_FILE_FUNCTIONS = frozenset(_FILE_FUNCTION_WORDS.split())
_QUALIFIED_CLASS = re.compile(r"\\?[A-Za-z_]\w*+(?:\\[A-Za-z_]\w*+)+")
_RawMention = tuple[str, str, int, bool]  # kind, name, offset, computed


def mentions(stream: BinaryIO) -> tuple[Mention, ...]:
    """The mentions of the source open as `stream`, in the order of their lines. Raises nothing but OSError."""
    text = paths.decode(stream.read(SOURCE_LIMIT))
    lines = [match.start() for match in re.finditer("\n", text)]
    found: dict[Mention, None] = {}
    classes: set[str] = set()
    names = _NamespaceScope()
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


class _NamespaceScope:
    """The current namespace, and the aliases that its use statements define."""

    def __init__(self) -> None:
        self._namespace = ""
        self._aliases: dict[str, str] = {}
        self.in_class_body = False  # where a use statement is for traits

    def enter(self, namespace: str) -> None:
        self._namespace = namespace[:MAX_NAME]
        self._aliases = {}
        self.in_class_body = False

    def import_names(self, words: list[Token]) -> Iterator[str]:
        """The names that a use statement imports: one, or a group."""
        prefix = ""
        name = ""
        for at, (token_type, word, _) in enumerate(words):
            following = words[at + 1].value if at + 1 < len(words) else ""
            if token_type is TokenType.NAME and word.lower() not in ("function", "const", "as"):
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

    def qualified_name(self, name: str) -> str:
        """The fully qualified name of a class."""
        if name.startswith("\\"):
            return name[1:MAX_NAME]
        first, slash, rest = name.partition("\\")
        if first.lower() == "namespace":
            return f"{self._namespace}{slash}{rest}"[:MAX_NAME].lstrip("\\")
        if first.lower() in self._aliases:
            return f"{self._aliases[first.lower()]}{slash}{rest}"[:MAX_NAME]
        return (f"{self._namespace}\\{name}" if self._namespace else name)[:MAX_NAME]


def _of_statement(words: list[Token], text: str, names: _NamespaceScope) -> Iterator[_RawMention]:
    if not words:
        return
    first = words[0].value.lower()
    if first == "namespace":
        names.enter(words[1].value.lstrip("\\") if len(words) > 1 else "")
        return
    if first == "use" and not names.in_class_body:
        yield from (("class", name, words[0].at, False) for name in names.import_names(words[1:]))
        return
    at = 0
    while at < len(words):
        token_type, word, offset = words[at]
        before = words[at - 1].value.lower() if at else ""
        lower = word.lower() if token_type is TokenType.NAME else ""
        if (
            lower in _CLASS_KEYWORDS
            and before != "::"
            and at + 1 < len(words)
            and words[at + 1].type is TokenType.NAME
        ):
            names.in_class_body = True
        called = at + 1 < len(words) and words[at + 1].value == "("
        if lower in _INCLUDE_KEYWORDS and before not in ("->", "::", "function"):
            end, value = value_at(words, at + 1)
            yield from _of_include(value, offset, text)
            # The tokens of an expression that is not understood may hold further mentions.
            at = end if value.complete else at + 1
            continue
        if lower == "set_include_path" and called:
            yield from _of_include_path(words, at)
        elif lower in ("__dir__", "__file__", "dirname", "realpath"):
            end, value = value_at(words, at)
            yield from _of_path(value, offset)
            at = max(end, at + 1)
            continue
        elif lower.lstrip("\\") in _FILE_FUNCTIONS and called and before not in ("->", "::", "function"):
            _, value = value_at(words, at + 2)
            if value.complete and not value.base:
                yield "file", value.text, offset, False
        elif token_type is TokenType.NAME and before not in _BEFORE_OTHER_NAMES and _may_be_class(words, at):
            yield "class", names.qualified_name(word), offset, False
        elif token_type is TokenType.STRING and "\\" in word and len(word) < MAX_NAME:
            plain = word.replace("\\\\", "\\")
            if _QUALIFIED_CLASS.fullmatch(plain):
                yield "class", plain.lstrip("\\"), offset, False
        at += 1


def _of_include(value: Value, offset: int, text: str) -> Iterator[_RawMention]:
    if value.complete:
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


def _of_path(value: Value, offset: int) -> Iterator[_RawMention]:
    text = value.text if value.complete else value.text[: value.text.rfind("/") + 1]
    if value.base and text.strip("/.") and "\0" not in text:
        yield "path", text.lstrip("/").partition("*")[0], offset, False


def _of_include_path(words: list[Token], at: int) -> Iterator[_RawMention]:
    for here in range(at + 2, len(words)):
        if words[here].value.lower() in ("__dir__", "dirname") and words[here].type is TokenType.NAME:
            _, value = value_at(words, here)
            yield "include_path", value.text.lstrip("/") or ".", words[here].at, False
        elif (
            words[here].type is TokenType.STRING
            and words[here].value[:1] == "/"
            and words[here - 1].value != "."
        ):
            yield "include_path", words[here].value, words[here].at, False


def _may_be_class(words: list[Token], at: int) -> bool:
    """Whether a name is that of a class. Where the grammar does not tell, it is one if it begins with a capital
    and has other letters: constants are all capitals, functions begin with a small letter."""
    word = words[at].value
    if (at and words[at - 1].value.lower() in _BEFORE_CLASSES) or "\\" in word:
        return True
    return (at + 1 < len(words) and words[at + 1].value == "::") or (word[:1].isupper() and not word.isupper())
