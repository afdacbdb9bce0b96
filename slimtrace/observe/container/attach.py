"""What runs already: a container's cgroups, and what its processes hold, from /proc (proc(5)).

An attached recording begins in the middle: what was opened before is known only as far as a process still
holds it (its executable, its mappings, its descriptors, its directories). That the rest is missing is a doubt.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.events import Abi, CallSet, Exec, FileUse, Origin, Phase, Use
from slimtrace.facts.paths import below, decode
from slimtrace.observe.kernel import syscalls
from slimtrace.observe.kernel.mountinfo import joined, mounted

_MAPPING = re.compile(rb"^[0-9a-f]+-[0-9a-f]+ (\S{4}) [0-9a-f]+ \S+ \d+ +(/.*)$")
_DELETED = " (deleted)"
_O_ACCMODE = 0o3


@dataclass(frozen=True, slots=True)
class Target:
    """A cgroup that is there already: its directory, and a name for messages."""

    directory: Path
    name: str


def cgroup_mount(lines: str | None = None) -> Path:
    """Where cgroup2 is mounted. Raises SlimtraceError (KERNEL) where it is not."""
    for line in (lines if lines is not None else Path("/proc/self/mounts").read_text()).splitlines():
        fields = line.split()
        if len(fields) > 2 and fields[2] == "cgroup2":
            return Path(fields[1])
    raise SlimtraceError(
        "cannot trace: cgroup v2 is not mounted", "mount -t cgroup2 none /sys/fs/cgroup", Exit.KERNEL
    )


def of_process(pid: int, name: str) -> Target:
    """The cgroup of a process. Raises SlimtraceError when the process is gone or only in v1 cgroups."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError as gone:
        raise SlimtraceError(f"cannot attach to {name}: it does not run", exit_code=Exit.START_FAILED) from gone
    path = next((line[3:] for line in lines if line.startswith("0::")), "/")
    if path == "/":
        raise SlimtraceError(
            f"cannot attach to {name}: it has no cgroup v2 of its own",
            "the engine must use cgroup v2; `slimtrace doctor` tells more",
            Exit.KERNEL,
        )
    return Target(cgroup_mount() / path.lstrip("/"), name)


def of_path(text: str) -> Target:
    """The cgroup at a path, as below /sys/fs/cgroup or as /proc/PID/cgroup has it. Raises SlimtraceError."""
    mount = cgroup_mount()
    given = Path(text)
    for directory in (given, mount / text.lstrip("/")):
        if (directory / "cgroup.procs").is_file() and below(str(directory.resolve()), str(mount)):
            if directory.resolve() == mount:
                break
            return Target(directory.resolve(), text)
    raise SlimtraceError(
        f"cannot watch the cgroup {text!r}: there is none below {mount}",
        "systemd-cgls, or /proc/PID/cgroup, names them; the root cgroup is not one to watch",
    )


def directories(target: Target) -> tuple[Path, ...]:
    """The cgroup and those nested in it, itself first."""
    return (target.directory, *sorted(path.parent for path in target.directory.glob("*/**/cgroup.procs")))


def cgroup_id(directory: Path) -> int:
    """The id that bpf_get_current_cgroup_id gives: the directory's inode number (kernfs, 64-bit)."""
    return directory.stat().st_ino


def processes(target: Target) -> tuple[int, ...]:
    """The processes in the cgroup and below, sorted."""
    found: set[int] = set()
    for directory in directories(target):
        try:
            found |= {int(line) for line in (directory / "cgroup.procs").read_text().split()}
        except OSError:
            continue
    return tuple(sorted(found - {0}))


