"""Debian's SELinux policy, as CIL that secilc takes, in a cache outside of the checkout.

The package is fetched and unpacked, not installed: installing it would set this machine up for SELinux.
"""

from __future__ import annotations

import bz2
import os
import subprocess
from pathlib import Path

from vm.kernels import beside

PACKAGE = "selinux-policy-default"
PP = Path("/usr/libexec/selinux/hll/pp")  # policycoreutils: a module of the old form to CIL
# What of the policy stands for users and roles that other modules have.
_OTHERS = ("(selinuxuser ", "(selinuxuserdefault ")


class Unobtainable(Exception):
    """A policy that cannot be had, and why."""


def base() -> Path:
    """The base module, out of the cache or fetched into it. Raises Unobtainable."""
    folder = Path(os.environ.get("SLIMTRACE_POLICIES") or "/var/cache/slimtrace-policies") / PACKAGE
    try:
        with beside(folder) as ready:
            if ready is not None:
                _fetch(ready)
    except subprocess.CalledProcessError as failed:
        tail = (failed.stderr or b"").decode(errors="replace").split()[-30:]
        raise Unobtainable(f"cannot fetch {PACKAGE}: {failed.cmd[0]}: {' '.join(tail)}") from failed
    except OSError as failed:
        raise Unobtainable(f"cannot keep {PACKAGE}: {failed}") from failed
    return folder / "base.cil"


def _fetch(ready: Path) -> None:
    state = ready.with_name("apt")
    state.mkdir()
    download = ("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", PACKAGE)
    try:
        _run(*download, cwd=state)
    except subprocess.CalledProcessError:  # apt's lists are old, or not there
        _run("apt-get", "-qq", "update")
        _run(*download, cwd=state)
    (package,) = state.glob("*.deb")
    _run("dpkg-deb", "-x", str(package), "unpacked", cwd=state)
    (module,) = state.glob("unpacked/usr/share/selinux/default/base.pp*")
    data = module.read_bytes()
    text = _run(str(PP), given=bz2.decompress(data) if module.suffix == ".bz2" else data).decode()
    lines = [line for line in text.splitlines() if not line.startswith(_OTHERS)]
    ready.mkdir()
    (ready / "base.cil").write_text("\n".join(lines) + "\n")


def _run(*command: str, cwd: Path | None = None, given: bytes | None = None) -> bytes:
    done = subprocess.run(command, cwd=cwd, input=given, check=True, capture_output=True, timeout=300)
    return done.stdout
