"""What a Ruby file names: features to require, constants to load on demand, gems, files beside it, encodings.

Kinds of mentions:

    require           a feature of the load path: require "x"; pp, which Kernel#pp requires when it is called
    require_relative  a feature relative to the directory of the source, in whichever way that is written
    among             the beginning of a feature whose end is computed; "./…" is relative to that directory
    load              load "x.rb"
    autoload          the full name of a constant, a blank, and the feature that is loaded when code names the
                      constant ("./…" is relative to that directory); ActiveSupport's autoload has no feature
    constant          a constant that is named, once in a source: the enclosing class or module, a blank, and
                      the name as written
    gem               gem "x"
    bundler           Bundler.require, which requires what the Gemfile.lock lists
    zeitwerk          Zeitwerk::Loader.for_gem, which loads files below the source on demand
    path              a file or directory, relative to the directory of the source:
                      File.expand_path("a", __dir__)
    cwd               a file or directory, relative to the working directory: File.read("a"), Dir["a/*.rb"]
    load_path         a directory that is put into $LOAD_PATH, relative to the directory of the source
    view              a template engine of Tilt: erb :index
    encoding          an encoding, as it is spelled: Encoding::SJIS, encode("Shift_JIS")

Each line is read on its own: where one is misread (in a string over several lines, a regular expression), the
others are not. `lazy` is derived from the indentation of def. Sources: docs.ruby-lang.org Kernel#require,
#require_relative, #load, #autoload, File.expand_path, doc/syntax/literals; sinatrarb.com/intro.html.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from slimtrace.facts import paths
from slimtrace.facts.mentions import Mention
from slimtrace.facts.sources import MAX_MENTIONS, SOURCE_LIMIT
from slimtrace.facts.sources.ruby.expressions import Tokens, Value, tokens, value_at

MAX_LINE = 4000  # characters of a line that are read
MAX_SCOPES = 16  # nested classes and modules

MAX_TEXT = 120  # characters of a computed expression that a mention has
# A line without any of these words has no mentions but constants.
_MARKER_WORDS = """
require require_relative load autoload gem pp for_gem LOAD_PATH expand_path join __dir__ Dir read open readlines
foreach load_file Encoding encode force_encoding set_encoding
"""
_TEMPLATE_ENGINES = frozenset(("erb", "erubi", "haml", "slim", "liquid", "markdown", "builder", "sass", "scss"))
_MARKERS = re.compile(
    rf"\b(?:{'|'.join((*_MARKER_WORDS.split(), *sorted(_TEMPLATE_ENGINES)))})\b|\$:|coding[:=]"
)
# A name before one of these is a variable's, not a method's.
_OPERATORS = frozenset(("=", ",", ".", ")", "]", "}", "|", "&", "+"))
_FILE_METHODS = frozenset(("read", "open", "readlines", "foreach", "load_file"))
_ENCODING_METHODS = frozenset(("encode", "force_encoding", "set_encoding"))
_HEREDOC = re.compile(r"<<(?:[~-][\"'`]?(?P<indented>\w++)|[\"'`]?(?P<plain>[A-Z_]\w*+))")
_MAGIC_COMMENT = re.compile(r"#.*coding[:=]\s*([\w.-]+)")
_CONSTANT = re.compile(r"(?<![\w@$])[A-Z]\w*+(?:::[A-Z]\w*+)*")
_SCOPE = re.compile(r"\s*+(?:module|class)\s++(?P<name>[A-Z][\w:]*+)")


def mentions(stream: BinaryIO) -> tuple[Mention, ...]:
    """The mentions of the source open as `stream`, in the order of their lines. Raises nothing but OSError."""
    text = paths.decode(stream.read(SOURCE_LIMIT))
    found: dict[Mention, None] = {}
    constants: set[str] = set()
    scopes: list[tuple[int, str]] = []  # indentation and full name of each class or module that the line is in
    glob_line = -9  # the last line with a Dir[…]: a computed require near it means the files of that
    def_indent: int | None = None  # the indentation of the def that the line is in
    for number, line in _code_lines(text):
        if len(found) >= MAX_MENTIONS:
            break
        line = line[:MAX_LINE]
        indent = len(line) - len(line.lstrip())
        if def_indent is not None and indent <= def_indent:
            def_indent = None
        while scopes and indent <= scopes[-1][0]:
            scopes.pop()
        scope = scopes[-1][1] if scopes else ""
        rest = line
        if opened := _SCOPE.match(line):
            if len(scopes) < MAX_SCOPES and len(opened["name"]) < MAX_TEXT:
                scopes.append((indent, f"{scope}::{opened['name']}" if scope else opened["name"]))
            rest = line[opened.end() :]
        if not rest.startswith(("#", "autoload"), min(indent, len(rest))):
            for constant in _CONSTANT.findall(rest):
                if (scoped_name := f"{scope} {constant}") not in constants:
                    constants.add(scoped_name)
                    found[Mention("constant", scoped_name, number)] = None
        if _MARKERS.search(line):
            for kind, name, computed in _of_line(line, number):
                if kind == "glob":
                    glob_line = number
                elif kind == "autoload":
                    whole = f"{scope}::{name}" if scope else name
                    found[Mention(kind, whole, number, def_indent is not None)] = None
                elif name and not (computed and number - glob_line <= 3):
                    found[Mention(kind, name, number, def_indent is not None, computed)] = None
        if def_indent is None and line.startswith("def ", indent) and not line.rstrip().endswith(" end"):
            def_indent = indent
    return tuple(found)


def _code_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of code with their numbers, without =begin blocks, here-documents and what follows __END__."""
    end_marker = ""
    lines = text.split("\n")
    stripped_lines = {line.strip() for line in lines if len(line) < MAX_LINE}
    for number, line in enumerate(lines, 1):
        if end_marker:
            if line.strip() == end_marker or (end_marker == "=end" and line.startswith("=end")):
                end_marker = ""
        elif line.startswith("=begin"):
            end_marker = "=end"
        elif line.rstrip() == "__END__":
            return
        elif line and not line.isspace():
            yield number, line
            if "<<" in line and (heredoc := _HEREDOC.search(line[:MAX_LINE])):
                name = heredoc["indented"] or heredoc["plain"]
                end_marker = name if name in stripped_lines else ""  # where no line ends it, << is an operator


