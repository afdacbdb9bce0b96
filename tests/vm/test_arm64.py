"""The probes on arm64, where SLIMTRACE_VM_KERNELS names a kernel for it (kernels/README.md).

arm64 has only the newer system calls, those that take a directory: the workloads are compiled to use them, and
the probes have to report those names.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from host import test_probes
from vm import foreign_root, recording
from vm.cases import CASES, LAYOUT_WORKLOAD, rows_of
from vm.guest import Case
from vm.kernels import chosen, obtain
from vm.machine import Machine
from vm.recording import Recording
from workloads.harness import Seen, pack_image

from slimtrace.engine import Launch
from slimtrace.facts.events import FileUse, Origin, Phase

KERNELS = chosen("arm64")
if not KERNELS:
    pytest.skip("SLIMTRACE_VM_KERNELS names no kernel for arm64", allow_module_level=True)

pytestmark = pytest.mark.requires("vm-arm64")

COMPILER = ("aarch64-linux-gnu-gcc", "-include", str(Path(__file__).with_name("newer_syscalls.h")))
# The system call that newer_syscalls.h makes of each older one.
NEWER = {
    "open": "openat", "creat": "openat", "stat": "newfstatat", "lstat": "newfstatat", "access": "faccessat",
    "readlink": "readlinkat", "mkdir": "mkdirat", "mknod": "mknodat", "symlink": "symlinkat", "link": "linkat",
    "rename": "renameat", "chmod": "fchmodat", "chown": "fchownat", "lchown": "fchownat", "utime": "utimensat",
    "utimes": "utimensat", "futimesat": "utimensat", "unlink": "unlinkat", "rmdir": "unlinkat",
    "getdents": "getdents64",
}  # fmt: skip
FOREIGN = {"compat", "x32"}  # workloads of x86's other ABIs
OLDER = {"openat": "open", "readlinkat": "readlink", "renameat": "rename"}

test_deep_paths = test_probes.test_deep_paths
test_more_names_than_the_kernel_follows = test_probes.test_more_names_than_the_kernel_follows
test_two_threads = test_probes.test_two_threads
test_forks = test_probes.test_forks
test_execs = test_probes.test_execs
test_listening_sockets = test_probes.test_listening_sockets
test_calls_by_phase = test_probes.test_calls_by_phase
test_a_refused_call_is_known = test_probes.test_a_refused_call_is_known
test_sockets = test_probes.test_sockets
test_io_uring = test_probes.test_io_uring


@pytest.fixture(scope="module", params=KERNELS)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    root = foreign_root.root("arm64")
    image = pack_image(tmp_path_factory.mktemp("workloads"), COMPILER, without=FOREIGN)
    app = root / foreign_root.APP
    shutil.copy(image, app)
    at = Path("/") / foreign_root.APP
    cases = [case for case in CASES if case.command[0] not in FOREIGN]
    command = recording.guest("python3", at, at / image.name, cases)
    return recording.record(Machine(obtain(request.param), root=root), [*foreign_root.PREPARE, *command])


@pytest.fixture
def tag() -> str:
    return ""


@pytest.fixture(autouse=True)
def _answered_from_the_recording(engine: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    def trace(*arguments: object, **options: object) -> Seen:
        seen = engine.trace(*arguments, **options)
        return replace(seen, uses=[replace(use, call=OLDER.get(use.call, use.call)) for use in seen.uses])

    monkeypatch.setattr(test_probes, "trace", trace)


def newer(uses: Iterable[FileUse]) -> list[FileUse]:
    """The file uses under the names of the newer calls; those that become equal by that are reported once."""
    return list(dict.fromkeys(replace(use, call=NEWER.get(use.call, use.call)) for use in uses))


FILES = [row for row in rows_of(test_probes.test_files) if row[0] not in FOREIGN]


@pytest.mark.parametrize(("program", "user", "expected"), FILES)
def test_files(engine: Recording, tag: str, program: str, user: str, expected: list[FileUse]) -> None:
    code = 5 if program == "leaf" else 0
    seen = test_probes.trace(engine, tag, program, launch=Launch(user=user), code=code)
    assert newer(test_probes.file_uses(seen)) == newer(expected)
    assert (seen.lost, seen.unreadable, seen.cgroups) == (0, 0, 1)


def test_files_by_descriptor(engine: Recording, tag: str) -> None:
    seen = test_probes.trace(engine, tag, "descriptors", launch=Launch(cap_add=test_probes.LOOKS_BY_HANDLE))
    assert newer(test_probes.file_uses(seen)) == newer(test_probes.DESCRIPTORS)
    assert (seen.lost, seen.unreadable) == (0, 0)


@pytest.mark.parametrize(("layout", "cgroups"), [("systemd", 1), ("nested", 2), ("elsewhere", 0)])
def test_the_cgroup_is_found(engine: Recording, layout: str, cgroups: int) -> None:
    code, seen = engine.cases[Case(LAYOUT_WORKLOAD, layout=layout)]
    assert (code, seen.cgroups) == (0, cgroups)
    uses = [replace(use, call=OLDER.get(use.call, use.call)) for use in seen.uses]
    if cgroups:
        assert newer(test_probes.file_uses(replace(seen, uses=uses))) == newer(test_probes.CHROOTS)
    else:
        assert uses == []


def test_capabilities_by_verdict(engine: Recording) -> None:
    (app,) = (
        found
        for found in engine.cases[Case(("capable",))][1].capabilities
        if (found.phase, found.origin) == (Phase.APP, Origin.CONTAINER)
    )
    assert (app.granted, set(app.denied) - {"sys_admin"}) == (("chown",), {"sys_nice"})


def test_no_program_is_skipped_and_no_warning_is_logged(engine: Recording) -> None:
    assert (engine.recursion_misses, engine.kernel_warnings) == (0, ())
