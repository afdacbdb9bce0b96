#!/usr/bin/env python3
"""Builds the images the tests and the demonstration run on.

    python3 tests/images/build.py [NAME...]

Each folder beside this file is one recipe and becomes `slimtrace-test/NAME:1`:

    Dockerfile    the image
    *.c           compiled statically on the host and put in the build context
                  without its suffix, for images that start from nothing
    rootfs.sh     run as root in an empty folder, which it fills with what COPY
                  cannot carry (hardlinks, fifos, capabilities, odd names); the
                  folder reaches the build context as rootfs.tar

`base` is the exception: a list of packages, made into an image by mmdebstrap, so
that no image registry is needed. An image carries the hash of its recipe as a
label, and is built again only when that hash changes.

Only the standard library is used: this runs before anything is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
BASE = "slimtrace-test/base:bookworm"
SUITE = "bookworm"
LABEL = "slimtrace.recipe"
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# The habits of the official images: no 80 MB of package cache in every layer that
# calls apt, and no fsync after every file.
DEBSTRAP_OPTIONS = (
    "--quiet",
    "--variant=minbase",
    '--aptopt=Dir::Cache { pkgcache ""; srcpkgcache ""; }',
    "--dpkgopt=force-unsafe-io",
)

# Seconds. Generous: a time-out is for a mirror that hangs, not for a slow one.
BUILD_TIMEOUT = 1200


class ImageError(Exception):
    """An image could not be built; the message is for the user."""


def names() -> list[str]:
    """Every recipe but the base, the large images first."""
    found = [path.parent.name for path in HERE.glob("*/Dockerfile")]
    return sorted(found, key=lambda name: (not made_from(name), name))


def tag_of(name: str) -> str:
    return BASE if name == "base" else f"slimtrace-test/{name}:1"


def ensure(name: str) -> str:
    """Build the image called `name` unless it is there already; return its tag."""
    if name != "base" and name not in names():
        raise ImageError(f"cannot build {name}: there is no such recipe, choose from: {' '.join(names())}")
    if is_current(name):
        return tag_of(name)
    for below in made_from(name):
        ensure(below)
    with lock(name):
        # Another process may have built it while this one waited.
        if not is_current(name):
            build_base() if name == "base" else build_from_dockerfile(name)
    return tag_of(name)


def made_from(name: str) -> list[str]:
    """The recipes that a recipe's FROM lines name."""
    if name == "base":
        return []
    text = (HERE / name / "Dockerfile").read_text()
    found = re.findall(r"^FROM slimtrace-test/([\w-]+):", text, re.MULTILINE)
    return sorted(set(found))


def recipe_hash(name: str) -> str:
    """The hash of a recipe's files and of the recipes that its FROM lines name."""
    digest = hashlib.sha256()
    folder = HERE / name
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            executable = os.access(path, os.X_OK)
            digest.update(f"{path.relative_to(folder)}\0{executable}\0{len(content)}\0".encode())
            digest.update(content)
    if name == "base":
        digest.update("\0".join((SUITE, *DEBSTRAP_OPTIONS)).encode())
    for below in made_from(name):
        digest.update(recipe_hash(below).encode())
    return digest.hexdigest()[:16]


