"""The workloads that are recorded in a virtual machine: those of tests/host/test_probes.py."""

from __future__ import annotations

from typing import Any

from host import test_probes
from vm.guest import CGROUP_LAYOUTS, Case


def rows_of(test: Any) -> list[tuple[Any, ...]]:
    """The rows of a test's pytest.mark.parametrize."""
    return list(next(mark.args[1] for mark in test.pytestmark if mark.name == "parametrize"))


LISTENS = ("127.0.0.1,8017", "0.0.0.0,8039", "::,8053", "127.0.0.53,0", "::,0", "-4", "-6")
# The workload for the cgroup layouts. Each of its file uses has a base directory of its container's own
# overlay: a use without one is reported once for all the containers that share the probes.
LAYOUT_WORKLOAD = ("chroots",)
CASES = [
    Case(("leaf",)),
    *(Case((name,), user) for name, user, _ in rows_of(test_probes.test_files) if name != "leaf"),
    *(Case(("deep", str(count), str(width))) for count, width, _ in rows_of(test_probes.test_deep_paths)),
    Case(("deep", "3001", "1")),
    Case(("descriptors",), cap_add=test_probes.LOOKS_BY_HANDLE),
    *(
        Case((name,))
        for name in ("threads", "forks", "execs", "rare", "capable", "clone3", "x32", "io_uring", "values")
    ),
    Case(("listens", *LISTENS)),
    *(Case(LAYOUT_WORKLOAD, layout=layout) for layout in CGROUP_LAYOUTS if layout != "plain"),
]
