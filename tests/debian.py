"""Files of Debian packages for the tests, in a cache outside of the checkout.

The packages are downloaded and unpacked, not installed: installing would configure this machine for them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from vm.kernels import create_once


class Unobtainable(Exception):
    """A package that cannot be fetched; the message says why."""


def cached(package: str, extract: Callable[[Path, Path], None]) -> Path:
    """The cache folder of `package`. On a miss the package is fetched, and `extract`(unpacked package, new
    folder) copies what the tests need into that folder. Raises Unobtainable."""
    folder = Path(os.environ.get("SLIMTRACE_PACKAGES") or "/var/cache/slimtrace-packages") / package
    try:
        with create_once(folder) as staging:
            if staging is not None:
                unpacked = _fetch(package, staging.with_name("apt"))
                staging.mkdir()
                extract(unpacked, staging)
    except subprocess.CalledProcessError as failed:
        tail = (failed.stderr or b"").decode(errors="replace").split()[-30:]
        raise Unobtainable(f"cannot fetch {package}: {failed.cmd[0]}: {' '.join(tail)}") from failed
    except OSError as failed:
        raise Unobtainable(f"cannot keep {package}: {failed}") from failed
    return folder


def run(*command: str, cwd: Path | None = None, given: bytes | None = None) -> bytes:
    """The stdout of `command`. Raises CalledProcessError."""
    done = subprocess.run(command, cwd=cwd, input=given, check=True, capture_output=True, timeout=300)
    return done.stdout


def _fetch(package: str, state: Path) -> Path:
    state.mkdir()
    download = ("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package)
    try:
        run(*download, cwd=state)
    except subprocess.CalledProcessError:  # apt's package lists are outdated or missing
        run("apt-get", "-qq", "update")
        run(*download, cwd=state)
    (file,) = state.glob("*.deb")
    run("dpkg-deb", "-x", str(file), "unpacked", cwd=state)
    return state / "unpacked"
