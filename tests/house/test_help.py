"""docs/cli.md has what `slimtrace VERB --help` prints, word for word.

    .venv/bin/python tests/house/test_help.py --write

fills the blocks again.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/cli.md"
VERBS = re.findall(r"^<!-- help:(\w+) -->$", PAGE.read_text(), re.MULTILINE)


def block(verb: str) -> re.Pattern[str]:
    """The fenced lines behind the verb's mark. Groups: mark and opening fence, the lines, closing fence."""
    return re.compile(rf"(<!-- help:{verb} -->\n```\w*\n)(.*?)(^```$)", re.DOTALL | re.MULTILINE)


def help_of(*verb: str) -> str:
    program = Path(sys.executable).parent / "slimtrace"
    # The width is the page's. On a terminal that has colours the help would have them.
    environment = {**os.environ, "COLUMNS": "100", "TERM": "dumb"}
    done = subprocess.run(
        [program, *verb, "--help"], env=environment, capture_output=True, text=True, check=True
    )
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.strip().splitlines())


def write() -> None:
    text = PAGE.read_text()
    for verb in VERBS:
        printed = help_of(verb)
        text = block(verb).sub(lambda found, printed=printed: found[1] + printed + found[3], text)
    PAGE.write_text(text)


@pytest.mark.parametrize("verb", VERBS)
def test_the_page_has_the_help(verb: str) -> None:
    found = block(verb).search(PAGE.read_text())
    assert found, f"docs/cli.md has no fenced lines behind <!-- help:{verb} -->"
    assert found[2] == help_of(verb), "tests/house/test_help.py --write fills it again"


def test_every_verb_is_on_the_page() -> None:
    listed = help_of().partition("Commands:\n")[2]
    assert re.findall(r"^  (\w+)", listed, re.MULTILINE) == list(VERBS)


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    write()
