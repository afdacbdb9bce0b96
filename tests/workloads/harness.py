"""Runs the workloads, the small C programs of this folder, in containers of one image, under the real probes.

    with workload_image(folder) as tag, Engine.connect() as engine:
        seen = trace(engine, tag, "opens")

The image holds each program as /bin/NAME, and the files of TREE.
"""

from __future__ import annotations

import contextlib
import subprocess
import tarfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

from slimtrace.engine import Engine, Launch
from slimtrace.facts import wire
from slimtrace.facts.events import (
    Abi,
    CallArguments,
    CallSet,
    CapabilitySet,
    Exec,
    FileUse,
    FirstCall,
    Listen,
    Origin,
    Phase,
    Socket,
)
from slimtrace.facts.paths import decode
from slimtrace.observe.kernel import syscalls
from slimtrace.observe.kernel.first_callers import ExecutedPrograms
from slimtrace.observe.kernel.probes import Probes

HERE = Path(__file__).resolve().parent
END_SECONDS = 60.0

# The image's files: path -> content; None is a directory, bytes after "->" are the target of a symlink.
TREE: dict[str, bytes | None] = {
    "tree": None,
    "tree/plain": b"17\n",
    "tree/dir": None,
    "tree/dir/inner": b"13\n",
    "tree/link": b"->dir",
    "tree/far": b"->/tree/link/inner",
    "tree/loop": b"->loop",
    "tree/leaf": b"->../bin/leaf",
    "tree/script": b"#!/bin/leaf -x\n",
    "tree/secret": b"19\n",
    "closed": None,
    "closed/file": b"23\n",
    "jail": None,
    "jail/file": b"29\n",
    "jail/sub": None,
    "jail/sub/file": b"31\n",
    "odd": None,
    "odd/" + "n" * 255: b"37\n",
    "odd/" + decode(b"\xff\xfe"): b"41\n",
    "odd/new\nline": b"43\n",
    "odd/é": b"47\n",
    "desk": None,
    "desk/one": b"53\n",
    "volume": None,
}
MODES = {"tree/plain": 0o644, "tree/secret": 0o600, "closed": 0o700}


@contextlib.contextmanager
def workload_image(folder: Path) -> Iterator[str]:
    """The id of the image of the workloads, which is made in `folder` and removed at the end."""
    command = ["docker", "import", "--change", 'CMD ["/bin/leaf"]', str(pack_image(folder))]
    tag = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield tag
    finally:
        subprocess.run(["docker", "rmi", "--force", tag], check=False, capture_output=True)


def pack_image(folder: Path, compiler: Sequence[str] = ("gcc",), without: Collection[str] = ()) -> Path:
    """The tar of the image's files, made in `folder`, without the programs named in `without`."""
    sources = sorted(source for source in HERE.glob("*.c") if source.stem not in without)
    with ThreadPoolExecutor() as pool:
        programs = list(pool.map(lambda source: compile_workload(source, folder, compiler), sources))
    archive = folder / "image.tar"
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for program in programs:
            tar.add(program, f"bin/{program.name}")
        for name, content in TREE.items():
            _add(tar, name, content)
    return archive


def compile_workload(source: Path, folder: Path, compiler: Sequence[str] = ("gcc",)) -> Path:
    """Compile one workload as a static program; its path."""
    program = folder / source.stem
    options = ["-static", "-no-pie", "-O1", "-s", "-Wall", "-Wextra", "-Werror", "-Wno-nonnull", "-pthread"]
    subprocess.run([*compiler, *options, "-o", str(program), str(source)], check=True)
    return program


def _add(tar: tarfile.TarFile, name: str, content: bytes | None) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = MODES.get(name, 0o755)
    if content is None:
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
    elif content.startswith(b"->"):
        entry.type, entry.linkname = tarfile.SYMTYPE, content[2:].decode()
        tar.addfile(entry)
    else:
        entry.size = len(content)
        tar.addfile(entry, BytesIO(content))


