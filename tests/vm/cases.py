"""What is recorded in a machine: the workloads of tests/host/test_probes.py, by sittings."""

from __future__ import annotations

from typing import Any

from host import test_probes
from vm.guest import PLACES, Case


def rows_of(test: Any) -> list[tuple[Any, ...]]:
    """What a test is parametrized with."""
    return list(next(mark.args[1] for mark in test.pytestmark if mark.name == "parametrize"))


LISTENS = ("127.0.0.1,8017", "0.0.0.0,8039", "::,8053", "127.0.0.53,0", "::,0", "-4", "-6")
# One where every fact has a directory: what names none is told once a sitting, whichever container it is.
PLACED = ("chroots",)
# Each sitting has probes of its own. Sets of calls and capabilities add up in it: the test that is about them
# has its case at the beginning of one.
SITTINGS = [
    [
        Case(("leaf",)),
        *(Case((name,), user) for name, user, _ in rows_of(test_probes.test_files) if name != "leaf"),
        *(Case(("deep", str(count), str(width))) for count, width, _ in rows_of(test_probes.test_deep_paths)),
        Case(("deep", "3001", "1")),
        Case(("descriptors",), cap_add=test_probes.LOOKS_BY_HANDLE),
        Case(("threads",)),
        Case(("forks",)),
        Case(("execs",)),
        Case(("listens", *LISTENS)),
        *(Case(PLACED, place=place) for place in PLACES if place != "plain"),
    ],
    [Case(("rare",))],
    [Case(("capable",))],
    [Case(("clones",))],
    [Case(("compat",))],
    [Case(("x32",))],
    [Case(("rings",))],
]
