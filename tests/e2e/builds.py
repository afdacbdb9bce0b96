"""A build by the installed program, and what it came to."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = str(Path(sys.executable).parent / "slimtrace")

Done = subprocess.CompletedProcess[str]
Program = Callable[..., Done]


@dataclass(frozen=True)
class Build:
    """A finished `slimtrace build --json`."""

    done: Done
    fat: str
    slim: str
    artifacts: Path

    @property
    def report(self) -> dict[str, Any]:
        assert self.done.returncode == 0, self.done.stderr
        found: dict[str, Any] = json.loads(self.done.stdout)
        return found

    @property
    def kept(self) -> set[str]:
        return {file["path"] for file in self.report["files"]}


def slim_of(tag: str) -> str:
    """The name that a slim image is given by default."""
    repository, _, version = tag.rpartition(":")
    return f"{repository}.slim:{version}"
