"""The JSON schema of Compose files, from Debian's docker-compose package."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import debian

_NAME = "compose_spec.json"


def compose() -> dict[str, Any]:
    """The schema. Raises debian.Unobtainable."""
    found: dict[str, Any] = json.loads((debian.cached("docker-compose", _extract) / _NAME).read_text())
    return found


def _extract(unpacked: Path, staging: Path) -> None:
    (schema,) = unpacked.glob(f"usr/lib/python3/dist-packages/compose/config/{_NAME}")
    shutil.copy(schema, staging)
