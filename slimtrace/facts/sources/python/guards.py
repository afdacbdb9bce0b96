"""The conditions under which Python code runs: which parts of a statement loading the file reaches.

Sources: the Python language reference, "Compound statements"; PEP 484 (TYPE_CHECKING, the platform tests).
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

# TYPE_CHECKING, and customary names for "this is Windows", "this is macOS", "this is Python 2".
_FALSE_NAME_WORDS = """
TYPE_CHECKING WIN WINDOWS IS_WIN IS_WINDOWS ON_WINDOWS MSWINDOWS _mswindows is_windows _is_windows is_win
_IS_WINDOWS _WINDOWS _WIN CYGWIN IS_CYGWIN DARWIN MACOS IS_MACOS is_macos PY2 _PY2 IS_PY2 is_py2
"""
_FALSE_NAMES = frozenset(_FALSE_NAME_WORDS.split())


@dataclass(frozen=True, slots=True)
class Branch:
    """Where a node stands: `lazy` in a function, or in code that runs only when the file is the main program;
    `attempt` where another branch may run instead, or an exception is caught."""

    lazy: bool = False
    attempt: bool = False


def branches(node: ast.AST, branch: Branch) -> Iterator[tuple[ast.AST, Branch]]:
    """The nodes below `node` that may name something, each with the branch that it stands in; without those
    that never run on Linux."""
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
            result = _known_result(test)
            if result is not False:
                then = replace(branch, lazy=True) if _is_main_test(test) else branch if result else attempt
                yield from ((child, then) for child in body)
            if result is not True:
                otherwise = branch if result is False else attempt
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


_WITHOUT_MENTIONS = (ast.Name, ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)


def _children(node: ast.AST, fields: tuple[str, ...]) -> Iterator[ast.AST]:
    for field in fields:
        value = getattr(node, field, None)
        for child in value if isinstance(value, list) else (value,):
            if isinstance(child, ast.AST) and not isinstance(child, _WITHOUT_MENTIONS):
                yield child


def _suppresses(item: ast.withitem) -> bool:
    match item.context_expr:
        case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress")):
            return True
    return False


def _is_compound(node: ast.expr) -> bool:
    """Whether a test is made of further tests. As parts of a test these are taken as unknown, so that no
    nesting is followed."""
    return isinstance(node, ast.UnaryOp | ast.BoolOp)


def _is_main_test(test: ast.expr) -> bool:
    """Whether a test is ``__name__ == "__main__"``."""
    match test:
        case ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()]):
            return True
        case ast.Compare(comparators=[ast.Name(id="__name__")], ops=[ast.Eq()]):
            return True
    return False


def _known_result(test: ast.expr) -> bool | None:
    """The result of a test on Linux; None where it is not known."""
    match test:
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in _FALSE_NAMES:
            return False
        case ast.BoolOp(op=ast.And(), values=values):
            return (
                False
                if any(_known_result(part) is False for part in values if not _is_compound(part))
                else None
            )
        case ast.BoolOp(op=ast.Or(), values=values):
            return (
                False
                if all(not _is_compound(part) and _known_result(part) is False for part in values)
                else None
            )
        case ast.Constant(value=value):
            return bool(value)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = None if _is_compound(operand) else _known_result(operand)
            return None if inner is None else not inner
        case ast.Compare(left=left, ops=[operator], comparators=[right]):
            return _platform_comparison(_platform_value(left), operator, right)
        case ast.Call(
            func=ast.Attribute(value=value, attr="startswith"), args=[ast.Constant(value=str(prefix))]
        ):
            platform = _platform_value(value)
            return None if not platform else platform.startswith(prefix)
    return None


def _platform_comparison(platform: str, operator: ast.cmpop, right: ast.expr) -> bool | None:
    """The result of comparing the platform's value with `right`; None where it is not known."""
    if not platform:
        return None
    match right:
        case ast.Constant(value=str(text)):
            equal = text == platform
        case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
            equal = any(isinstance(element, ast.Constant) and element.value == platform for element in elements)
        case _:
            return None
    if isinstance(operator, ast.Eq | ast.In):
        return equal
    return not equal if isinstance(operator, ast.NotEq | ast.NotIn) else None


def _platform_value(node: ast.expr) -> str:
    """The value on Linux of sys.platform, os.name or platform.system(); "" for other expressions."""
    match node:
        case ast.Attribute(value=ast.Name(id="sys"), attr="platform"):
            return "linux"
        case ast.Attribute(value=ast.Name(id="os"), attr="name"):
            return "posix"
        case ast.Call(func=ast.Attribute(value=ast.Name(id="platform"), attr="system")):
            return "Linux"
    return ""
