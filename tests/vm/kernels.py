"""Debian's kernels, fetched by metapackage into a cache outside of the checkout.

    kernel = obtain("6.1")

kernels/matrix.toml lists the kernels and their names: an entry with a `suite` can be fetched. A kernel that is
in the cache is not fetched again; remove its folder to get the newest one.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MATRIX = Path(__file__).parents[2] / "kernels" / "matrix.toml"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# The packages that hold the kernel and its modules: one package up to 6.12, several since 7.x.
PARTS = re.compile(r"linux-(base|binary|image|modules)-\d")


class Unobtainable(Exception):
    """A kernel that cannot be fetched; the message says why."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel. `folder` has lib/modules/RELEASE as depmod wants it."""

    name: str
    release: str
    architecture: str  # as Debian names it
    folder: Path

    @property
    def image(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def modules(self) -> Path:
        return self.folder / "lib/modules" / self.release


def cache() -> Path:
    """The folder of the fetched kernels."""
    return Path(os.environ.get("SLIMTRACE_KERNELS") or "/var/cache/slimtrace-kernels")


def known() -> dict[str, tuple[str, str]]:
    """Suite and architecture of each kernel that can be fetched, by its name."""
    entries = tomllib.loads(MATRIX.read_text())["kernel"]
    return {
        entry["name"]: (entry["suite"], entry.get("architecture", "amd64"))
        for entry in entries
        if "suite" in entry
    }


def chosen(architecture: str) -> list[str]:
    """The kernels of an architecture that the tests run on. Two by default: each takes half a minute. Raises
    ValueError."""
    names = (os.environ.get("SLIMTRACE_VM_KERNELS") or "5.10,6.1").split(",")
    if unknown := set(names) - known().keys():  # an error, not a reason to skip the tests
        wrong, right = ", ".join(sorted(unknown)), ", ".join(known())
        raise ValueError(f"SLIMTRACE_VM_KERNELS names unknown kernels: {wrong}, choose from: {right}")
    return [name for name in names if known()[name][1] == architecture]


def obtain(name: str) -> Kernel:
    """The kernel of that name, out of the cache or fetched into it. Raises Unobtainable."""
    if name not in known():
        raise Unobtainable(f"cannot find kernel {name} in {MATRIX.name}, choose from: {', '.join(known())}")
    suite, architecture = known()[name]
    folder = cache() / name.replace(" ", "-")
    try:
        with create_once(folder) as staging:
            if staging is not None:
                _fetch(suite, architecture, staging)
    except subprocess.CalledProcessError as failed:
        tail = " ".join((failed.stderr or failed.stdout or "").split()[-30:])
        raise Unobtainable(f"cannot fetch kernel {name}: {failed.cmd[0]}: {tail}") from failed
    except OSError as failed:
        raise Unobtainable(f"cannot keep kernel {name}: {failed}") from failed
    (modules,) = (folder / "lib/modules").iterdir()
    return Kernel(name, modules.name, architecture, folder)


@contextmanager
def create_once(folder: Path) -> Iterator[Path | None]:
    """A path at which to make a directory that becomes `folder` at the end, so that `folder` is whole or not
    there; None if `folder` exists. A lock keeps two test runs from making it at the same time."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            yield None
            return
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as scratch:
            yield Path(scratch) / "staging"
            (Path(scratch) / "staging").rename(folder)


def _fetch(suite: str, architecture: str, staging: Path) -> None:
    unpacked = staging.with_name("unpacked")
    for package in _download(suite, architecture, staging.with_name("apt")):
        _run("dpkg-deb", "-x", str(package), str(unpacked))
    (image,) = [*unpacked.glob("boot/vmlinuz-*"), *unpacked.glob("usr/lib/modules/*/vmlinuz")]
    (modules,) = [*unpacked.glob("lib/modules/*"), *unpacked.glob("usr/lib/modules/*")]
    (staging / "lib/modules").mkdir(parents=True)
    shutil.move(image, staging / "vmlinuz")
    shutil.move(modules, staging / "lib/modules" / modules.name)
    _run("depmod", "-b", str(staging), modules.name)


def _download(suite: str, architecture: str, state: Path) -> list[Path]:
    """The package files of a suite's newest cloud kernel. apt works in the folder `state`, so that the host's
    package lists and sources stay as they are."""
    for part in ("lists/partial", "archives/partial"):
        (state / part).mkdir(parents=True)
    (state / "status").touch()
    (state / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n")
    settings = {
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "root",  # apt's own user cannot write here
        "Acquire::Languages": "none",
        "Dir::Cache": str(state),
        "Dir::Etc::SourceList": str(state / "sources.list"),
        "Dir::Etc::SourceParts": "-",
        "Dir::State": str(state),
        "Dir::State::lists": str(state / "lists"),
        "Dir::State::status": str(state / "status"),
    }
    options = [f"-o{key}={value}" for key, value in settings.items()]
    _run("apt-get", *options, "-qq", "update", "--error-on=any")
    metapackage = f"linux-image-cloud-{architecture}"
    asked = ("depends", "--recurse", "--important", "--no-conflicts", "--no-breaks", "--no-replaces")
    names = _run("apt-cache", *options, *asked, metapackage).splitlines()
    parts = sorted({name for name in names if PARTS.match(name)})
    if not parts:
        raise Unobtainable(f"cannot find a kernel behind {metapackage} of {suite}")
    _run("apt-get", *options, "-qq", "download", *parts, cwd=state)
    return sorted(state.glob("*.deb"))


def mirror() -> str:
    """The Debian mirror that this machine's apt uses. Raises Unobtainable."""
    if not KEYRING.exists():
        raise Unobtainable(f"cannot trust a kernel's package: no {KEYRING} (debian-archive-keyring)")
    listed = _run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages")
    places = (line.split() for line in listed.splitlines())
    found = [uri for uri, release in places if uri.endswith("/debian/") and "-security" not in release]
    if not found:
        raise Unobtainable("cannot find a Debian mirror in apt's sources")
    return found[0]


def _run(*command: str, cwd: Path | None = None) -> str:
    # stderr is captured for the error message of a failure; apt's warnings are not shown
    done = subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=600)
    return done.stdout
