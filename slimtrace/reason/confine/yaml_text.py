"""YAML for people to read, of mappings, lists and scalars (yaml.org/spec/1.2.2), written by PyYAML.

Every string value is quoted, so that none can pass for a number, a boolean or a new line; so is every key that
could.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from slimtrace.facts import paths

_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_UNBROKEN = 1 << 20  # characters of a line before PyYAML may break it: longer than any path or option


class _Key(str):
    """A key that needs no quotes."""


class _Dumper(yaml.SafeDumper):
    """Lists are indented below their key, and nothing is written as an alias of something that is equal."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(_Key, lambda dumper, key: dumper.represent_scalar("tag:yaml.org,2002:str", str(key)))
_Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


def document(value: Mapping[str, Any], comments: Iterable[str] = ()) -> str:
    """A whole file: the comments, a line each, then the mapping. Empty mappings and lists are left out; None
    stands for an empty mapping. A byte that is not UTF-8 comes out as text that says so: YAML has no such
    bytes."""
    head = "".join(f"# {paths.printable(comment)}\n" for comment in comments)
    return head + yaml.dump(
        _prepared(value), Dumper=_Dumper, sort_keys=False, width=_UNBROKEN, default_flow_style=False
    )


def _prepared(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {
            key: item for key, item in value.items() if item or not isinstance(item, Mapping | list | tuple)
        }
        return {_key(key): _prepared(item) for key, item in kept.items()}
    if isinstance(value, list | tuple):
        return [_prepared(item) for item in value]
    if isinstance(value, str):
        return _text(value)
    return {} if value is None else value


def _key(key: str) -> str:
    """Plain where no reader of YAML 1.1 or 1.2 takes it for anything but a string."""
    resolved = yaml.SafeLoader(key).get_single_data() if _PLAIN_KEY.fullmatch(key) else None
    return _Key(key) if isinstance(resolved, str) and key.lower() not in ("y", "n") else _text(key)


def _text(text: str) -> str:
    return "".join(paths.printable(char) if 0xD800 <= ord(char) <= 0xDFFF else char for char in text)
