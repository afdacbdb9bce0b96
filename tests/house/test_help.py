"""The README tells what `slimtrace VERB --help` prints, word for word.

    .venv/bin/python tests/house/test_help.py --write

fills the blocks again.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
VERBS = re.findall(r"^<!-- help:(\w+) -->$", README.read_text(), re.MULTILINE)


def block(verb: str) -> re.Pattern[str]:
    """The fenced lines behind the verb's mark: what stands before them, they, what stands behind."""
    return re.compile(rf"(<!-- help:{verb} -->\n```\w*\n)(.*?)(^```$)", re.DOTALL | re.MULTILINE)


def help_of(*verb: str) -> str:
    program = Path(sys.executable).parent / "slimtrace"
    # The width is the README's; a terminal that can do more would be given colours.
    environment = {**os.environ, "COLUMNS": "100", "TERM": "dumb"}
    done = subprocess.run(
        [program, *verb, "--help"], env=environment, capture_output=True, text=True, check=True
    )
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.strip().splitlines())


def write() -> None:
    text = README.read_text()
    for verb in VERBS:
        told = help_of(verb)
        text = block(verb).sub(lambda found, told=told: found[1] + told + found[3], text)
    README.write_text(text)


@pytest.mark.parametrize("verb", VERBS)
def test_the_readme_has_the_help(verb: str) -> None:
    found = block(verb).search(README.read_text())
    assert found, f"README.md has no fenced lines behind <!-- help:{verb} -->"
    assert found[2] == help_of(verb), "tests/house/test_help.py --write fills it again"


def test_every_verb_is_in_the_readme() -> None:
    listed = help_of().partition("Commands:\n")[2]
    assert re.findall(r"^  (\w+)", listed, re.MULTILINE) == list(VERBS)


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    write()
