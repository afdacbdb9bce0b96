"""Python source: the modules, files, codecs and distributions that it names.

Kinds of mention:

- ``import``: a module, dotted; relative ones keep their leading dots. Computed: the argument of import_module.
- ``attempt``: the same where the code lives without it: in a ``try`` or under an ``if``.
- ``member``: what may be a module or something in one: ``a.b`` of ``from a import b``, or of ``a.b`` where
  ``a`` is imported (modules that a package loads on attribute access, PEP 562).
- ``children``: ``a.b.`` of ``import_module("a.b." + name)``: any of the modules in that package.
- ``implied``: a module that a call which is named imports by itself, such as _strptime for ``strptime``.
- ``data``: a file relative to the directory of the source, or after ``package:`` to that of the package.
  Computed: it goes on with something that only a run would tell.
- ``literal``: a string that could be a file's or a dotted name.
- ``async``: a coroutine is defined here; `name` is empty.
- ``codec``, ``distribution``, ``entry-points``, ``zone``: the names given to codecs, importlib.metadata and
  zoneinfo; ``.`` is the distribution of the source itself. Computed: any.

`lazy` are those in functions and under ``if __name__ == "__main__"``. What stands under TYPE_CHECKING or a test
for another platform is left out. Source that this Python cannot parse is read line by line (pythonlines.py).
"""

import ast
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from slimtrace.facts.mentions import Mention
from slimtrace.facts.sources import SOURCE_LIMIT
from slimtrace.facts.sources.python import line_reader
from slimtrace.facts.sources.python.guards import Branch, branches
from slimtrace.facts.sources.python.path_expressions import OWN_NAMES, Places, called, is_text

PARSE_LIMIT = 1 << 19  # bytes: a syntax tree takes some hundred times the memory of its source
MAX_NESTING = 80  # open brackets; the parser takes exponential time for some that are nested and wrong
MAX_BRACES = 20_000
MAX_NAME = 1000  # characters

# What C code imports on a call: Modules/_datetimemodule.c, timemodule.c; socketmodule.c (socket_getaddrinfo).
_IMPLIED = {
    "strptime": "_strptime",
    "getaddrinfo": "encodings.idna",
    "gethostbyname": "encodings.idna",
    "create_connection": "encodings.idna",
    "popen": "subprocess",  # os.popen imports it itself
}
# None of these loads a module of its own when an attribute is asked for.
_PLAIN = sys.stdlib_module_names - {"concurrent", "importlib"}
_PLACES = (b"__file__", b"__path__", b"files(")  # a source without these tells no path
_IMPORTERS = frozenset(("import_module", "__import__", "import_string", "import_from_string", "LazyImport"))
_READERS_WORDS = """
get_data open_text read_text open_binary read_binary contents is_resource resource_string resource_stream
resource_filename resource_listdir resource_exists PackageLoader
"""
_READERS = frozenset(_READERS_WORDS.split())
_DISTRIBUTIONS = frozenset(("version", "distribution", "metadata", "requires", "get_distribution"))
_CODECS_WORDS = """
encode decode lookup getencoder getdecoder getreader getwriter getincrementaldecoder getincrementalencoder
"""
_CODECS = frozenset(_CODECS_WORDS.split())
_LITERAL = re.compile(r"[A-Za-z0-9_.@+/-]{3,200}")
_NUMBER = re.compile(r"[\d.]+")
_FOLDERS = frozenset(("template_folder", "static_folder", "template_name", "directory", "searchpath"))
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")  # PEP 263


def mentions(stream: BinaryIO) -> tuple[Mention, ...]:
    """What the source open as `stream` names, in the order of its lines."""
    source = stream.read(SOURCE_LIMIT)
    found = _parsed(source)
    if found is None:
        found = tuple(line_reader.mentions(source.decode("utf-8", "replace")))
    for line in source.split(b"\n", 2)[:2]:
        if cookie := _COOKIE.match(line):
            found = (Mention("codec", cookie[1].decode("ascii"), 1), *found)
    return tuple(sorted(dict.fromkeys(found), key=lambda one: one.line))


def _parsed(source: bytes) -> tuple[Mention, ...] | None:
    if len(source) > PARSE_LIMIT or not _is_harmless(source):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return tuple(_Reader(ast.parse(source), any(mark in source for mark in _PLACES)).read())
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None


