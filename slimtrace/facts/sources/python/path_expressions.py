"""Expressions of Python source whose value is a path beside the file itself, or in a package's directory.

``os.path.join(os.path.dirname(__file__), "data", "x.json")``, ``Path(__file__).parent / "data"``,
``importlib.resources.files("package").joinpath("x")`` and what is built from names to which such a value was
assigned. Nothing is executed: the few functions that such expressions are made of are known by their names.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeGuard

MAX_DEPTH = 16  # of one expression; deeper ones are not understood
MAX_CHARS = 1024
_SAME = frozenset(
    ("abspath", "realpath", "normpath", "Path", "PurePath", "PosixPath", "str", "fspath", "as_file")
)
_METHODS = frozenset(("resolve", "absolute", "as_posix", "expanduser", "__str__"))
_FORMS = (ast.Name, ast.Attribute, ast.Subscript, ast.BinOp, ast.JoinedStr, ast.Call)
OWN_NAMES = frozenset(("__name__", "__package__", "__spec__"))


@dataclass(frozen=True, slots=True)
class Place:
    """A path: relative to the directory of `package`, or without one to that of the file that is read. "@" is
    that file itself. Without `complete` it goes on with something that only a run would tell."""

    path: str
    package: str = ""
    complete: bool = True

    def up(self) -> "Place":
        """The directory above."""
        if not self.complete:
            return replace(self, complete=True)
        if self.path == "@":
            return replace(self, path=".")
        if self.path == "." or self.path.rpartition("/")[2] == "..":
            path = ".." if self.path == "." else f"{self.path}/.."
        else:
            path = self.path.rpartition("/")[0] or "."
        return replace(self, path=path)

    def join(self, piece: str | None) -> "Place":
        """What `piece` names in this directory; None is a piece that is not known."""
        if piece is None or not self.complete or len(self.path) + len(piece) > MAX_CHARS:
            return replace(self, complete=False)
        parts = [part for part in piece.split("/") if part not in ("", ".")]
        here = self
        for part in parts:
            joined = part if here.path == "." else f"{here.path}/{part}"
            here = here.up() if part == ".." else replace(here, path=joined)
        return here

    @property
    def named(self) -> bool:
        """Whether anything below the place it starts from is named, be it only in part."""
        return not self.complete or bool(self.path.strip("@./"))


class Places:
    """The names of one file to which paths were assigned."""

    def __init__(self, nodes: Iterable[ast.AST]) -> None:
        self._known: dict[str, Place] = {}
        for node in nodes:
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                self._assign(node.targets[0], node.value)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                self._assign(node.target, node.value)

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name) and (place := self.of(value)):
            self._known.setdefault(target.id, place)

    def of(self, node: ast.AST, depth: int = 0) -> Place | None:
        """The path that an expression stands for, if it is one."""
        if depth > MAX_DEPTH or not isinstance(node, _FORMS):
            return None
        match node:
            case ast.Name(id="__file__"):
                return Place("@")
            case ast.Name(id=name):
                return self._known.get(name)
            case ast.Attribute(value=value, attr="parent"):
                found = self.of(value, depth + 1)
                return found.up() if found else None
            case ast.Subscript(value=ast.Name(id="__path__")):
                return Place(".")
            case ast.Subscript(
                value=ast.Attribute(value=value, attr="parents"), slice=ast.Constant(value=int(by))
            ):
                found = self.of(value, depth + 1)
                for _ in range(min(max(by, 0), MAX_DEPTH) + 1):
                    found = found.up() if found else None
                return found
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return self._joined(left, [right], depth)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._joined(left, [right], depth)
            case ast.JoinedStr(values=[ast.FormattedValue(value=first), *rest]):
                return self._joined(first, rest, depth) if rest else self.of(first, depth + 1)
            case ast.Call():
                return self._called(node, depth)
        return None

    def _called(self, node: ast.Call, depth: int) -> Place | None:
        name = called(node)
        first = node.args[0] if node.args else None
        receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
        if name == "join" and first is not None:
            return self._joined(first, node.args[1:], depth)
        if name == "dirname" and first is not None:
            found = self.of(first, depth + 1)
            return found.up() if found else None
        if name == "files" and first is not None:
            if isinstance(first, ast.Name) and first.id in OWN_NAMES:
                return Place(".")
            return Place(".", first.value) if is_text(first) else None
        if name in ("joinpath", "with_name") and receiver is not None:
            found = self.of(receiver, depth + 1)
            if found and name == "with_name":
                found = found.up()
            return _extend(found, node.args) if found else None
        if name in _METHODS and receiver is not None:
            return self.of(receiver, depth + 1)
        if name in _SAME and first is not None:
            return self._joined(first, node.args[1:], depth)
        return None

    def _joined(self, first: ast.expr, rest: Iterable[ast.expr], depth: int) -> Place | None:
        found = self.of(first, depth + 1)
        return _extend(found, rest) if found else None


def _extend(place: Place, pieces: Iterable[ast.expr]) -> Place:
    for piece in pieces:
        place = place.join(piece.value if is_text(piece) else None)
    return place


def called(node: ast.Call) -> str:
    """The last name of what is called: "join" of os.path.join(…)."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


class _Text(ast.Constant):
    value: str


def is_text(node: ast.AST | None) -> TypeGuard[_Text]:
    """Whether `node` is a string literal."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
