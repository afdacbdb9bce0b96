"""Perl source: the modules and files that it names (perlfunc(1) use, require, do; perlmod(1); PerlIO(3)).

Kinds of mention:

- ``import``: a module, as ``A::B``. ``use`` works when a file is compiled, wherever it stands; `lazy` is a
  ``require`` that is indented: in a block or subroutine. Computed: what follows ``require``.
- ``attempt``: a module that the code lives without: in an eval, in a string, after ``use if``.
- ``implied``: a module that the interpreter loads by itself for what is written, such as ``:encoding(…)``.
- ``file``: the literal of ``require "x.pl"`` or ``do "x.pl"``.
- ``lib``: a directory of ``use lib``; ``@/`` at its beginning is the directory of the script.
- ``codec``: the encoding's name of Encode's encode and decode, or of ``:encoding(…)``.
- ``unicode``: the property of ``\\p{…}``, or ``N`` for a named character.

Perl cannot be parsed without running it; this reads lines, without POD, here-documents and what follows
__END__.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from slimtrace.facts import paths
from slimtrace.facts.mentions import Mention
from slimtrace.facts.sources import SOURCE_LIMIT

MAX_LINE = 4096  # characters of a line or statement that are looked at
MAX_STATEMENT = 30  # lines of one use statement

_MODULE = r"[A-Za-z_]\w*(?:(?:::|')\w+)*"
_USE = re.compile(rf"(?:^|[;{{}}])\s*(?:use|no)\s+({_MODULE})\b([^;]*)")
_REQUIRE = re.compile(rf"(?<![\w$@%&>:{{-])require\s*\(?\s*(?:({_MODULE})|[\"']([^\"'$@]+)[\"']|([$\"'][^;]*))")
_DO = re.compile(r"(?<![\w$@%&>:-])do\s*\(?\s*[\"']([^\"'$@]+)[\"']")
_LOAD = re.compile(rf"\b(?:load_class|try_load_class|use_module|load|autoload)\s*\(?\s*[\"']({_MODULE})[\"']")
_STRING_EVAL = re.compile(rf"[\"'{{]\s*(?:use|require)\s+({_MODULE})\b")
_NAMES = re.compile(rf"[\"']({_MODULE})[\"']|\bqw\s*[(\[{{/<|!]([^)\]}}/>|!]*)|({_MODULE})\s*=>")
_TEXTS = re.compile(r"\"([^\"]*)\"|'([^']*)'|\bqw\s*[(\[{/]([^)\]}/]*)")
_ENCODE = re.compile(r"\b(?:encode|decode|find_encoding|from_to)\s*\(?\s*[\"']([\w.:-]{2,40})[\"']")
_LAYER = re.compile(r":encoding\(\s*([\w.:-]{2,40})\s*\)")
_IN_MEMORY = re.compile(r"\bopen\b[^;]*,\s*\\")
_PROPERTY = re.compile(r"\\[pP]\{?\^?([\w:= ]{1,40})|\\N\{(?!U\+)[A-Za-z]")
_HEREDOC = re.compile(r"<<~?(?:\"([^\"\n]{1,80})\"|'([^'\n]{1,80})'|([A-Za-z_]\w*))")
_BESIDE = re.compile(r"\$(?:FindBin::)?(?:RealBin|Bin)\b|\$\{?\s*(?:FindBin::)?(?:RealBin|Bin)\s*\}?")
_WITHOUT_ENGINE = re.compile(r"\s*(?:\(\s*|qw\W)?['\"]?(?:taint|eval)['\"]?\W*")
_PARENTS = frozenset(("parent", "base", "aliased", "autouse", "superclass", "Class::Autouse", "Mojo::Base"))
_END = ("__END__", "__DATA__")


def mentions(stream: BinaryIO) -> tuple[Mention, ...]:
    """What the source open as `stream` names, in the order of its lines."""
    text = paths.decode(stream.read(SOURCE_LIMIT))
    return tuple(dict.fromkeys(one for line, code in _code(text) for one in _of_line(line, code)))


def _code(text: str) -> Iterator[tuple[int, str]]:
    """The lines of code with their numbers; a use statement as one line."""
    pod = False
    document = ""
    held: list[str] = []
    begun = 0
    for number, line in enumerate(text.split("\n"), 1):
        line = line[:MAX_LINE].rstrip("\r")
        if document:
            document = "" if line.strip() == document else document
            continue
        if pod or (line[:1] == "=" and line[1:2].isalpha()):
            pod = not line.startswith("=cut")
            continue
        if line.strip() in _END:
            break
        code = _without_comment(line)
        if found := _HEREDOC.search(code):
            document = found[1] or found[2] or found[3]
        if held:
            held.append(code)
            if ";" in code or len(held) >= MAX_STATEMENT:
                yield begun, " ".join(held)[:MAX_LINE]
                held = []
        elif re.match(r"\s*use\s", code) and ";" not in code:
            held, begun = [code], number
        elif code.strip():
            yield number, code
    if held:
        yield begun, " ".join(held)[:MAX_LINE]


def _without_comment(line: str) -> str:
    if line.lstrip().startswith("#"):
        return ""
    at = line.find(" #")
    # A "#" in a string or a pattern is none; with quotes before it the line stays whole.
    return line[:at] if at >= 0 and not set("\"'/{") & set(line[:at]) else line


def _of_line(line: int, code: str) -> Iterator[Mention]:
    indented = code[:1] in (" ", "\t")
    for used in _USE.finditer(code):
        yield from _of_use(line, _name(used[1]), used[2])
    caught = "eval" in code or "try" in code
    for required in _REQUIRE.finditer(code):
        kind = "attempt" if caught else "import"
        if required[1]:
            yield Mention(kind, _name(required[1]), line, indented)
        elif required[2]:
            yield _of_file(required[2], line, indented)
        else:
            yield Mention(kind, required[3].strip()[:200], line, indented, computed=True)
    for loaded in _DO.finditer(code):
        yield _of_file(loaded[1], line, indented)
    for found in (*_LOAD.finditer(code), *_STRING_EVAL.finditer(code)):
        yield Mention("attempt", _name(found[1]), line, indented)
    for found in (*_ENCODE.finditer(code), *_LAYER.finditer(code)):
        yield Mention("codec", found[1], line, indented)
    if ":encoding(" in code:
        yield Mention("implied", "PerlIO::encoding", line, indented)
        yield Mention("implied", "Encode", line, indented)
    if ":via(" in code:
        yield Mention("implied", "PerlIO::via", line, indented)
    if _IN_MEMORY.search(code):
        yield Mention("implied", "PerlIO::scalar", line, indented)
    for found in _PROPERTY.finditer(code):
        yield Mention("unicode", found[1] or "N", line, indented)


def _of_use(line: int, module: str, rest: str) -> Iterator[Mention]:
    if re.fullmatch(r"v\d+", module):  # use v5.36
        return
    if module == "re" and _WITHOUT_ENGINE.fullmatch(rest):  # without the shared object of its debugger
        yield Mention("file", "re.pm", line)
        return
    yield Mention("import", module, line)
    if module in _PARENTS and "-norequire" not in rest:
        for name in _names(rest):
            yield Mention("import", name, line, lazy=module == "autouse")
            if module in ("autouse", "aliased"):  # what follows are functions of it
                break
    elif module == "if":
        for name in _names(rest.partition(",")[2]):
            yield Mention("attempt", name, line)
            break
    elif module == "lib":
        for found in _TEXTS.finditer(rest):
            for text in found[3].split() if found[3] else [found[1] or found[2] or ""]:
                place = _BESIDE.sub("@", text, count=1)
                if place and "$" not in place:
                    yield Mention("lib", place, line)


def _names(rest: str) -> Iterator[str]:
    for found in _NAMES.finditer(rest):
        for name in found[2].split() if found[2] else (found[1] or found[3],):
            if name and re.fullmatch(_MODULE, name):
                yield _name(name)


def _name(module: str) -> str:
    """``A'B`` is the old spelling of ``A::B``."""
    return module.replace("'", "::")


def _of_file(text: str, line: int, lazy: bool) -> Mention:
    if text.endswith(".pm") and not text.startswith(("/", ".")):
        return Mention("import", text.removesuffix(".pm").replace("/", "::"), line, lazy)
    return Mention("file", text, line, lazy)
