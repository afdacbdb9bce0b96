"""What Debian's packages hold, in a cache outside of the checkout.

They are fetched and unpacked, not installed: that would set this machine up for what is in them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from vm.kernels import beside


class Unobtainable(Exception):
    """A package that cannot be had, and why."""


def kept(package: str, take: Callable[[Path, Path], None]) -> Path:
    """The folder of what `take` (package unpacked, folder to fill) took, out of the cache or fetched into it.
    Raises Unobtainable."""
    folder = Path(os.environ.get("SLIMTRACE_PACKAGES") or "/var/cache/slimtrace-packages") / package
    try:
        with beside(folder) as ready:
            if ready is not None:
                unpacked = _fetch(package, ready.with_name("apt"))
                ready.mkdir()
                take(unpacked, ready)
    except subprocess.CalledProcessError as failed:
        tail = (failed.stderr or b"").decode(errors="replace").split()[-30:]
        raise Unobtainable(f"cannot fetch {package}: {failed.cmd[0]}: {' '.join(tail)}") from failed
    except OSError as failed:
        raise Unobtainable(f"cannot keep {package}: {failed}") from failed
    return folder


def run(*command: str, cwd: Path | None = None, given: bytes | None = None) -> bytes:
    """Its output. Raises CalledProcessError."""
    done = subprocess.run(command, cwd=cwd, input=given, check=True, capture_output=True, timeout=300)
    return done.stdout


def _fetch(package: str, state: Path) -> Path:
    state.mkdir()
    download = ("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package)
    try:
        run(*download, cwd=state)
    except subprocess.CalledProcessError:  # apt's lists are old, or not there
        run("apt-get", "-qq", "update")
        run(*download, cwd=state)
    (file,) = state.glob("*.deb")
    run("dpkg-deb", "-x", str(file), "unpacked", cwd=state)
    return state / "unpacked"
