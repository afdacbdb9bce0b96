"""package.json of npm (https://docs.npmjs.com/cli/configuring-npm/package-json)."""

import json
from typing import Any, BinaryIO

from slimtrace.facts.manifests.text import text
from slimtrace.facts.packages import Manifest


def package(stream: BinaryIO) -> tuple[Manifest, ...]:
    """The package, as one manifest; none without a name."""
    try:
        told = json.loads(text(stream))
    except (ValueError, RecursionError):
        return ()
    if not isinstance(told, dict) or not _text(told.get("name")):
        return ()
    licenses = told.get("license") or told.get("licenses") or ()
    names = map(_license, licenses if isinstance(licenses, list) else [licenses])
    found = tuple(dict.fromkeys(name for name in names if name))[:64]
    return (Manifest(_text(told["name"]), _text(told.get("version")), licenses=found),)


def _license(value: Any) -> str:
    """A name, or in old packages an object with the name as its type."""
    return _text(value.get("type") if isinstance(value, dict) else value)


def _text(value: Any) -> str:
    return value[:500] if isinstance(value, str) else ""