def _is_harmless(source: bytes) -> bool:
    """Whether the parser needs no more time and stack for `source` than for what people write."""
    depth = 0
    # A long run without any of these is a chain of operators, which nests as brackets do.
    for match in re.finditer(rb"[(\[{]|[)\]}]|[^\n,()\[\]{}]{65536}", source):
        char = match[0]
        if len(char) > 1:
            return False
        depth = depth + 1 if char in b"([{" else max(depth - 1, 0)
        if depth > MAX_NESTING:
            return False
    # The parser before 3.12 takes quadratic time for the braces of one f-string.
    if source.count(b"{") > MAX_BRACES:
        return False
    return re.search(rb"(?:[-+~]\s*|not\s+|lambda[^:\n]{0,20}:\s*|await\s+){60}", source) is None


class _Reader:
    def __init__(self, tree: ast.Module, placed: bool) -> None:
        self._tree = tree
        nodes = list(ast.walk(tree))
        self._places = Places(nodes) if placed else None
        self._bound: dict[str, str] = {}  # names of this file that stand for (what may be) modules
        self._told: set[ast.AST] = set()  # the inner parts of a dotted name
        self._bind(nodes)

    def read(self) -> Iterator[Mention]:
        """Every mention once, the first place that it has."""
        seen = set()
        todo: list[tuple[ast.AST, Branch, bool]] = [(self._tree, Branch(), False)]
        while todo:
            node, branch, within = todo.pop()
            for kind, name, computed in self._of(node, branch, within):
                key = kind, name, branch.lazy, computed
                if key not in seen and len(name) <= MAX_NAME:
                    seen.add(key)
                    line = getattr(node, "lineno", 0)
                    yield Mention(kind, name, line, branch.lazy, computed)
            # Of a path that is understood, its parts are not told again.
            if self._places and not within:
                within = self._places.of(node) is not None
            below = [(child, stands, within) for child, stands in branches(node, branch)]
            below.reverse()
            todo += below

    def _bind(self, nodes: list[ast.AST]) -> None:
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name if alias.asname else alias.name.partition(".")[0]
                    self._bound[alias.asname or top] = top
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    member = _member(node, alias.name)
                    self._bound[alias.asname or alias.name] = member if member.strip(".") else ""

    def _of(self, node: ast.AST, branch: Branch, within: bool) -> Iterator[tuple[str, str, bool]]:
        imported = "attempt" if branch.attempt else "import"
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield imported, alias.name, False
        elif isinstance(node, ast.ImportFrom):
            yield imported, "." * node.level + (node.module or ""), False
            for alias in node.names:
                if alias.name != "*":
                    yield "member", _member(node, alias.name), False
        elif isinstance(node, ast.AsyncFunctionDef):
            yield "async", "", False
        elif isinstance(node, ast.Attribute):
            yield from self._of_attribute(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
            if _LITERAL.fullmatch(text) and ("." in text or "/" in text) and not _NUMBER.fullmatch(text):
                yield "literal", text, False
        elif isinstance(node, ast.Call):
            yield from self._of_call(node, imported)
        if self._places and not within and (place := self._places.of(node)) and place.named:
            path = f"{place.package}:{place.path}" if place.package else place.path
            yield "data", path, not place.complete

    def _of_attribute(self, node: ast.Attribute) -> Iterator[tuple[str, str, bool]]:
        if node.attr in _IMPLIED:
            yield "implied", _IMPLIED[node.attr], False
        names = [node.attr]
        inner: ast.expr = node.value
        while isinstance(inner, ast.Attribute) and len(names) < 4:
            self._told.add(inner)
            names.append(inner.attr)
            inner = inner.value
        bound = self._bound.get(inner.id, "") if isinstance(inner, ast.Name) else ""
        if node not in self._told and bound and bound.partition(".")[0] not in _PLAIN:
            yield "member", ".".join((bound, *reversed(names))), False

    def _of_call(self, node: ast.Call, imported: str) -> Iterator[tuple[str, str, bool]]:
        name = called(node)
        first = node.args[0] if node.args else None
        by_name = {word.arg: word.value for word in node.keywords if word.arg}
        if name in _IMPORTERS and first is not None:
            yield _module(first, node, imported)
        elif name in _READERS and first is not None:
            yield from _resource(node.args)
        elif name in _DISTRIBUTIONS and isinstance(node.func, ast.Attribute | ast.Name) and first is not None:
            yield from self._distribution(node, first)
        elif name in ("entry_points", "iter_entry_points"):
            group = by_name.get("group", first)
            yield "entry-points", group.value if is_text(group) else "", not is_text(group)
        elif name == "ZoneInfo" and first is not None:
            yield "zone", first.value if is_text(first) else "", not is_text(first)
        if name in _IMPLIED and isinstance(node.func, ast.Name):
            yield "implied", _IMPLIED[name], False
        codec = by_name.get("encoding", first if name in _CODECS else None)
        if name in ("str", "bytes", "bytearray", "TextIOWrapper") and len(node.args) > 1:
            codec = node.args[1]
        if is_text(codec) and len(codec.value) < 60:
            yield "codec", codec.value, False
        for word, value in by_name.items():
            if word in _FOLDERS and is_text(value) and value.value:
                yield "literal", value.value, False

    def _distribution(self, node: ast.Call, first: ast.expr) -> Iterator[tuple[str, str, bool]]:
        """version("x") is a common name: it counts where it comes from a package's metadata."""
        name = called(node)
        origin = self._bound.get(name, "")
        if isinstance(node.func, ast.Attribute):
            value = node.func.value
            parts: list[str] = []
            while isinstance(value, ast.Attribute) and len(parts) < 4:
                parts.append(value.attr)
                value = value.value
            root = self._bound.get(value.id, "") if isinstance(value, ast.Name) else ""
            origin = ".".join((root, *reversed(parts)))
        if "metadata" in origin or "pkg_resources" in origin:
            own = isinstance(first, ast.Name) and first.id in OWN_NAMES
            yield (
                "distribution",
                "." if own else first.value if is_text(first) else "",
                not (own or is_text(first)),
            )


def _member(node: ast.ImportFrom, name: str) -> str:
    base = "." * node.level + (node.module or "")
    return f"{base}{name}" if base.endswith(".") or not base else f"{base}.{name}"


def _resource(args: Sequence[ast.expr]) -> Iterator[tuple[str, str, bool]]:
    """The arguments of importlib.resources' older functions, of pkgutil.get_data and of pkg_resources."""
    own = isinstance(args[0], ast.Name) and args[0].id in OWN_NAMES
    if not own and not is_text(args[0]):
        return
    package = "" if own else f"{args[0].value}:" if is_text(args[0]) else ""
    name = args[1].value if len(args) > 1 and is_text(args[1]) else ""
    if name or len(args) > 1:
        yield "data", package + (name.strip("/") or "."), not name


def _module(first: ast.expr, node: ast.Call, imported: str) -> tuple[str, str, bool]:
    """The argument of import_module, as far as it is literal."""
    begin, complete = _beginning(first)
    package = node.args[1] if len(node.args) > 1 else None
    if begin.startswith(".") and is_text(package):
        begin = package.value + begin
    name = begin.partition(":")[0]  # import_string("module:object")
    if name and complete:
        return imported, name, False
    if name.endswith(".") and name.strip("."):
        return "children", name, False
    if name == "." or (name.strip(".") == "" and name):
        return "children", name, False
    return imported, ast.unparse(first)[:200], True


def _beginning(node: ast.expr) -> tuple[str, bool]:
    """The literal beginning of a string, and whether that is all. The module's own name counts as nothing."""
    match node:
        case ast.Constant(value=str(text)):
            return text, True
        case ast.JoinedStr(values=values):
            text = ""
            for at, value in enumerate(values):
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    text += value.value
                elif at or not (
                    isinstance(value, ast.FormattedValue)
                    and isinstance(value.value, ast.Name)
                    and value.value.id in OWN_NAMES
                ):
                    return text, False
            return text, True
        case ast.BinOp(left=ast.Name(id=name), op=ast.Add(), right=right) if name in OWN_NAMES:
            return _beginning(right)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            text, complete = _beginning(left) if not isinstance(left, ast.BinOp) else _shallow(left)
            if complete and is_text(right):
                return text + right.value, True
            return text, False
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod()):
            return text.partition("%")[0], False
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format")):
            return text.partition("{")[0], False
    return "", False


def _shallow(node: ast.BinOp) -> tuple[str, bool]:
    """The beginning of a longer sum, without following it to its depth."""
    inner: ast.expr = node
    while isinstance(inner, ast.BinOp):
        inner = inner.left
    if isinstance(inner, ast.Name) and inner.id in OWN_NAMES and isinstance(node.left, ast.Name):
        return _beginning(node.right)
    return (inner.value, False) if is_text(inner) else ("", False)
