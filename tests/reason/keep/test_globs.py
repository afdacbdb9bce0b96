"""Globs: what they match, against a plain reading of the rules, and that no path makes them slow."""

import re
import time
from functools import cache

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.reason.keep.globs import glob, matcher


def matches(pattern: str, path: str) -> bool:
    """The rules as they are documented, with nothing clever; for patterns without sets."""

    @cache
    def fits(p: int, s: int) -> bool:
        if p == len(pattern):
            return s == len(path) or path[s] == "/"
        if pattern.startswith("/**/", p):
            if path[s : s + 1] != "/":
                return False
            return any(fits(p + 4, t) for t in range(s + 1, len(path) + 1) if path[t - 1] == "/")
        if pattern.startswith("**", p):
            return any(fits(p + 2, t) for t in range(s, len(path) + 1))
        if pattern[p] == "*":
            end = path.find("/", s)
            return any(fits(p + 1, t) for t in range(s, (len(path) if end < 0 else end) + 1))
        if s == len(path):
            return False
        return (path[s] != "/" if pattern[p] == "?" else pattern[p] == path[s]) and fits(p + 1, s + 1)

    return fits(0, 0)


@given(st.text("ab/*?", max_size=12), st.text("ab/", max_size=14))
@settings(max_examples=examples(2000))
def test_it_means_what_the_rules_say(pattern: str, path: str) -> None:
    assert bool(re.match(glob(pattern), path, re.DOTALL)) == matches(pattern, path)


@given(
    st.lists(st.sampled_from(["/a", "/b", "/**", "/**/", "*", "a*b", "?", "/"]), max_size=7).map("".join),
    st.data(),
)
@settings(max_examples=examples(1000))
def test_patterns_as_people_write_them(pattern: str, data: st.DataObject) -> None:
    path = "".join(data.draw(st.lists(st.sampled_from(["/", "/a", "/b", "ab", "aab", "b"]), max_size=9)))
    assert bool(re.match(glob(pattern), path, re.DOTALL)) == matches(pattern, path)


@pytest.mark.parametrize(
    "text", ["[", "[]", "[!]", "[z-a", "[z-a]", "a[b", "***", "/**/", "(", "\\", "[\\]", "[]]"]
)
def test_any_pattern_is_an_expression(text: str) -> None:
    assert re.compile(glob(text)).match(text) is not None or text in ("[\\]", "[]]")


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_pattern_and_no_path_breaks_it(pattern: str, path: str) -> None:
    found = matcher((pattern, "/x"))
    assert found is not None
    found.match(path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/**/a/**/a/**/a/**/a/**/b", "/a" * 2048),
        ("**a**a**a**a**a**b", "a" * 4096),
        ("/*a*a*a*a*a*a*b", "/" + "a" * 255),
        ("**/*a*a*a*a*a*b", ("/" + "a" * 255) * 16),
        ("**" * 50 + "b", "/a" * 2048),
    ],
)
def test_no_path_makes_it_slow(pattern: str, path: str) -> None:
    begun = time.process_time()
    assert not re.match(glob(pattern), path, re.DOTALL)
    assert time.process_time() - begun < 2


def test_no_patterns_match_nothing() -> None:
    assert matcher(()) is None
