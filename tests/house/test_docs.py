"""The documents agree with the code, and their links lead somewhere."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from slimtrace import store
from slimtrace.errors import Exit
from slimtrace.facts.events import (
    CallArguments,
    CallSet,
    CapabilitySet,
    Doubt,
    Exec,
    FileUse,
    FirstCall,
    Listen,
    Mount,
    Socket,
    Trace,
    Use,
)
from slimtrace.facts.runs import Answer, Run, Start
from slimtrace.reason.explain.report import SCHEMA, Report

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")])


def rows(document: str) -> list[list[str]]:
    """The cells of every table row, without heads and rules."""
    lines = (ROOT / document).read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in cells if not set("".join(row)) <= set("-: ")]


def test_the_exit_codes_are_the_enum() -> None:
    documented = [(code, name) for code, name, *_ in rows("docs/exit-codes.md")[1:]]
    assert documented == [(str(code.value), code.name) for code in Exit]


def test_every_exit_code_says_what_happened_and_what_to_do() -> None:
    assert all(len(row) == 4 and all(row) for row in rows("docs/exit-codes.md"))


def test_the_fields_of_the_report_are_documented() -> None:
    text = (ROOT / "docs/artifacts.md").read_text()
    report = text.partition("## creport.json")[2].partition("## capture/")[0]
    documented = set(re.findall(r"`(\w+)`", report))
    missing = {field.name for field in fields(Report)} - documented
    assert not missing
    assert f"This is schema {SCHEMA}." in report


def test_the_fields_of_a_capture_are_documented() -> None:
    text = (ROOT / "docs/captures.md").read_text()
    documented = set(re.findall(r"`(\w+)`", text))
    of_trace = (Trace, FileUse, Exec, Listen, Socket, CallSet, CallArguments, FirstCall, CapabilitySet, Mount)
    kinds = (*of_trace, Doubt, Run, Start, Answer)
    missing = {f"{kind.__name__}.{field.name}" for kind in kinds for field in fields(kind)} - {
        f"{kind.__name__}.{name}" for kind in kinds for name in documented
    }
    assert not missing
    assert {f"`{use}`" for use in Use} <= set(re.findall(r"`\w+`", text))
    assert f"This is schema {store.SCHEMA};" in text
    assert all(f"`{name}`" in text for name in store.FILES)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), target


def test_the_readme_begins_with_the_two_commands() -> None:
    head = (ROOT / "README.md").read_text()[:500]
    assert "make demo" in head
    assert "make test" in head
