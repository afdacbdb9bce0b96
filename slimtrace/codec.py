"""Dataclasses to plain JSON values and back, by their type annotations.

The codec knows what the facts are made of: dataclasses, str, int, float, bool, bytes (as base64), enums,
tuples of one type, mappings with str or int keys, optional values, and Any (JSON as it is). Fields that have
their default value are left out, so that a capture stays small and a later slimtrace can add fields.
"""

import base64
import binascii
import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


class Malformed(ValueError):
    """A JSON value that does not fit the type."""


def encode(value: Any) -> Any:
    """`value` as JSON values."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    found = {}
    kind: Any = type(value)
    for name, default in _defaults(kind):
        item = getattr(value, name)
        if item is not default and item != default:
            found[name] = encode(item)
    return found


def decode(kind: type[T], value: Any) -> T:
    """The `kind` that `value`, a JSON value, stands for. Raises Malformed for a value of another shape."""
    wanted: Any = kind
    found: T = _decoder(wanted)(value)
    return found


@cache
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    """A dataclass's fields with their defaults (MISSING for none); private fields are caches and left out."""
    found = []
    for each in dataclasses.fields(kind):
        if not each.name.startswith("_"):
            made = each.default_factory
            found.append((each.name, each.default if made is dataclasses.MISSING else made()))
    return tuple(found)


@cache
def _decoder(kind: Any) -> Callable[[Any], Any]:
    """The function that makes a `kind` from a JSON value; made once for every type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return lambda value: value
    if kind in (str, int, bool):
        return lambda value: value if type(value) is kind else _wrong(kind, value)
    if kind is float:
        return lambda value: float(value) if type(value) in (int, float) else _wrong(kind, value)
    if kind is bytes:
        return _bytes
    if origin in (types.UnionType, typing.Union):
        (inner,) = (_decoder(part) for part in arguments if part is not types.NoneType)
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        item = _decoder(arguments[0])
        return lambda value: (
            tuple([item(part) for part in value]) if type(value) is list else _wrong(kind, value)
        )
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(*arguments)
    if isinstance(kind, type) and issubclass(kind, Enum):
        members = {member.value: member for member in kind}
        return lambda value: (
            members[value] if type(value) in (str, int) and value in members else _wrong(kind, value)
        )
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    raise TypeError(f"internal error: no codec for {kind}")


def _bytes(value: Any) -> bytes:
    if type(value) is not str:
        _wrong(bytes, value)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        _wrong(bytes, value)


def _mapping(key: Any, item: Any) -> Callable[[Any], Any]:
    read = _decoder(item)

    def mapping(value: Any) -> Any:
        if type(value) is not dict:
            _wrong(dict, value)
        if key is int:
            return {_number(name): read(part) for name, part in value.items()}
        return {name: read(part) for name, part in value.items()}

    return mapping


def _number(name: str) -> int:
    if not name.removeprefix("-").isdecimal() or not name.isascii() or len(name) > 20:
        _wrong(int, name)
    return int(name)


def _dataclass(kind: Any) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(kind)
    fields = {name: _decoder(hints[name]) for name, _ in _defaults(kind)}
    required = {name for name, default in _defaults(kind) if default is dataclasses.MISSING}

    def read(value: Any) -> Any:
        if type(value) is not dict or not required <= value.keys():
            _wrong(kind, value)
        # An unknown field was added by a later slimtrace with the same schema: it may be ignored.
        return kind(**{name: fields[name](part) for name, part in value.items() if name in fields})

    return read


def _wrong(kind: Any, value: Any) -> typing.NoReturn:
    name = getattr(kind, "__name__", str(kind))
    raise Malformed(f"{name} expected, {str(value)[:60]!r} found")
