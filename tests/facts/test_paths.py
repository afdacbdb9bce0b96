"""Paths as text: any bytes survive, and nothing that is shown can steer a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimtrace.facts import paths


@given(st.binary())
def test_any_bytes_survive(raw: bytes) -> None:
    assert paths.encode(paths.decode(raw)) == raw


@pytest.mark.parametrize(
    ("given_path", "cleaned"),
    [
        ("", "/"),
        ("/", "/"),
        ("//", "/"),
        ("a", "/a"),
        ("/a/", "/a"),
        ("/a//b/./c", "/a/b/c"),
        ("./a", "/a"),
        ("/a/../b", "/a/../b"),
        ("/a/...", "/a/..."),
    ],
)
def test_clean(given_path: str, cleaned: str) -> None:
    assert paths.clean(given_path) == cleaned


@given(st.text())
def test_cleaning_twice_is_cleaning_once(path: str) -> None:
    assert paths.clean(paths.clean(path)) == paths.clean(path)


@pytest.mark.parametrize(
    ("base", "path", "joined"),
    [("/a", "b", "/a/b"), ("/a", "/b", "/b"), ("/", "b", "/b"), ("/a", "../b", "/a/../b"), ("/a", "", "/a")],
)
def test_join(base: str, path: str, joined: str) -> None:
    assert paths.join(base, path) == joined


def test_parts_of_a_path() -> None:
    assert (paths.parent("/a/b"), paths.parent("/a"), paths.parent("/")) == ("/a", "/", "/")
    assert (paths.name("/a/b"), paths.name("/")) == ("b", "")
    assert list(paths.parents("/a/b/c")) == ["/a/b", "/a", "/"]
    assert list(paths.parents("/")) == []


@pytest.mark.parametrize(
    ("path", "directory", "is_below"),
    [("/a/b", "/a", True), ("/a", "/a", True), ("/ab", "/a", False), ("/a", "/", True), ("/a", "/a/b", False)],
)
def test_below(path: str, directory: str, is_below: bool) -> None:
    assert paths.below(path, directory) is is_below


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/a b", "/a b"),
        ("/ä", "/ä"),
        ("/a\nb", "/a\\nb"),
        ("/\x1b[2J", "/\\x1b[2J"),
        ("/\u202egpj", "/\\u202egpj"),
        (paths.decode(b"/\xff"), "/\\xff"),
        ("/\U000e0001", "/\\U000e0001"),
    ],
)
def test_printable(path: str, shown: str) -> None:
    assert paths.printable(path) == shown


@given(st.text(), st.binary())
def test_whatever_is_shown_is_printable(text: str, raw: bytes) -> None:
    assert paths.printable(text).isprintable()
    assert paths.printable(paths.decode(raw)).isprintable()
