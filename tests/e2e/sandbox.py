"""A build with a working folder, a state folder and an artifact folder of its own, and what it leaves there and
in the engine."""

import hashlib
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from builds import PROGRAM
from containers import docker

from slimtrace.engine.temporary_tags import CANDIDATE_REPOSITORY
from slimtrace.owner import identity

LABEL = "slimtrace.run"


@dataclass(frozen=True)
class Sandbox:
    """The folders and the slim name of one build. `before` is the id of the image that had the slim name before
    the build; empty if none had it."""

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
        """The command line of the build. `options` follow its own: of an option given twice the last counts."""
        given = ("--tag", self.slim, "--artifacts", str(self.artifacts))
        return [PROGRAM, "build", *given, *options, image]

    def start(self, command: Sequence[str], **environment: str) -> "RunningBuild":
        return RunningBuild(self, command, environment)


class RunningBuild:
    """A running build. Its stdout and stderr are files, so that it never blocks on a full pipe."""

    def __init__(self, sandbox: Sandbox, command: Sequence[str], environment: dict[str, str]) -> None:
        self._sandbox = sandbox
        self._out, self._err = sandbox.folder / "stdout", sandbox.folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=sandbox.folder,
                env={**os.environ, "SLIMTRACE_STATE": str(sandbox.state), **environment},
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
        """The exit code as a shell reports it: 128 and the number of the signal that ended the process."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        return 128 - code if code < 0 else code


def containers_of(build: RunningBuild) -> list[str]:
    """The ids of the containers that the build made."""
    return docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={build.owner}").split()


def work_directories(sandbox: Sandbox) -> list[str]:
    """The build's work directories, and the mounts in its state folder."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(sandbox.state) in line]
    return [str(path) for path in sandbox.state.glob("run/*")] + mounts


def slim_id(sandbox: Sandbox) -> str:
    """The id of the image that has the slim name; empty if none has it."""
    return docker("images", "--quiet", "--no-trunc", sandbox.slim)


def candidate_images(build: RunningBuild) -> list[str]:
    """The names of the candidate images, which a build loads to try them."""
    there = docker("images", "--format", "{{.Repository}}:{{.Tag}}", CANDIDATE_REPOSITORY).split()
    return [name for name in there if f":{build.owner.replace(':', '-')}-" in name]


def temporary_objects(sandbox: Sandbox, build: RunningBuild) -> list[str]:
    """Containers, candidate images and work directories: none may be left of any build."""
    return [
        *(f"container {name}" for name in containers_of(build)),
        *(f"image {name}" for name in candidate_images(build)),
        *work_directories(sandbox),
    ]


def leftovers(sandbox: Sandbox, build: RunningBuild) -> list[str]:
    """All that a failed build has left: temporary objects, another image under the slim name, artifacts."""
    found = temporary_objects(sandbox, build)
    if slim_id(sandbox) != sandbox.before:
        found.append(f"{sandbox.slim} is {slim_id(sandbox) or 'gone'}, not {sandbox.before or 'nothing'}")
    return found + [
        str(path) for path in sandbox.artifacts.parent.glob("*") if sandbox.artifacts.parent.is_dir()
    ]


def incomplete(sandbox: Sandbox, build: RunningBuild) -> list[str]:
    """What is wrong after a successful build: temporary objects, a missing slim image, incomplete artifacts."""
    found = temporary_objects(sandbox, build)
    if slim_id(sandbox) in ("", sandbox.before):
        found.append(f"{sandbox.slim} is not there")
    if [path.name for path in sandbox.artifacts.parent.iterdir()] != ["artifacts"]:
        found.append(f"in {sandbox.artifacts.parent}: {list(sandbox.artifacts.parent.iterdir())}")
    for line in (sandbox.artifacts / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ", 1)
        if hashlib.sha256((sandbox.artifacts / name).read_bytes()).hexdigest() != digest:
            found.append(f"{name} is damaged")
    return found


def volumes(marker: str) -> set[str]:
    """The names of the engine's volumes that hold the file `marker`."""
    root = Path(docker("info", "--format", "{{.DockerRootDir}}"))
    return {path.parents[1].name for path in root.glob(f"volumes/*/_data/{marker}")}


def processes_with(word: str) -> list[str]:
    """The pids of the processes that have `word` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if word.encode() in path.read_bytes():
                found.append(path.parent.name)
    return found