def _of_line(line: str, number: int) -> Iterator[tuple[str, str, bool]]:
    """Kind, name, and whether it is computed, of each mention in a line."""
    if number < 3 and (magic := _MAGIC_COMMENT.match(line)):
        yield "encoding", magic[1], False
    words = tokens(line)
    to_load_path = any(value in ("LOAD_PATH", "$:", "$L") for _, value in words)
    at = 0
    while at < len(words):
        token_type, word = words[at]
        called = words[at - 1][1] if at and words[at - 1][1] in (".", "::", "def") else ""
        owner = words[at - 2][1] if called and at > 1 else ""
        argument = at + 2 if words[at + 1 : at + 2] == [("mark", "(")] else at + 1
        if token_type != "name" or called == "def":
            pass
        elif word in ("require", "require_relative", "load"):
            if not called or owner == "Kernel":
                at, value = value_at(words, argument)
                yield from _of_require(word, value, words, argument)
                continue
        elif word == "autoload":
            yield from _of_autoload(words, argument)
        elif word == "gem" and not called:
            _, value = value_at(words, argument)
            if value.complete and not value.base and value.text:
                yield "gem", value.text, False
        elif word in ("require", "setup") and owner == "Bundler":
            yield "bundler", word, False
        elif word in ("expand_path", "join", "__dir__") or (word == "Dir" and at + 1 < len(words)):
            start = at - 2 if called else at
            at, value = value_at(words, max(start, 0))
            yield from _of_path(value, to_load_path)
            at = max(at, start + 3)
            continue
        elif word in _FILE_METHODS and called and owner in ("File", "IO", "YAML", "JSON"):
            _, value = value_at(words, argument)
            if value.complete and not value.base:
                yield "cwd", value.text, False
        elif word == "pp" and not called and words[at + 1 : at + 2] and words[at + 1][1] not in _OPERATORS:
            yield "require", "pp", False
        elif word == "for_gem":
            yield "zeitwerk", word, False
        elif (
            word in _TEMPLATE_ENGINES
            and not called
            and words[argument : argument + 1]
            and _is_view_name(words[argument])
        ):
            yield "view", word, False
        elif (word == "Encoding" and words[at + 1 : at + 2] == [("mark", "::")]) or word in _ENCODING_METHODS:
            yield from (("encoding", name, False) for name in _encodings(words[at + 1 : at + 6]))
        elif word == "find" and owner == "Encoding":
            yield from (("encoding", name, False) for name in _encodings(words[at + 1 : at + 3]))
        at += 1
    if words[:1] and any(words[at : at + 3] == _BUNDLER_REQUIRE for at in range(len(words))):
        yield "bundler", "require", False


