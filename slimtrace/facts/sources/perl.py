"""Perl source: the modules and files that it names (perlfunc(1) use, require, do; perlmod(1); PerlIO(3)).

Kinds of mention:

- ``import``: a module, as ``A::B``. Perl executes ``use`` when it compiles a file, wherever it stands; `lazy`
  is a ``require`` that is indented: in a block or subroutine. Computed: the expression after ``require``.
- ``attempt``: a module that the code can do without: in an eval, in a string, after ``use if``.
- ``implied``: a module that the interpreter loads by itself for a construct such as ``:encoding(…)``.
- ``file``: the literal of ``require "x.pl"`` or ``do "x.pl"``.
- ``lib``: a directory of ``use lib``; ``@/`` at its beginning is the directory of the script.
- ``codec``: the name of an encoding, from Encode's encode and decode, or from ``:encoding(…)``.
- ``unicode``: the property of ``\\p{…}``, or ``N`` for a named character.

Perl cannot be parsed without running it: the reader takes the text line by line, without POD, here-documents
and what follows __END__.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from slimtrace.facts import paths
from slimtrace.facts.mentions import Mention
from slimtrace.facts.sources import SOURCE_LIMIT

MAX_LINE = 4096  # characters of a line or statement that are read
MAX_STATEMENT = 30  # lines of one use statement

_MODULE = r"[A-Za-z_]\w*(?:(?:::|')\w+)*"
_USE = re.compile(rf"(?:^|[;{{}}])\s*(?:use|no)\s+({_MODULE})\b([^;]*)")
_REQUIRE = re.compile(rf"(?<![\w$@%&>:{{-])require\s*\(?\s*(?:({_MODULE})|[\"']([^\"'$@]+)[\"']|([$\"'][^;]*))")
_DO_FILE = re.compile(r"(?<![\w$@%&>:-])do\s*\(?\s*[\"']([^\"'$@]+)[\"']")
_LOAD_FUNCTION = re.compile(
    rf"\b(?:load_class|try_load_class|use_module|load|autoload)\s*\(?\s*[\"']({_MODULE})[\"']"
)
_STRING_EVAL = re.compile(rf"[\"'{{]\s*(?:use|require)\s+({_MODULE})\b")
_MODULE_NAMES = re.compile(rf"[\"']({_MODULE})[\"']|\bqw\s*[(\[{{/<|!]([^)\]}}/>|!]*)|({_MODULE})\s*=>")
_STRINGS = re.compile(r"\"([^\"]*)\"|'([^']*)'|\bqw\s*[(\[{/]([^)\]}/]*)")
_ENCODE = re.compile(r"\b(?:encode|decode|find_encoding|from_to)\s*\(?\s*[\"']([\w.:-]{2,40})[\"']")
_ENCODING_LAYER = re.compile(r":encoding\(\s*([\w.:-]{2,40})\s*\)")
_IN_MEMORY_OPEN = re.compile(r"\bopen\b[^;]*,\s*\\")
_PROPERTY = re.compile(r"\\[pP]\{?\^?([\w:= ]{1,40})|\\N\{(?!U\+)[A-Za-z]")
_HEREDOC = re.compile(r"<<~?(?:\"([^\"\n]{1,80})\"|'([^'\n]{1,80})'|([A-Za-z_]\w*))")
_SCRIPT_DIRECTORY = re.compile(r"\$(?:FindBin::)?(?:RealBin|Bin)\b|\$\{?\s*(?:FindBin::)?(?:RealBin|Bin)\s*\}?")
_WITHOUT_REGEXP_ENGINE = re.compile(r"\s*(?:\(\s*|qw\W)?['\"]?(?:taint|eval)['\"]?\W*")
_BASE_CLASS_PRAGMAS = frozenset(
    ("parent", "base", "aliased", "autouse", "superclass", "Class::Autouse", "Mojo::Base")
)
_END_MARKERS = ("__END__", "__DATA__")


def mentions(stream: BinaryIO) -> tuple[Mention, ...]:
    """What the source open as `stream` names, in the order of its lines."""
    text = paths.decode(stream.read(SOURCE_LIMIT))
    return tuple(dict.fromkeys(mention for line, code in _code_lines(text) for mention in _of_line(line, code)))


def _code_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of code with their numbers; a use statement over several lines is joined into one."""
    pod = False
    heredoc_end = ""
    statement: list[str] = []
    first_line = 0
    for number, line in enumerate(text.split("\n"), 1):
        line = line[:MAX_LINE].rstrip("\r")
        if heredoc_end:
            heredoc_end = "" if line.strip() == heredoc_end else heredoc_end
            continue
        if pod or (line[:1] == "=" and line[1:2].isalpha()):
            pod = not line.startswith("=cut")
            continue
        if line.strip() in _END_MARKERS:
            break
        code = _without_comment(line)
        if found := _HEREDOC.search(code):
            heredoc_end = found[1] or found[2] or found[3]
        if statement:
            statement.append(code)
            if ";" in code or len(statement) >= MAX_STATEMENT:
                yield first_line, " ".join(statement)[:MAX_LINE]
                statement = []
        elif re.match(r"\s*use\s", code) and ";" not in code:
            statement, first_line = [code], number
        elif code.strip():
            yield number, code
    if statement:
        yield first_line, " ".join(statement)[:MAX_LINE]


