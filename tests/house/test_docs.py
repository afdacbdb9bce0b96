"""The documents agree with the code, and their links and paths lead somewhere."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from documents import PAGES, ROOT, name
from markdown_it import MarkdownIt

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

FOLDERS = r"(?:slimtrace|bpf|tests|kernels|docs|benchmarks|vagrant|\.ci)/"


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
    assert f"This is schema {SCHEMA}." in " ".join(report.split())


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
    assert f"This is schema {store.SCHEMA};" in " ".join(text.split())
    assert all(f"`{name}`" in text for name in store.FILES)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            linked = page.parent / target if target else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """What a heading is linked by: its text in lower case with dashes, without signs, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# The changelog names files as they were called then.
@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name)
def test_the_paths_of_files_are_right(page: Path) -> None:
    assert wrong_paths(page.read_text(), page.parent) == set()


def wrong_paths(text: str, folder: Path) -> set[str]:
    """The paths on a page in `folder` that lead to no file. In code, whatever begins with one of the project's
    folders is a path; everywhere, the name of a Python file is. A path is relative to the checkout or to the
    page's folder, and may be a glob; a Python file may also be named alone, after another one in its folder."""
    inline = (token for token in MarkdownIt("commonmark").enable("table").parse(text) if token.children)
    code = [child.content for token in inline for child in token.children or () if child.type == "code_inline"]
    paths = [span for span in code if re.match(FOLDERS, span)]
    files = re.findall(r"(?<![\w./*-])[\w.][\w./*-]*\.py\b", text)
    folders = {ROOT, folder, *((ROOT / path).parent for path in files if (ROOT / path).is_file())}
    return {path for path in {*paths, *files} if not any(any(each.glob(path)) for each in folders)}


def test_wrong_paths_are_found() -> None:
    right = "`slimtrace/errors.py` and `store.py`, tests/*/test_docs.py, overhead.py, `bpf/`, `slimtrace build`"
    assert wrong_paths(right, ROOT / "benchmarks") == set()
    wrong = {"slimtrace/gone.py", "gone.py", "bpf/exit.c:7", "tests/*/test_gone.py", "store.py"}
    text = (
        "`slimtrace/gone.py` `bpf/exit.c:7` `tests/house/test_docs.py` gone.py, tests/*/test_gone.py, store.py"
    )
    assert wrong_paths(text, ROOT / "benchmarks") == wrong


def test_the_index_has_every_page_with_its_question() -> None:
    entries = re.findall(
        r"^\| \[[^]]+\]\((\S+)\) \| (.*\?) \|$", (ROOT / "docs/README.md").read_text(), re.MULTILINE
    )
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert sorted(page for page, _ in entries if "/" not in page) == sorted(pages)


def test_the_readme_links_the_index() -> None:
    assert "](docs/README.md)" in (ROOT / "README.md").read_text()


def test_the_readme_begins_with_the_two_commands() -> None:
    head = (ROOT / "README.md").read_text()[:500]
    assert "make demo" in head
    assert "make test" in head
