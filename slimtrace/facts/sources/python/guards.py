"""Under which conditions Python code runs: which parts of a statement are reached when a file is loaded.

Python language reference, "Compound statements"; PEP 484 (TYPE_CHECKING) and its list of platform tests.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

# TYPE_CHECKING, and the names that are customary for "this is Windows", "this is Python 2".
_FALSE_WORDS = """
TYPE_CHECKING WIN WINDOWS IS_WIN IS_WINDOWS ON_WINDOWS MSWINDOWS _mswindows is_windows _is_windows is_win
_IS_WINDOWS _WINDOWS _WIN CYGWIN IS_CYGWIN DARWIN MACOS IS_MACOS is_macos PY2 _PY2 IS_PY2 is_py2
"""
_FALSE = frozenset(_FALSE_WORDS.split())


@dataclass(frozen=True, slots=True)
class Branch:
    """Where a node stands: `lazy` in a function, or what only runs as a program; `attempt` where another
    branch may run instead, or a failure is caught."""

    lazy: bool = False
    attempt: bool = False


def branches(node: ast.AST, branch: Branch) -> Iterator[tuple[ast.AST, Branch]]:
    """The nodes below `node` that may name something, each with where it stands; those that never run here are
    left out."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
            inside = replace(branch, lazy=True)
            for child in _children(node, ("body",)):
                yield child, inside
            for child in _children(node, ("args", "decorator_list", "returns")):
                yield child, branch
        case ast.If(test=test, body=body, orelse=orelse):
            attempt = replace(branch, attempt=True)
            yield test, branch
            verdict = _verdict(test)
            if verdict is not False:
                then = replace(branch, lazy=True) if _is_main(test) else branch if verdict else attempt
                yield from ((child, then) for child in body)
            if verdict is not True:
                otherwise = branch if verdict is False else attempt
                yield from ((child, otherwise) for child in orelse)
        case ast.Try() | ast.TryStar():
            attempt = replace(branch, attempt=True)
            guarded = attempt if node.handlers else branch
            yield from ((child, guarded) for child in node.body)
            yield from ((child, attempt) for child in node.handlers)
            yield from ((child, branch) for child in (*node.orelse, *node.finalbody))
        case ast.With(items=items, body=body) if any(map(_suppresses, items)):
            attempt = replace(branch, attempt=True)
            yield from ((child, branch) for child in items)
            yield from ((child, attempt) for child in body)
        case _:
            for child in _children(node, node._fields):
                yield child, branch


_NAMELESS = (ast.Name, ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)


def _children(node: ast.AST, fields: tuple[str, ...]) -> Iterator[ast.AST]:
    for field in fields:
        value = getattr(node, field, None)
        for child in value if isinstance(value, list) else (value,):
            if isinstance(child, ast.AST) and not isinstance(child, _NAMELESS):
                yield child


def _suppresses(item: ast.withitem) -> bool:
    match item.context_expr:
        case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress")):
            return True
    return False


def _nests(node: ast.expr) -> bool:
    """Whether a part of a test is made of tests itself: these are not followed, however deep they go."""
    return isinstance(node, ast.UnaryOp | ast.BoolOp)


def _is_main(test: ast.expr) -> bool:
    match test:
        case ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()]):
            return True
        case ast.Compare(comparators=[ast.Name(id="__name__")], ops=[ast.Eq()]):
            return True
    return False


def _verdict(test: ast.expr) -> bool | None:
    """What a test comes to on Linux; None where that is not known."""
    match test:
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in _FALSE:
            return False
        case ast.BoolOp(op=ast.And(), values=values):
            return False if any(_verdict(one) is False for one in values if not _nests(one)) else None
        case ast.BoolOp(op=ast.Or(), values=values):
            return False if all(not _nests(one) and _verdict(one) is False for one in values) else None
        case ast.Constant(value=value):
            return bool(value)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            found = None if _nests(operand) else _verdict(operand)
            return None if found is None else not found
        case ast.Compare(left=left, ops=[operator], comparators=[right]):
            return _compared(_platform(left), operator, right)
        case ast.Call(
            func=ast.Attribute(value=value, attr="startswith"), args=[ast.Constant(value=str(begin))]
        ):
            of = _platform(value)
            return None if not of else of.startswith(begin)
    return None


def _compared(of: str, operator: ast.cmpop, right: ast.expr) -> bool | None:
    if not of:
        return None
    match right:
        case ast.Constant(value=str(text)):
            equal = text == of
        case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
            equal = any(isinstance(one, ast.Constant) and one.value == of for one in elements)
        case _:
            return None
    if isinstance(operator, ast.Eq | ast.In):
        return equal
    return not equal if isinstance(operator, ast.NotEq | ast.NotIn) else None


def _platform(node: ast.expr) -> str:
    """The value on Linux of an expression that tells platforms apart."""
    match node:
        case ast.Attribute(value=ast.Name(id="sys"), attr="platform"):
            return "linux"
        case ast.Attribute(value=ast.Name(id="os"), attr="name"):
            return "posix"
        case ast.Call(func=ast.Attribute(value=ast.Name(id="platform"), attr="system")):
            return "Linux"
    return ""
