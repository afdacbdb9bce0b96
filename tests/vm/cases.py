"""What is recorded in a machine: the workloads of tests/host/test_probes.py."""

from __future__ import annotations

from typing import Any

from host import test_probes
from vm.guest import PLACES, Case


def rows_of(test: Any) -> list[tuple[Any, ...]]:
    """What a test is parametrized with."""
    return list(next(mark.args[1] for mark in test.pytestmark if mark.name == "parametrize"))


LISTENS = ("127.0.0.1,8017", "0.0.0.0,8039", "::,8053", "127.0.0.53,0", "::,0", "-4", "-6")
# One where every fact has a directory: what names none is told once, whichever container it is.
PLACED = ("chroots",)
CASES = [
    Case(("leaf",)),
    *(Case((name,), user) for name, user, _ in rows_of(test_probes.test_files) if name != "leaf"),
    *(Case(("deep", str(count), str(width))) for count, width, _ in rows_of(test_probes.test_deep_paths)),
    Case(("deep", "3001", "1")),
    Case(("descriptors",), cap_add=test_probes.LOOKS_BY_HANDLE),
    *(
        Case((name,))
        for name in ("threads", "forks", "execs", "rare", "capable", "clones", "x32", "rings", "values")
    ),
    Case(("listens", *LISTENS)),
    *(Case(PLACED, place=place) for place in PLACES if place != "plain"),
]
