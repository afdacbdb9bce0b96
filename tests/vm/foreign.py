"""A root file system for a machine of another architecture, with what the guest's script needs.

Nothing in it was ever run: the packages are only unpacked.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pyseccomp
from vm.kernels import KEYRING, Unobtainable, beside, cache, mirror
from vm.recording import CHECKOUT

SUITE = "trixie"
PACKAGES = "busybox-static,coreutils,dash,libc-bin,libseccomp2,mount,python3,python3-bpfcc,tar"
PARTS = ("bpf", "kernels", "slimtrace", "tests")  # of the checkout
APP = Path("app")  # where the root has them
# What the packages' scripts would have done that is missed: ctypes finds libraries by ldconfig's cache.
PREPARE = ("sh", "-c", 'ldconfig && exec "$@"', "sh")


def root(architecture: str) -> Path:
    """The root, with this checkout in it. Raises Unobtainable."""
    folder = cache() / f"root-{architecture}"
    with beside(folder) as ready:
        if ready is not None:
            _unpack(architecture, ready)
    app = folder / APP
    shutil.rmtree(app, ignore_errors=True)
    for part in PARTS:
        shutil.copytree(CHECKOUT / part, app / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(str(pyseccomp.__file__), app)  # Debian has no package of it
    return folder


def _unpack(architecture: str, ready: Path) -> None:
    sources = f"deb [signed-by={KEYRING}] {mirror()} {SUITE} main"
    command = ["mmdebstrap", "--quiet", "--variant=extract", f"--architectures={architecture}"]
    command += [f"--include={PACKAGES}", SUITE, str(ready), sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0:
        raise Unobtainable(f"cannot make a root for {architecture}: {done.stderr[-500:]}")
    for name in ("bin", "sbin", "lib"):
        if not (ready / name).exists():
            (ready / name).symlink_to(f"usr/{name}")
    for name in ("proc", "sys", "dev", "run", "root", "tmp"):
        (ready / name).mkdir(exist_ok=True)
