"""package.json of npm (https://docs.npmjs.com/cli/configuring-npm/package-json)."""

import json
from typing import Any, BinaryIO

from slimtrace.facts.manifests.text import text
from slimtrace.facts.packages import Manifest


def package(stream: BinaryIO) -> tuple[Manifest, ...]:
    """The package, as one manifest; none without a name."""
    try:
        package_json = json.loads(text(stream))
    except (ValueError, RecursionError):
        return ()
    if not isinstance(package_json, dict) or not _text(package_json.get("name")):
        return ()
    licenses = package_json.get("license") or package_json.get("licenses") or ()
    names = map(_license, licenses if isinstance(licenses, list) else [licenses])
    found = tuple(dict.fromkeys(name for name in names if name))[:64]
    return (Manifest(_text(package_json["name"]), _text(package_json.get("version")), licenses=found),)


def _license(value: Any) -> str:
    """A name, or in old packages an object with the name as its type."""
    return _text(value.get("type") if isinstance(value, dict) else value)


def _text(value: Any) -> str:
    return value[:500] if isinstance(value, str) else ""
