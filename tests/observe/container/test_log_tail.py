"""The end of a container's output as a capture keeps it: the last lines, without colours, printable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimtrace.facts.runs import LOG_KEPT
from slimtrace.observe.container.log_tail import LINE_KEPT, kept_lines


@pytest.mark.parametrize(
    ("output", "lines"),
    [
        ("", ()),
        ("one\n", ("one",)),
        ("one\n\ntwo\r\n", ("one", "", "two")),
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\x07text\x1b]2;x\x1b\\", ("red text",)),
        ("\x1b[31", ("\\x1b[31",)),  # an incomplete sequence stays, escaped
        ("a\tb\0\u202ec\x0bd", ("a\\tb\\x00\\u202ec\\x0bd",)),
    ],
)
def test_lines_as_they_are_kept(output: str, lines: tuple[str, ...]) -> None:
    assert kept_lines(output) == lines


def test_the_last_lines_are_kept_and_long_ones_cut() -> None:
    lines = kept_lines("\n".join(str(number) for number in range(LOG_KEPT + 17)))
    assert (len(lines), lines[0], lines[-1]) == (LOG_KEPT, "17", str(LOG_KEPT + 16))
    assert kept_lines("x" * (LINE_KEPT + 1)) == ("x" * LINE_KEPT,)


@given(st.text(st.characters(exclude_categories=[]), max_size=200))
def test_every_line_can_be_shown(output: str) -> None:
    assert all(line.isprintable() for line in kept_lines(output))
