"""How a selection applies the rules, and its doubts."""

from typing import Any

import pytest

from slimtrace.facts.events import CallSet, Doubt, Origin, Phase
from slimtrace.facts.selection import Reason, Why
from slimtrace.reason.explain.report import kept_files
from slimtrace.reason.keep.rules import Rules

from ..trees import capture, read, selected

APP = {"/app/a.py": "file", "/app/doc/b.md": "file", "/app/doc/c/d.md": "file"}


@pytest.mark.parametrize(
    ("pattern", "dropped"),
    [
        ("/app/*.py", {"/app/a.py"}),
        ("/app/*", {"/app/a.py", "/app/doc", "/app/doc/b.md", "/app/doc/c", "/app/doc/c/d.md"}),
        ("/**/*.md", {"/app/doc/b.md", "/app/doc/c/d.md"}),
        ("**.md", {"/app/doc/b.md", "/app/doc/c/d.md"}),
        ("/app/doc", {"/app/doc", "/app/doc/b.md", "/app/doc/c", "/app/doc/c/d.md"}),
        ("/app/do", set()),
        ("/app/doc/?.md", {"/app/doc/b.md"}),
        ("/app/doc/[!b].md", set()),
        ("/app/doc/[a-c].md", {"/app/doc/b.md"}),
        ("/app[/]a.py", set()),
        ("app", set()),
    ],
)
def test_exclude(pattern: str, dropped: set[str]) -> None:
    seen = capture(APP, map(read, APP))
    whole = set(selected(seen).kept)
    assert whole - set(selected(seen, Rules(exclude_patterns=(pattern,))).kept) == dropped


def test_an_excluded_directory_above_a_kept_path_stays() -> None:
    seen = capture({"/a/b": "link /c/d", "/c/d": "file"}, [read("/a/b", "/c/d")])
    chosen = selected(seen, Rules(exclude_patterns=("/a", "/c/d")))
    assert set(chosen.kept) == {"/", "/c"}


def test_exclusion_wins_over_inclusion() -> None:
    rules = Rules(include_paths=("/app",), exclude_patterns=("/app/doc/c",))
    assert set(selected(capture(APP), rules).kept) == {"/", "/app", "/app/a.py", "/app/doc", "/app/doc/b.md"}


@pytest.mark.parametrize(
    ("trace", "codes"),
    [
        ({}, []),
        ({"lost": 3}, ["lost-events"]),
        ({"doubts": (Doubt("odd", "x"),)}, ["odd"]),
        ({"uses": [read("/x", truncated=True)]}, ["truncated-path"]),
        (
            {"uses": [read("/x", truncated=True, pid=5, origin=Origin.EXEC)], "own_execs": (5,)},
            [],
        ),
        ({"calls": (CallSet(Phase.APP, Origin.CONTAINER, nameless=(999,)),)}, ["unknown-call"]),
    ],
)
def test_doubts_of_the_trace(trace: dict[str, Any], codes: list[str]) -> None:
    assert [doubt.code for doubt in selected(capture({}, **trace)).doubts] == codes


def test_an_empty_image_keeps_its_root() -> None:
    assert selected(capture({})).kept == {"/": (Reason(Why.RUNTIME, "the root"),)}


def test_kept_files_count_a_file_with_two_names_once() -> None:
    seen = capture(
        {"/a": "file size=9 inode=4", "/b": "file size=9 inode=4", "/c\n": "file size=1"},
        map(read, ("/a", "/b", "/c\n")),
    )
    found = kept_files(selected(seen), seen.tree)
    assert [(file.path, file.size) for file in found] == [("/", 0), ("/a", 9), ("/b", 0), ("/c\\n", 1)]
    assert found[1].reasons == ("opened the container's start",)
