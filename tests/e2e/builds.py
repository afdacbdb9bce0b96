"""A finished build by the installed program: its exit code, report and artifacts."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = str(Path(sys.executable).parent / "slimtrace")

Completed = subprocess.CompletedProcess[str]
Program = Callable[..., Completed]


@dataclass(frozen=True)
class Build:
    """A finished `slimtrace build --json`."""

    completed: Completed
    fat: str
    slim: str
    artifacts: Path

    @property
    def report(self) -> dict[str, Any]:
        assert self.completed.returncode == 0, self.completed.stderr
        found: dict[str, Any] = json.loads(self.completed.stdout)
        return found

    @property
    def kept(self) -> set[str]:
        return {file["path"] for file in self.report["files"]}


def slim_of(tag: str) -> str:
    """The name that a slim image is given by default."""
    repository, _, version = tag.rpartition(":")
    return f"{repository}.slim:{version}"
