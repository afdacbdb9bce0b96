"""Debian's SELinux policy, as CIL that secilc takes."""

from __future__ import annotations

import bz2
from pathlib import Path

import debian

PP = Path("/usr/libexec/selinux/hll/pp")  # of policycoreutils: translates a policy package (.pp) to CIL
# Statements about users and roles that other modules declare, which are not compiled here.
_OTHERS = ("(selinuxuser ", "(selinuxuserdefault ")


def base() -> Path:
    """The CIL file of the policy's base module. Raises debian.Unobtainable."""
    return debian.cached("selinux-policy-default", _extract) / "base.cil"


def _extract(unpacked: Path, staging: Path) -> None:
    (module,) = unpacked.glob("usr/share/selinux/default/base.pp*")
    data = module.read_bytes()
    text = debian.run(str(PP), given=bz2.decompress(data) if module.suffix == ".bz2" else data).decode()
    lines = [line for line in text.splitlines() if not line.startswith(_OTHERS)]
    (staging / "base.cil").write_text("\n".join(lines) + "\n")
