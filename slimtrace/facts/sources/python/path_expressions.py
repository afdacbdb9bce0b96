"""Expressions of Python source whose value is a path relative to the file itself or to a package's directory.

``os.path.join(os.path.dirname(__file__), "data", "x.json")``, ``Path(__file__).parent / "data"``,
``importlib.resources.files("package").joinpath("x")`` and what is built from names to which such a value was
assigned. Nothing is executed: the functions that such expressions call are recognized by their names.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeGuard

MAX_DEPTH = 16  # of one expression; deeper ones are not understood
MAX_CHARS = 1024
_PATH_CONVERSIONS = frozenset(
    ("abspath", "realpath", "normpath", "Path", "PurePath", "PosixPath", "str", "fspath", "as_file")
)
_PATH_METHODS = frozenset(("resolve", "absolute", "as_posix", "expanduser", "__str__"))
_PATH_NODES = (ast.Name, ast.Attribute, ast.Subscript, ast.BinOp, ast.JoinedStr, ast.Call)
OWN_NAMES = frozenset(("__name__", "__package__", "__spec__"))


@dataclass(frozen=True, slots=True)
class RelativePath:
    """A path relative to the directory of `package`; if that is "", to the directory of the file that is read.
    "@" is that file itself. If not `complete`, more follows that is known only when the code runs."""

    path: str
    package: str = ""
    complete: bool = True

    def parent(self) -> "RelativePath":
        """The directory that holds this path."""
        if not self.complete:
            return replace(self, complete=True)
        if self.path == "@":
            return replace(self, path=".")
        if self.path == "." or self.path.rpartition("/")[2] == "..":
            path = ".." if self.path == "." else f"{self.path}/.."
        else:
            path = self.path.rpartition("/")[0] or "."
        return replace(self, path=path)

    def join(self, piece: str | None) -> "RelativePath":
        """The path of `piece` in this directory; None stands for a piece that is not known."""
        if piece is None or not self.complete or len(self.path) + len(piece) > MAX_CHARS:
            return replace(self, complete=False)
        parts = [part for part in piece.split("/") if part not in ("", ".")]
        here = self
        for part in parts:
            joined = part if here.path == "." else f"{here.path}/{part}"
            here = here.parent() if part == ".." else replace(here, path=joined)
        return here

    @property
    def named(self) -> bool:
        """Whether the path names anything below the directory that it is relative to, at least in part."""
        return not self.complete or bool(self.path.strip("@./"))


class PathVariables:
    """The variables of one file to which paths are assigned; `nodes` are all of its syntax tree."""

    def __init__(self, nodes: Iterable[ast.AST]) -> None:
        self._paths: dict[str, RelativePath] = {}
        for node in nodes:
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                self._assign(node.targets[0], node.value)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                self._assign(node.target, node.value)

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name) and (place := self.path_of(value)):
            self._paths.setdefault(target.id, place)

    def path_of(self, node: ast.AST, depth: int = 0) -> RelativePath | None:
        """The path that is the value of an expression; None if it is not one."""
        if depth > MAX_DEPTH or not isinstance(node, _PATH_NODES):
            return None
        match node:
            case ast.Name(id="__file__"):
                return RelativePath("@")
            case ast.Name(id=name):
                return self._paths.get(name)
            case ast.Attribute(value=value, attr="parent"):
                found = self.path_of(value, depth + 1)
                return found.parent() if found else None
            case ast.Subscript(value=ast.Name(id="__path__")):
                return RelativePath(".")
            case ast.Subscript(
                value=ast.Attribute(value=value, attr="parents"), slice=ast.Constant(value=int(by))
            ):
                found = self.path_of(value, depth + 1)
                for _ in range(min(max(by, 0), MAX_DEPTH) + 1):
                    found = found.parent() if found else None
                return found
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return self._of_join(left, [right], depth)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._of_join(left, [right], depth)
            case ast.JoinedStr(values=[ast.FormattedValue(value=first), *rest]):
                return self._of_join(first, rest, depth) if rest else self.path_of(first, depth + 1)
            case ast.Call():
                return self._of_call(node, depth)
        return None

    def _of_call(self, node: ast.Call, depth: int) -> RelativePath | None:
        name = called_name(node)
        first = node.args[0] if node.args else None
        receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
        if name == "join" and first is not None:
            return self._of_join(first, node.args[1:], depth)
        if name == "dirname" and first is not None:
            found = self.path_of(first, depth + 1)
            return found.parent() if found else None
        if name == "files" and first is not None:
            if isinstance(first, ast.Name) and first.id in OWN_NAMES:
                return RelativePath(".")
            return RelativePath(".", first.value) if is_string(first) else None
        if name in ("joinpath", "with_name") and receiver is not None:
            found = self.path_of(receiver, depth + 1)
            if found and name == "with_name":
                found = found.parent()
            return _join_all(found, node.args) if found else None
        if name in _PATH_METHODS and receiver is not None:
            return self.path_of(receiver, depth + 1)
        if name in _PATH_CONVERSIONS and first is not None:
            return self._of_join(first, node.args[1:], depth)
        return None

    def _of_join(self, first: ast.expr, rest: Iterable[ast.expr], depth: int) -> RelativePath | None:
        found = self.path_of(first, depth + 1)
        return _join_all(found, rest) if found else None


def _join_all(path: RelativePath, pieces: Iterable[ast.expr]) -> RelativePath:
    for piece in pieces:
        path = path.join(piece.value if is_string(piece) else None)
    return path


def called_name(node: ast.Call) -> str:
    """The last name of the function that is called: "join" in os.path.join(…)."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


class _StringLiteral(ast.Constant):
    value: str


def is_string(node: ast.AST | None) -> TypeGuard[_StringLiteral]:
    """Whether `node` is a string literal."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
