"""YAML for people to read, of mappings, lists and scalars (yaml.org/spec/1.2.2).

Every string is quoted, so that none can pass for a number, a boolean or a new line, and so is a key that could.
Lists hold scalars and mappings.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from slimtrace.facts import paths

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_NO_KEYS = frozenset(
    ("false", "n", "no", "null", "off", "on", "true", "y", "yes")
)  # what YAML 1.1 has for them


def document(value: Mapping[str, Any], comments: Iterable[str] = ()) -> str:
    """A whole file: the comments, a line each, then the mapping. Empty mappings and lists are left out, None
    stands for an empty mapping."""
    head = (f"# {paths.printable(comment)}" for comment in comments)
    return "".join(f"{line}\n" for line in (*head, *_mapping(value, "")))


def quoted(text: str) -> str:
    """A double-quoted scalar: what is not plain ASCII is an escape (5.7), bytes that are not UTF-8 come out as
    text that says so, since YAML has no other bytes."""
    text = "".join(paths.printable(char) if 0xD800 <= ord(char) <= 0xDFFF else char for char in text)
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    code = ord(char)
    if char in '"\\':
        return f"\\{char}"
    if 0x20 <= code < 0x7F:
        return char
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _mapping(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, item in value.items():
        if not _KEY.fullmatch(key) or key.lower() in _NO_KEYS:
            key = quoted(key)
        if isinstance(item, Mapping | list | tuple):
            if item:
                yield f"{indent}{key}:"
                yield from (
                    _mapping(item, indent + "  ") if isinstance(item, Mapping) else _list(item, indent + "  ")
                )
            continue
        yield f"{indent}{key}: {_scalar(item)}"


def _list(value: Iterable[Any], indent: str) -> Iterator[str]:
    for item in value:
        if isinstance(item, Mapping):
            first, *rest = _mapping(item, indent + "  ") if item else (f"{indent}  {{}}",)
            yield f"{indent}- {first.strip()}"
            yield from rest
        else:
            yield f"{indent}- {_scalar(item)}"


def _scalar(value: str | int | bool | None) -> str:
    if value is None:
        return "{}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else quoted(value)
