"""Debian's SELinux policy, as CIL that secilc takes."""

from __future__ import annotations

import bz2
from pathlib import Path

import debian

PP = Path("/usr/libexec/selinux/hll/pp")  # policycoreutils: a module of the old form to CIL
# What of the policy stands for users and roles that other modules have.
_OTHERS = ("(selinuxuser ", "(selinuxuserdefault ")


def base() -> Path:
    """The base module. Raises debian.Unobtainable."""
    return debian.kept("selinux-policy-default", _take) / "base.cil"


def _take(unpacked: Path, ready: Path) -> None:
    (module,) = unpacked.glob("usr/share/selinux/default/base.pp*")
    data = module.read_bytes()
    text = debian.run(str(PP), given=bz2.decompress(data) if module.suffix == ".bz2" else data).decode()
    lines = [line for line in text.splitlines() if not line.startswith(_OTHERS)]
    (ready / "base.cil").write_text("\n".join(lines) + "\n")