@dataclass(slots=True)
class Seen:
    """What the probes reported of one container, in the order of arrival."""

    uses: list[FileUse] = field(default_factory=list)
    execs: list[Exec] = field(default_factory=list)
    forks: list[wire.Fork] = field(default_factory=list)
    exits: list[wire.Exit] = field(default_factory=list)
    listens: list[Listen] = field(default_factory=list)
    programs: dict[int, str] = field(default_factory=dict)
    cgroups: int = 0
    calls: tuple[CallSet, ...] = ()
    arguments: tuple[CallArguments, ...] = ()
    first_calls: tuple[FirstCall, ...] = ()
    callers: ExecutedPrograms = field(default_factory=ExecutedPrograms)
    capabilities: tuple[CapabilitySet, ...] = ()
    sockets: list[Socket] = field(default_factory=list)
    lost: int = 0
    unreadable: int = 0
    events: int = 0
    output: str = ""
    first: float = 0.0  # time.monotonic() of the first record, and of the last one
    last: float = 0.0

    def take(self, raw: bytes) -> None:
        """Decode and add one record of the ring buffer."""
        _, pid = wire.record_head(raw)
        record = wire.decode(raw, syscalls.names_and_uses(), program=self.programs.get(pid, ""))
        self.events += 1
        self.last = time.monotonic()
        self.first = self.first or self.last
        match record:
            case FileUse():
                self.uses.append(record)
            case Exec():
                self.execs.append(record)
                before = self.programs.get(record.pid, "")
                self.callers.executed(record.pid, wire.program_hash(raw), record.asked, before)
                self.programs[record.pid] = record.asked
            case wire.Fork():
                self.forks.append(record)
                self.programs[record.child] = self.programs.get(record.pid, "")
            case Socket():
                self.sockets.append(record)
            case wire.Exit():
                self.exits.append(record)
            case Listen():
                self.listens.append(record)
            case wire.CgroupArmed():
                self.cgroups += 1

    def calls_in(self, phase: Phase, origin: Origin = Origin.CONTAINER, abi: Abi = Abi.NATIVE) -> CallSet:
        """The system calls of one phase."""
        wanted = (phase, origin, abi)
        found = (one for one in self.calls if (one.phase, one.origin, one.abi) == wanted)
        return next(found, CallSet(phase, origin, abi=abi))


@contextlib.contextmanager
def watching(engine: Engine, tag: str, command: Sequence[str], launch: Launch) -> Iterator[tuple[str, Seen]]:
    """A container of `command`, started under probes of its own: its id, and what is seen of it, which is
    complete when the block has ended. It has no network unless `launch` names one: it starts faster so."""
    seen = Seen()
    with Probes(seen.take) as probes:
        container = engine.create(tag, replace(launch, cmd=tuple(command), network=launch.network or "none"))
        try:
            probes.arm(container)
            probes.start()
            engine.start(container)
            yield container, seen
            seen.output = engine.logs(container)
        finally:
            engine.remove(container)
        probes.drain()
        seen.capabilities = probes.capability_sets() or ()
        seen.calls, seen.arguments = probes.call_sets(), probes.arguments()
        seen.first_calls = seen.callers.first_calls(probes.first_callers(), 0, {}, {})
        seen.lost, seen.unreadable = probes.lost(), probes.unreadable()


def trace(engine: Engine, tag: str, *command: str, launch: Launch | None = None, code: int = 0) -> Seen:
    """What is seen of the workload `command` from its start to its end; its exit code has to be `code`."""
    first, *rest = command
    with watching(engine, tag, [f"/bin/{first}", *rest], launch or Launch()) as (container, seen):
        ended = engine.wait(container, END_SECONDS)
        assert ended == code, f"{command} ended with {ended}: {engine.logs(container)}"
    return seen


def until(happened: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until `happened`() is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
