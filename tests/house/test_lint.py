"""The linters, the type checker and the import contracts say nothing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent

# What `make lint` runs.
COMMANDS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
)


def complaints(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    return f"{done.stdout}{done.stderr}" if done.returncode else ""


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_is_complained_about(command: tuple[str, ...]) -> None:
    assert complaints([str(TOOLS / command[0]), *command[1:]]) == ""


def test_make_lint_runs_the_same() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    assert [line.partition("/bin/")[2].split() for line in recipe.splitlines() if "/bin/" in line] == [
        list(command) for command in COMMANDS
    ]


def shell_scripts() -> list[Path]:
    candidates = [*ROOT.glob(".ci/*"), *ROOT.glob("vagrant/*"), *ROOT.glob("tests/images/**/*.sh")]
    return sorted(path for path in candidates if path.is_file() and path.read_bytes().startswith(b"#!/bin/"))


def test_the_shell_scripts_are_found() -> None:
    assert {".ci/run", "vagrant/provision.sh"} <= {str(path.relative_to(ROOT)) for path in shell_scripts()}


@pytest.mark.parametrize("script", shell_scripts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_shellcheck(script: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("no shellcheck command")
    assert complaints(["shellcheck", str(script)]) == ""
