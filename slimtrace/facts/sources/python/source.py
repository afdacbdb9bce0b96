"""Python source: the modules, files, codecs and distributions that it names.

Kinds of mention:

- ``import``: a module, dotted; relative ones keep their leading dots. Computed: the argument of import_module.
- ``attempt``: a module that the code can do without: it is imported in a ``try`` or under an ``if``.
- ``member``: a module, or something in one: ``a.b`` of ``from a import b``, or of ``a.b`` where ``a`` is
  imported (modules that a package loads on attribute access, PEP 562).
- ``children``: ``a.b.`` of ``import_module("a.b." + name)``: any of the modules in that package.
- ``implied``: a module that a function imports when it is called, such as _strptime for ``strptime``.
- ``data``: a file relative to the directory of the source, or with ``package:`` before it to that of the
  package. Computed: the path has a further part that is known only when the code runs.
- ``literal``: a string that could be a file name or a dotted name.
- ``async``: a coroutine is defined here; `name` is empty.
- ``codec``, ``distribution``, ``entry-points``, ``zone``: the names given to codecs, importlib.metadata and
  zoneinfo; ``.`` is the distribution of the source itself. Computed: the name is not known.

`lazy` are those in functions and under ``if __name__ == "__main__"``. Code under TYPE_CHECKING or a test for
another platform is left out. Source that this Python cannot parse is read line by line (line_reader.py).
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
from slimtrace.facts.sources.python.path_expressions import OWN_NAMES, PathVariables, called_name, is_string

PARSE_LIMIT = 1 << 19  # bytes: a syntax tree takes some hundred times the memory of its source
MAX_NESTING = 80  # open brackets; the parser takes exponential time for some nestings with errors
MAX_BRACES = 20_000
MAX_NAME = 1000  # characters

# What C functions import when they are called: Modules/_datetimemodule.c, timemodule.c; socketmodule.c
# (socket_getaddrinfo).
_IMPLIED = {
    "strptime": "_strptime",
    "getaddrinfo": "encodings.idna",
    "gethostbyname": "encodings.idna",
    "create_connection": "encodings.idna",
    "popen": "subprocess",  # os.popen imports it itself
}
# Packages that load none of their modules on attribute access.
_WITHOUT_LAZY_ATTRIBUTES = sys.stdlib_module_names - {"concurrent", "importlib"}
_PATH_MARKERS = (b"__file__", b"__path__", b"files(")  # a source without these has no path expressions
_IMPORT_FUNCTIONS = frozenset(
    ("import_module", "__import__", "import_string", "import_from_string", "LazyImport")
)
_RESOURCE_FUNCTION_WORDS = """
get_data open_text read_text open_binary read_binary contents is_resource resource_string resource_stream
resource_filename resource_listdir resource_exists PackageLoader
"""
_RESOURCE_FUNCTIONS = frozenset(_RESOURCE_FUNCTION_WORDS.split())
_METADATA_FUNCTIONS = frozenset(("version", "distribution", "metadata", "requires", "get_distribution"))
_CODEC_FUNCTION_WORDS = """
encode decode lookup getencoder getdecoder getreader getwriter getincrementaldecoder getincrementalencoder
"""
_CODEC_FUNCTIONS = frozenset(_CODEC_FUNCTION_WORDS.split())
_FILE_OR_DOTTED_NAME = re.compile(r"[A-Za-z0-9_.@+/-]{3,200}")
_NUMBER = re.compile(r"[\d.]+")
_DIRECTORY_ARGUMENTS = frozenset(
    ("template_folder", "static_folder", "template_name", "directory", "searchpath")
)
_ENCODING_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")  # PEP 263


def mentions(stream: BinaryIO) -> tuple[Mention, ...]:
    """What the source open as `stream` names, in the order of its lines."""
    source = stream.read(SOURCE_LIMIT)
    found = _parsed(source)
    if found is None:
        found = tuple(line_reader.mentions(source.decode("utf-8", "replace")))
    for line in source.split(b"\n", 2)[:2]:
        if cookie := _ENCODING_COOKIE.match(line):
            found = (Mention("codec", cookie[1].decode("ascii"), 1), *found)
    return tuple(sorted(dict.fromkeys(found), key=lambda mention: mention.line))


def _parsed(source: bytes) -> tuple[Mention, ...] | None:
    if len(source) > PARSE_LIMIT or not _is_safe_to_parse(source):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return tuple(_Reader(ast.parse(source), any(mark in source for mark in _PATH_MARKERS)).read())
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None


def _is_safe_to_parse(source: bytes) -> bool:
    """Whether the parser needs no more time and stack for `source` than for code that people write."""
    depth = 0
    # A long text without brackets, commas and line ends is a chain of operators, which nests as brackets do.
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
    def __init__(self, tree: ast.Module, has_paths: bool) -> None:
        self._tree = tree
        nodes = list(ast.walk(tree))
        self._path_variables = PathVariables(nodes) if has_paths else None
        # By name in this file: the dotted name that it is imported from.
        self._imported_names: dict[str, str] = {}
        # The inner nodes of dotted names, which are no mentions of their own.
        self._inner_attributes: set[ast.AST] = set()
        self._collect_imports(nodes)

    def read(self) -> Iterator[Mention]:
        """Every mention once, where it stands first."""
        seen = set()
        todo: list[tuple[ast.AST, Branch, bool]] = [(self._tree, Branch(), False)]
        while todo:
            node, branch, in_path = todo.pop()
            for kind, name, computed in self._of_node(node, branch, in_path):
                key = kind, name, branch.lazy, computed
                if key not in seen and len(name) <= MAX_NAME:
                    seen.add(key)
                    line = getattr(node, "lineno", 0)
                    yield Mention(kind, name, line, branch.lazy, computed)
            # The parts of an expression that is a path are no paths of their own.
            if self._path_variables and not in_path:
                in_path = self._path_variables.path_of(node) is not None
            below = [(child, child_branch, in_path) for child, child_branch in branches(node, branch)]
            below.reverse()
            todo += below

    def _collect_imports(self, nodes: list[ast.AST]) -> None:
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name if alias.asname else alias.name.partition(".")[0]
                    self._imported_names[alias.asname or top] = top
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    member = _member(node, alias.name)
                    self._imported_names[alias.asname or alias.name] = member if member.strip(".") else ""

    def _of_node(self, node: ast.AST, branch: Branch, in_path: bool) -> Iterator[tuple[str, str, bool]]:
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
            if (
                _FILE_OR_DOTTED_NAME.fullmatch(text)
                and ("." in text or "/" in text)
                and not _NUMBER.fullmatch(text)
            ):
                yield "literal", text, False
        elif isinstance(node, ast.Call):
            yield from self._of_call(node, imported)
        if (
            self._path_variables
            and not in_path
            and (path_value := self._path_variables.path_of(node))
            and path_value.named
        ):
            path = f"{path_value.package}:{path_value.path}" if path_value.package else path_value.path
            yield "data", path, not path_value.complete

    def _of_attribute(self, node: ast.Attribute) -> Iterator[tuple[str, str, bool]]:
        if node.attr in _IMPLIED:
            yield "implied", _IMPLIED[node.attr], False
        names = [node.attr]
        inner: ast.expr = node.value
        while isinstance(inner, ast.Attribute) and len(names) < 4:
            self._inner_attributes.add(inner)
            names.append(inner.attr)
            inner = inner.value
        imported_name = self._imported_names.get(inner.id, "") if isinstance(inner, ast.Name) else ""
        if (
            node not in self._inner_attributes
            and imported_name
            and imported_name.partition(".")[0] not in _WITHOUT_LAZY_ATTRIBUTES
        ):
            yield "member", ".".join((imported_name, *reversed(names))), False

    def _of_call(self, node: ast.Call, imported: str) -> Iterator[tuple[str, str, bool]]:
        name = called_name(node)
        first = node.args[0] if node.args else None
        by_name = {word.arg: word.value for word in node.keywords if word.arg}
        if name in _IMPORT_FUNCTIONS and first is not None:
            yield _of_import_call(first, node, imported)
        elif name in _RESOURCE_FUNCTIONS and first is not None:
            yield from _of_resource_call(node.args)
        elif (
            name in _METADATA_FUNCTIONS
            and isinstance(node.func, ast.Attribute | ast.Name)
            and first is not None
        ):
            yield from self._of_metadata_call(node, first)
        elif name in ("entry_points", "iter_entry_points"):
            group = by_name.get("group", first)
            yield "entry-points", group.value if is_string(group) else "", not is_string(group)
        elif name == "ZoneInfo" and first is not None:
            yield "zone", first.value if is_string(first) else "", not is_string(first)
        if name in _IMPLIED and isinstance(node.func, ast.Name):
            yield "implied", _IMPLIED[name], False
        codec = by_name.get("encoding", first if name in _CODEC_FUNCTIONS else None)
        if name in ("str", "bytes", "bytearray", "TextIOWrapper") and len(node.args) > 1:
            codec = node.args[1]
        if is_string(codec) and len(codec.value) < 60:
            yield "codec", codec.value, False
        for word, value in by_name.items():
            if word in _DIRECTORY_ARGUMENTS and is_string(value) and value.value:
                yield "literal", value.value, False

    def _of_metadata_call(self, node: ast.Call, first: ast.expr) -> Iterator[tuple[str, str, bool]]:
        """The distribution in version("x") and the like: only where the function comes from importlib.metadata
        or pkg_resources, since the names are common."""
        name = called_name(node)
        origin = self._imported_names.get(name, "")
        if isinstance(node.func, ast.Attribute):
            value = node.func.value
            parts: list[str] = []
            while isinstance(value, ast.Attribute) and len(parts) < 4:
                parts.append(value.attr)
                value = value.value
            root = self._imported_names.get(value.id, "") if isinstance(value, ast.Name) else ""
            origin = ".".join((root, *reversed(parts)))
        if "metadata" in origin or "pkg_resources" in origin:
            own = isinstance(first, ast.Name) and first.id in OWN_NAMES
            yield (
                "distribution",
                "." if own else first.value if is_string(first) else "",
                not (own or is_string(first)),
            )


def _member(node: ast.ImportFrom, name: str) -> str:
    base = "." * node.level + (node.module or "")
    return f"{base}{name}" if base.endswith(".") or not base else f"{base}.{name}"


def _of_resource_call(args: Sequence[ast.expr]) -> Iterator[tuple[str, str, bool]]:
    """The data file that the arguments of importlib.resources' older functions, pkgutil.get_data or
    pkg_resources mean."""
    own = isinstance(args[0], ast.Name) and args[0].id in OWN_NAMES
    if not own and not is_string(args[0]):
        return
    package = "" if own else f"{args[0].value}:" if is_string(args[0]) else ""
    name = args[1].value if len(args) > 1 and is_string(args[1]) else ""
    if name or len(args) > 1:
        yield "data", package + (name.strip("/") or "."), not name


def _of_import_call(first: ast.expr, node: ast.Call, imported: str) -> tuple[str, str, bool]:
    """The module that import_module or the like imports, or the package, as far as its argument is literal."""
    prefix, complete = _literal_prefix(first)
    package = node.args[1] if len(node.args) > 1 else None
    if prefix.startswith(".") and is_string(package):
        prefix = package.value + prefix
    name = prefix.partition(":")[0]  # import_string("module:object")
    if name and complete:
        return imported, name, False
    if name.endswith(".") and name.strip("."):
        return "children", name, False
    if name == "." or (name.strip(".") == "" and name):
        return "children", name, False
    return imported, ast.unparse(first)[:200], True


def _literal_prefix(node: ast.expr) -> tuple[str, bool]:
    """The literal beginning of a string expression, and whether that is all of it. ``__name__`` and the like at
    the beginning count as nothing."""
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
            return _literal_prefix(right)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            text, complete = _literal_prefix(left) if not isinstance(left, ast.BinOp) else _sum_prefix(left)
            if complete and is_string(right):
                return text + right.value, True
            return text, False
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod()):
            return text.partition("%")[0], False
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format")):
            return text.partition("{")[0], False
    return "", False


def _sum_prefix(node: ast.BinOp) -> tuple[str, bool]:
    """The literal beginning of a sum of more than two operands, without recursion."""
    inner: ast.expr = node
    while isinstance(inner, ast.BinOp):
        inner = inner.left
    if isinstance(inner, ast.Name) and inner.id in OWN_NAMES and isinstance(node.left, ast.Name):
        return _literal_prefix(node.right)
    return (inner.value, False) if is_string(inner) else ("", False)