_BUNDLER_REQUIRE = [("name", "Bundler"), ("mark", "."), ("name", "require")]


def _of_require(word: str, value: Value, words: Tokens, at: int) -> Iterator[tuple[str, str, bool]]:
    relative = value.base or word == "require_relative"
    text = _relative_to_directory(value)
    if value.complete and value.text:
        yield ("require_relative" if relative else word), text, False
    elif word != "load" and at < len(words) and words[at][1] not in _OPERATORS:
        source = " ".join(value for _, value in words[at : at + 40])
        yield word, source[:MAX_TEXT], True
        prefix = text[: text.rfind("/") + 1]
        if prefix:
            yield "among", f"./{prefix}" if relative and not prefix.startswith(".") else prefix, False


def _of_autoload(words: Tokens, at: int) -> Iterator[tuple[str, str, bool]]:
    if words[at : at + 1] and words[at][0] in ("symbol", "string"):
        constant = words[at][1].lstrip(":")
        if words[at + 1 : at + 2] == [("mark", ",")]:
            _, value = value_at(words, at + 2)
            if value.complete and value.text:
                yield (
                    "autoload",
                    f"{constant} {'./' if value.base else ''}{_relative_to_directory(value)}",
                    False,
                )
        elif words[at][0] == "symbol":
            yield "autoload", constant, False


def _of_path(value: Value, to_load_path: bool) -> Iterator[tuple[str, str, bool]]:
    text = _relative_to_directory(value) if value.base else value.text
    if "*" in text or not value.complete:
        if "*" in text:
            yield "glob", text, False
            text = text[: text.index("*")]
        text = text[: text.rfind("/") + 1]
    if to_load_path and value.complete and value.base:
        yield "load_path", text or ".", False
    elif text.strip("./") and value.base:
        yield "path", text, False
    elif text.strip("./") and "/" in text:
        yield "cwd", text, False


def _relative_to_directory(value: Value) -> str:
    """A value's text as a path relative to the file's directory: of a path relative to the file the first .. is
    left out."""
    text = value.text.lstrip("/") if value.base else value.text
    return text.removeprefix("..").lstrip("/") if value.base == "file" else text


def _is_view_name(word: tuple[str, str]) -> bool:
    return word[0] == "symbol" or (word[0] == "string" and word[1].isidentifier())


def _encodings(words: Tokens) -> Iterator[str]:
    """The names among the first arguments of a call, or after Encoding::."""
    if words[:1] == [("mark", "::")]:
        yield from (value for token_type, value in words[1:2] if token_type == "name" and value[0].isupper())
        return
    for token_type, value in words:
        if token_type == "string":
            yield value
        elif value not in ("(", ","):
            return