def is_current(name: str) -> bool:
    wanted = f'{{{{index .Config.Labels "{LABEL}"}}}}'
    answer = subprocess.run(
        ["docker", "image", "inspect", "--format", wanted, tag_of(name)],
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.returncode == 0 and answer.stdout.strip() == recipe_hash(name)


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the lock of one image: only one process at a time builds it."""
    path = Path(tempfile.gettempdir()) / f"slimtrace-test-image-{name}.lock"
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def build_base() -> None:
    """Pipe mmdebstrap's archive, nearly a gigabyte, into `docker import`."""
    if shutil.which("mmdebstrap") is None:
        raise ImageError("cannot build the base image: mmdebstrap is not installed, run `make images`")
    lines = (HERE / "base" / "packages.txt").read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    config = [f"ENV PATH={DEFAULT_PATH}", 'CMD ["bash"]', f"LABEL {LABEL}={recipe_hash('base')}"]
    with tempfile.TemporaryFile() as complaints:
        debstrap = subprocess.Popen(
            ["mmdebstrap", *DEBSTRAP_OPTIONS, f"--include={','.join(packages)}", SUITE, "-"],
            stdout=subprocess.PIPE,
            stderr=complaints,
        )
        # The tag is set only once both mmdebstrap and `docker import` are known to have succeeded.
        imported = subprocess.run(
            ["docker", "import", *(word for line in config for word in ("--change", line)), "-"],
            stdin=debstrap.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
        if debstrap.stdout is not None:
            debstrap.stdout.close()
        failed = debstrap.wait() != 0
        complaints.seek(0)
        said = complaints.read().decode(errors="replace")
    image = imported.stdout.strip()
    if failed or imported.returncode != 0:
        if image:
            subprocess.run(["docker", "rmi", image], capture_output=True, check=False)
        raise ImageError(f"cannot build the base image:\n{tail(said + imported.stderr)}")
    subprocess.run(["docker", "tag", image, BASE], check=True)


def build_from_dockerfile(name: str) -> None:
    with tempfile.TemporaryDirectory(prefix="slimtrace-image-") as temporary:
        context = Path(temporary) / "context"
        shutil.copytree(HERE / name, context)
        add_ca_bundle(context)
        compile_programs(name, context)
        pack_rootfs(name, context, Path(temporary) / "rootfs")
        # --force-rm: a failed step must not leave its container behind. The
        # build uses the host's network, which is known to reach the mirrors.
        options = ["--force-rm", "--network=host", f"--label={LABEL}={recipe_hash(name)}"]
        command = ["docker", "build", *options, "--tag", tag_of(name), str(context)]
        run(name, command, env={**os.environ, **builder_choice()})


def add_ca_bundle(context: Path) -> None:
    """Copy the host's CA certificates into the context, so that pip and npm trust a proxy that the host trusts.

    Only recipes that mention host-ca.crt get it. Raises ImageError where the host has no bundle at Debian's
    path: pip and npm fail with an empty file.
    """
    if "host-ca.crt" not in (context / "Dockerfile").read_text():
        return
    if not CA_BUNDLE.is_file():
        raise ImageError(f"cannot read {CA_BUNDLE}: install the package ca-certificates")
    shutil.copyfile(CA_BUNDLE, context / "host-ca.crt")


def compile_programs(name: str, context: Path) -> None:
    for source in sorted(context.glob("*.c")):
        program = source.with_suffix("")
        run(name, ["gcc", "-static", "-Os", "-s", "-Wall", "-Wextra", "-o", str(program), str(source)])


def pack_rootfs(name: str, context: Path, root: Path) -> None:
    """Run rootfs.sh and pack its folder, with sorted names and one mtime, so that a recipe gives the same layer
    each time."""
    script = context / "rootfs.sh"
    if not script.is_file():
        return
    root.mkdir(mode=0o755)
    run(name, ["sh", str(script), str(context)], cwd=root)
    exact = ["--format=pax", "--xattrs", "--xattrs-include=*", "--numeric-owner"]
    stable = ["--sort=name", "--mtime=2024-01-01 00:00:00Z"]
    archive = str(context / "rootfs.tar")
    run(name, ["tar", "--create", "--file", archive, "--directory", str(root), *exact, *stable, "."])


def builder_choice() -> dict[str, str]:
    """BuildKit where it is installed, else the builder inside the daemon."""
    asked = subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False)
    return {"DOCKER_BUILDKIT": "1" if asked.returncode == 0 else "0"}


def run(name: str, command: list[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run one step of building the image `name`; its output is shown only in the ImageError of a failure."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=BUILD_TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        raise ImageError(f"cannot build {name}: {command[0]} is not installed, run `make images`") from None
    except subprocess.TimeoutExpired:
        raise ImageError(f"cannot build {name}: {command[0]} took more than {BUILD_TIMEOUT} s") from None
    if done.returncode != 0:
        raise ImageError(f"cannot build {name}: {command[0]} failed:\n{tail(done.stdout)}")


def tail(text: str, lines: int = 20) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])


def size_of(tag: str) -> int:
    command = ["docker", "image", "inspect", "--format", "{{.Size}}", tag]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the test images that are missing or out of date.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all, of {' '.join(names())}")
    chosen: list[str] = parser.parse_args().names or ["base", *names()]
    if shutil.which("docker") is None:
        print("cannot build images: the docker command is not installed, run `make images`", file=sys.stderr)
        return 1
    for name in chosen:
        started = time.monotonic()
        try:
            before = name in ("base", *names()) and is_current(name)
            tag = ensure(name)
        except ImageError as error:
            print(error, file=sys.stderr)
            return 1
        took = "present" if before else f"{time.monotonic() - started:.1f} s"
        print(f"{tag:36} {size_of(tag) / 1e6:8.1f} MB  {took}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
