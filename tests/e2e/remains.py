"""A build in a corner of its own, and what it has left there and in the engine."""

import hashlib
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from builds import PROGRAM
from containers import docker

from slimtrace.engine.temporary_tags import CANDIDATE
from slimtrace.owner import identity

LABEL = "slimtrace.run"


@dataclass(frozen=True)
class Corner:
    """Where one build works. `before` is the id of the image that had the slim name already, empty if none."""

    folder: Path
    slim: str
    before: str = ""

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def artifacts(self) -> Path:
        return self.folder / "out" / "artifacts"

    def command(self, image: str, *options: str) -> list[str]:
        """The build; of the options that come twice the last one counts."""
        given = ("--tag", self.slim, "--artifacts", str(self.artifacts))
        return [PROGRAM, "build", *given, *options, image]

    def start(self, command: Sequence[str], **environment: str) -> "Running":
        return Running(self, command, environment)


class Running:
    """A build that goes on; its output is in files, so that it never waits for a reader."""

    def __init__(self, corner: Corner, command: Sequence[str], environment: dict[str, str]) -> None:
        self._corner = corner
        self._out, self._err = corner.folder / "stdout", corner.folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=corner.folder,
                env={**os.environ, "SLIMTRACE_STATE": str(corner.state), **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self.owner = identity(self.process.pid)

    @property
    def stdout(self) -> str:
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        return self._err.read_text()

    def wait(self, seconds: float = 120) -> int:
        """The exit code as a shell tells it."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        return 128 - code if code < 0 else code


def containers(build: Running) -> list[str]:
    return docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={build.owner}").split()


def work(corner: Corner) -> list[str]:
    """The work directories, and what is mounted there."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(corner.state) in line]
    return [str(path) for path in corner.state.glob("run/*")] + mounts


def slim_id(corner: Corner) -> str:
    """The id of the image with the slim name; empty if there is none."""
    return docker("images", "--quiet", "--no-trunc", corner.slim)


def candidates(build: Running) -> list[str]:
    """The names of the images that it has only tried."""
    there = docker("images", "--format", "{{.Repository}}:{{.Tag}}", CANDIDATE).split()
    return [name for name in there if f":{build.owner.replace(':', '-')}-" in name]


def left(corner: Corner, build: Running) -> list[str]:
    """What nobody is to find after a build, however it went."""
    return [
        *(f"container {name}" for name in containers(build)),
        *(f"image {name}" for name in candidates(build)),
        *work(corner),
    ]


def remains(corner: Corner, build: Running) -> list[str]:
    """What a build has left that came to nothing."""
    found = left(corner, build)
    if slim_id(corner) != corner.before:
        found.append(f"{corner.slim} is {slim_id(corner) or 'gone'}, not {corner.before or 'nothing'}")
    return found + [str(path) for path in corner.artifacts.parent.glob("*") if corner.artifacts.parent.is_dir()]


def unfinished(corner: Corner, build: Running) -> list[str]:
    """What is missing, or left, of a build that has succeeded."""
    found = left(corner, build)
    if slim_id(corner) in ("", corner.before):
        found.append(f"{corner.slim} is not there")
    if [path.name for path in corner.artifacts.parent.iterdir()] != ["artifacts"]:
        found.append(f"in {corner.artifacts.parent}: {list(corner.artifacts.parent.iterdir())}")
    for line in (corner.artifacts / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ", 1)
        if hashlib.sha256((corner.artifacts / name).read_bytes()).hexdigest() != digest:
            found.append(f"{name} is damaged")
    return found


def volumes(marker: str) -> set[str]:
    """The volumes that hold the file `marker`."""
    root = Path(docker("info", "--format", "{{.DockerRootDir}}"))
    return {path.parents[1].name for path in root.glob(f"volumes/*/_data/{marker}")}


def running(word: str) -> list[str]:
    """The processes that have `word` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if word.encode() in path.read_bytes():
                found.append(path.parent.name)
    return found
