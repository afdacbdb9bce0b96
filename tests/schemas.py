"""The JSON schema of Compose files, as Debian's docker-compose has it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import debian

_NAME = "compose_spec.json"


def compose() -> dict[str, Any]:
    """The schema. Raises debian.Unobtainable."""
    found: dict[str, Any] = json.loads((debian.kept("docker-compose", _take) / _NAME).read_text())
    return found


def _take(unpacked: Path, ready: Path) -> None:
    (schema,) = unpacked.glob(f"usr/lib/python3/dist-packages/compose/config/{_NAME}")
    shutil.copy(schema, ready)