def held(pid: int) -> Iterator[FileUse | Exec]:
    """What a process holds: its executable (an Exec), then mappings, descriptors and directories. Nothing for a
    process that is gone."""
    root = Path(f"/proc/{pid}")
    elsewhere = sorted(joined(mounted(pid)), key=lambda mount: -len(mount.path))  # the innermost counts
    binary = _link(root / "exe")

    def lies_on(path: str) -> str:
        return next((mount.filesystem for mount in elsewhere if below(path, mount.path)), "")

    def use(kind: Use, path: str) -> FileUse:
        kept_on = lies_on(path)
        return FileUse(
            kind,
            path,
            resolved=path,
            foreign=bool(kept_on),
            call="held",
            pid=pid,
            filesystem=kept_on,
            program=binary,
        )

    if binary:
        foreign = bool(lies_on(binary))
        yield Exec(binary, "", binary, pid, _parent(pid), foreign=foreign, argv=_arguments(pid))
    for path in sorted(_mapped(root)):
        yield use(Use.MAP, path)
    for path, kind in sorted(_descriptors(root)):
        yield use(kind, path)
    for name in ("cwd", "root"):
        if path := _link(root / name):
            yield use(Use.ENTER, path)


def waiting(pid: int) -> frozenset[tuple[Abi, int]]:
    """The system calls that the threads of a process are in at this moment (proc(5),
    /proc/PID/task/TID/syscall): one that began and never ended is seen by no tracepoint at its exit. Nothing
    for a process that is gone."""
    try:
        with Path(f"/proc/{pid}/exe").open("rb") as binary:
            abi = Abi.COMPAT if binary.read(5) == b"\x7fELF\x01" else Abi.NATIVE
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return frozenset()
    found = set()
    for thread in threads:
        try:
            word = (thread / "syscall").read_text().split(" ", 1)[0]
        except OSError:
            continue
        if word.isdecimal():  # else "running", or -1: stopped elsewhere than in a call
            found.add((abi, int(word)))
    return frozenset(found)


def _arguments(pid: int) -> tuple[str, ...]:
    """The arguments of a process."""
    try:
        return tuple(decode(arg) for arg in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1])
    except OSError:
        return ()


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _link(path: Path) -> str:
    """What a magic link of /proc shows, "" for what is no file of a file system (or was deleted)."""
    try:
        target = decode(os.readlink(os.fsencode(path)))
    except OSError:
        return ""
    return target if target.startswith("/") and not target.endswith(_DELETED) else ""


def _mapped(root: Path) -> set[str]:
    try:
        lines = (root / "maps").read_bytes().splitlines()
    except OSError:
        return set()
    found = {decode(match[2].replace(b"\\012", b"\n")) for line in lines if (match := _MAPPING.match(line))}
    return {path for path in found if not path.endswith(_DELETED)}


def _descriptors(root: Path) -> set[tuple[str, Use]]:
    found = set()
    try:
        numbers = os.listdir(root / "fd")
    except OSError:
        return set()
    for number in numbers:
        path = _link(root / "fd" / number)
        if not path:
            continue
        try:
            flags = re.search(r"^flags:\s*(\d+)", (root / "fdinfo" / number).read_text(), re.MULTILINE)
        except OSError:
            continue
        writes = flags is not None and int(flags[1], 8) & _O_ACCMODE != 0
        found.add((path, Use.WRITE if writes else Use.READ))
    return found


def with_waiting(
    sets: Iterable[CallSet],
    unfinished: Mapping[int, frozenset[tuple[Abi, int]]],
    standing: Callable[[int], tuple[Phase, Origin] | None],
) -> tuple[CallSet, ...]:
    """`sets`, and in them the calls that processes were still in at the end: a server that waited in one all
    the time has made it, though it never came back."""
    found = {(one.phase, one.origin, one.abi): one for one in sets}
    for pid, numbers in unfinished.items():
        if (known := standing(pid)) is None:
            continue
        for abi, number in numbers:
            one = found.get((*known, abi), CallSet(*known, abi=abi))
            name = syscalls.names(abi).get(number)
            more = replace(one, calls=tuple(sorted({*one.calls, name}))) if name else one
            found[*known, abi] = more
    return tuple(found.values())
