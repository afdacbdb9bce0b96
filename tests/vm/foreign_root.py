"""A root file system for a virtual machine of another architecture, with what tests/vm/guest.py needs.

The packages are only unpacked: their maintainer scripts have not run.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pyseccomp
from vm.kernels import KEYRING, Unobtainable, cache, create_once, mirror
from vm.recording import CHECKOUT

SUITE = "trixie"
PACKAGES = "busybox-static,coreutils,dash,libc-bin,libseccomp2,mount,python3,python3-bpfcc,tar"
PARTS = ("bpf", "kernels", "slimtrace", "tests")  # of the checkout
APP = Path("app")  # the folder of the root that holds these parts
# Does what the packages' scripts would have done: ctypes finds libraries by ldconfig's cache.
PREPARE = ("sh", "-c", 'ldconfig && exec "$@"', "sh")


def root(architecture: str) -> Path:
    """The folder of the root file system, with this checkout copied into it. Raises Unobtainable."""
    folder = cache() / f"root-{architecture}"
    with create_once(folder) as staging:
        if staging is not None:
            _unpack(architecture, staging)
    app = folder / APP
    shutil.rmtree(app, ignore_errors=True)
    for part in PARTS:
        shutil.copytree(CHECKOUT / part, app / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(str(pyseccomp.__file__), app)  # Debian has no package of pyseccomp
    return folder


def _unpack(architecture: str, staging: Path) -> None:
    sources = f"deb [signed-by={KEYRING}] {mirror()} {SUITE} main"
    command = ["mmdebstrap", "--quiet", "--variant=extract", f"--architectures={architecture}"]
    command += [f"--include={PACKAGES}", SUITE, str(staging), sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0:
        raise Unobtainable(f"cannot make a root for {architecture}: {done.stderr[-500:]}")
    for name in ("bin", "sbin", "lib"):
        if not (staging / name).exists():
            (staging / name).symlink_to(f"usr/{name}")
    for name in ("proc", "sys", "dev", "run", "root", "tmp"):
        (staging / name).mkdir(exist_ok=True)
