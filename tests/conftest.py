"""What a test needs of the machine, and what happens where that is missing.

    @pytest.mark.requires("docker", "cc")

A test whose needs are not met is skipped, and says why. Where skipping would hide
something, as in continuous integration, SLIMTRACE_REQUIRE names (comma-separated)
the features that must be there: missing one of those is then a failure.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import examples
import pytest
import shared

IMAGES = Path(__file__).parent / "images"


def _root() -> str:
    return "" if os.geteuid() == 0 else "not root"


def _bpf() -> str:
    if reason := _root():
        return reason
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return "the kernel has no BTF (/sys/kernel/btf/vmlinux)"
    if importlib.util.find_spec("bcc") is None:
        return "no Python module bcc (python3-bpfcc, in an environment with --system-site-packages)"
    return ""


def _docker() -> str:
    if shutil.which("docker") is None:
        return "no docker command"
    answer = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return "" if answer.returncode == 0 else f"no Docker daemon answers: {answer.stderr.strip()}"


def _images() -> str:
    return _docker() or _command("mmdebstrap") or _root()


def _vm(architecture: str = "amd64") -> str:
    # This one downloads what is not in the cache, so that a machine without network skips and says so.
    from vm import kernels, machine

    if reason := machine.missing(architecture):
        return reason
    try:
        for name in kernels.chosen(architecture):
            kernels.obtain(name)
    except kernels.Unobtainable as problem:
        return str(problem)
    return ""


def _vm_arm64() -> str:
    return _command("aarch64-linux-gnu-gcc") or _command("mmdebstrap") or _vm("arm64")


def _podman() -> str:
    return _docker() or _command("podman") or _command("runc") or _root()


def _containerd_store() -> str:
    import engines

    return engines.missing_containerd_store() or _docker() or _root()


def _command(name: str) -> str:
    # Root's daemons and tools are not in everybody's path.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return "" if shutil.which(name, path=path) else f"no {name} command"


def _selinux() -> str:
    # Downloads too, what is not in the cache.
    import debian
    import policies

    if reason := _command("secilc") or _command("sesearch"):
        return reason
    if not policies.PP.exists():
        return f"no {policies.PP} (policycoreutils)"
    try:
        policies.base()
    except debian.Unobtainable as problem:
        return str(problem)
    return ""


def _compose_schema() -> str:
    import debian
    import schemas

    try:
        schemas.compose()
    except debian.Unobtainable as problem:
        return str(problem)
    return ""


# A probe returns nothing if the feature is there, else the reason why it is not.
FEATURES: dict[str, Callable[[], str]] = {
    "root": _root,
    "bpf": _bpf,
    "docker": _docker,
    "images": _images,
    "vfs": lambda: _docker() or _command("dockerd") or _root(),
    "podman": _podman,
    "containerd-store": _containerd_store,
    "cc": lambda: _command("gcc"),
    "runc": lambda: _command("runc"),
    "crun": lambda: _command("crun"),
    "strace": lambda: _command("strace"),
    "vagrant": lambda: _command("vagrant"),
    "apparmor-parser": lambda: _command("apparmor_parser"),
    "selinux": _selinux,
    "compose-schema": _compose_schema,
    "vm": _vm,
    "vm-arm64": _vm_arm64,
    "tmux": lambda: _command("tmux"),
}


@functools.cache
def missing(feature: str) -> str:
    """The reason why a feature is not available, or nothing; asked once a session."""
    return FEATURES[feature]()


def need(*features: str) -> None:
    """Skip the running test unless the machine has all of these, or fail it."""
    if unknown := set(features) - FEATURES.keys():
        pytest.fail(f"no such feature: {', '.join(unknown)}, choose from: {', '.join(FEATURES)}")
    reasons = {feature: reason for feature in features if (reason := missing(feature))}
    # The required ones first: a skip for another reason must not hide them.
    for feature in reasons.keys() & required():
        pytest.fail(f"{feature} is required by SLIMTRACE_REQUIRE: {reasons[feature]}", pytrace=False)
    for feature, reason in reasons.items():
        pytest.skip(f"needs {feature}: {reason}")


def required() -> frozenset[str]:
    return frozenset(os.environ.get("SLIMTRACE_REQUIRE", "").replace(",", " ").split())


def pytest_configure() -> None:
    examples.set_default()
    # A misspelt name would otherwise allow skips without a word.
    if unknown := required() - FEATURES.keys():
        raise pytest.UsageError(f"SLIMTRACE_REQUIRE names unknown features: {', '.join(sorted(unknown))}")


# Programs and packages; the other features are Docker, other runtimes, root, the kernel's tracing and virtual
# machines. `make check` leaves the tests that need one of those out: -m "not machine".
INSTALLED = frozenset({"cc", "strace", "vagrant", "apparmor-parser", "selinux", "compose-schema", "tmux"})


# A conftest of a folder, which comes first, has marked its tests by now; pytest's own -m comes after.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(set(mark.args) - INSTALLED for mark in item.iter_markers("requires")):
            item.add_marker("machine")
    # Side by side the folders of long tests begin first, so that no worker is left alone with one at the end.
    if "PYTEST_XDIST_WORKER" in os.environ:
        long = ["vm", "e2e", "host"]
        folders = {item.path: item.path.relative_to(IMAGES.parent).parts[0] for item in items}
        items.sort(key=lambda item: [*long, folders[item.path]].index(folders[item.path]))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    # Before the fixtures, which may need the same things.
    for mark in item.iter_markers("requires"):
        need(*mark.args)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this session share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the images that workers have shared, in the process that outlives all workers."""
    factory = getattr(session.config, "_tmp_path_factory", None)
    if factory is not None and not hasattr(session.config, "workerinput"):
        shared.remove_images(factory.getbasetemp())


@functools.cache
def _recipes() -> ModuleType:
    """tests/images/build.py, which is a program and no package."""
    spec = importlib.util.spec_from_file_location("slimtrace_test_images", IMAGES / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def image() -> Callable[[str], str]:
    """image("redis") builds that recipe if it is not built yet and returns its tag."""

    def build(name: str) -> str:
        need("images")
        tag: str = _recipes().ensure(name)
        return tag

    return build