def _without_comment(line: str) -> str:
    if line.lstrip().startswith("#"):
        return ""
    at = line.find(" #")
    # A "#" in a string or a pattern begins no comment; a line with quotes before the "#" is left as it is.
    return line[:at] if at >= 0 and not set("\"'/{") & set(line[:at]) else line


def _of_line(line: int, code: str) -> Iterator[Mention]:
    indented = code[:1] in (" ", "\t")
    for used in _USE.finditer(code):
        yield from _of_use(line, _module_name(used[1]), used[2])
    in_eval = "eval" in code or "try" in code
    for required in _REQUIRE.finditer(code):
        kind = "attempt" if in_eval else "import"
        if required[1]:
            yield Mention(kind, _module_name(required[1]), line, indented)
        elif required[2]:
            yield _of_file(required[2], line, indented)
        else:
            yield Mention(kind, required[3].strip()[:200], line, indented, computed=True)
    for loaded in _DO_FILE.finditer(code):
        yield _of_file(loaded[1], line, indented)
    for found in (*_LOAD_FUNCTION.finditer(code), *_STRING_EVAL.finditer(code)):
        yield Mention("attempt", _module_name(found[1]), line, indented)
    for found in (*_ENCODE.finditer(code), *_ENCODING_LAYER.finditer(code)):
        yield Mention("codec", found[1], line, indented)
    if ":encoding(" in code:
        yield Mention("implied", "PerlIO::encoding", line, indented)
        yield Mention("implied", "Encode", line, indented)
    if ":via(" in code:
        yield Mention("implied", "PerlIO::via", line, indented)
    if _IN_MEMORY_OPEN.search(code):
        yield Mention("implied", "PerlIO::scalar", line, indented)
    for found in _PROPERTY.finditer(code):
        yield Mention("unicode", found[1] or "N", line, indented)


def _of_use(line: int, module: str, rest: str) -> Iterator[Mention]:
    if re.fullmatch(r"v\d+", module):  # use v5.36
        return
    # Re.pm loads its shared object for other uses only.
    if module == "re" and _WITHOUT_REGEXP_ENGINE.fullmatch(rest):
        yield Mention("file", "re.pm", line)
        return
    yield Mention("import", module, line)
    if module in _BASE_CLASS_PRAGMAS and "-norequire" not in rest:
        for name in _module_names(rest):
            yield Mention("import", name, line, lazy=module == "autouse")
            if module in ("autouse", "aliased"):  # the other names are functions of that module
                break
    elif module == "if":
        for name in _module_names(rest.partition(",")[2]):
            yield Mention("attempt", name, line)
            break
    elif module == "lib":
        for found in _STRINGS.finditer(rest):
            for literal in found[3].split() if found[3] else [found[1] or found[2] or ""]:
                directory = _SCRIPT_DIRECTORY.sub("@", literal, count=1)
                if directory and "$" not in directory:
                    yield Mention("lib", directory, line)


def _module_names(rest: str) -> Iterator[str]:
    for found in _MODULE_NAMES.finditer(rest):
        for name in found[2].split() if found[2] else (found[1] or found[3],):
            if name and re.fullmatch(_MODULE, name):
                yield _module_name(name)


def _module_name(module: str) -> str:
    """The name with ``::``: ``A'B`` is the old spelling of ``A::B``."""
    return module.replace("'", "::")


def _of_file(text: str, line: int, lazy: bool) -> Mention:
    if text.endswith(".pm") and not text.startswith(("/", ".")):
        return Mention("import", text.removesuffix(".pm").replace("/", "::"), line, lazy)
    return Mention("file", text, line, lazy)
