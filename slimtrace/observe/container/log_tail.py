"""The end of a container's output, as a capture keeps it."""

import re

from slimtrace.facts.paths import printable
from slimtrace.facts.runs import LOG_KEPT

LINE_KEPT = 1000  # characters of a line of output in a capture
# ECMA-48: control sequences (colours), and xterm's operating system commands (titles)
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")


def kept_lines(output: str) -> tuple[str, ...]:
    """The last lines of a container's output as a capture keeps them: without colours, printable, and
    each at most LINE_KEPT characters long."""
    lines = [_ESCAPES.sub("", line.rstrip("\r"))[:LINE_KEPT] for line in output.rstrip("\n").split("\n")]
    return tuple(printable(line) for line in lines[-LOG_KEPT:]) if output else ()
