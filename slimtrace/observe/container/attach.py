"""A container that runs already: its cgroups, and the files that its processes hold, from /proc (proc(5)).

An attached recording begins in the middle: a file that was opened before is known only if a process still holds
it (as its executable, mapping, descriptor or directory). That the others are missing is a doubt.
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
    """A cgroup that exists already: its directory, and a name for messages."""

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


def target_of_process(pid: int, name: str) -> Target:
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


def target_at_path(text: str) -> Target:
    """The cgroup at a path, which is absolute or as in /proc/PID/cgroup. Raises SlimtraceError where there is
    none."""
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


def held_files(pid: int) -> Iterator[FileUse | Exec]:
    """The files that a process holds: its executable (an Exec), then its mappings, descriptors, working and
    root directory (FileUses). Nothing for a process that is gone."""
    root = Path(f"/proc/{pid}")
    mounts = sorted(joined(mounted(pid)), key=lambda mount: -len(mount.path))  # the innermost mount first
    binary = _link_target(root / "exe")

    def filesystem_of(path: str) -> str:
        return next((mount.filesystem for mount in mounts if below(path, mount.path)), "")

    def use(kind: Use, path: str) -> FileUse:
        filesystem = filesystem_of(path)
        return FileUse(
            kind,
            path,
            resolved=path,
            foreign=bool(filesystem),
            call="held",
            pid=pid,
            filesystem=filesystem,
            program=binary,
        )

    if binary:
        foreign = bool(filesystem_of(binary))
        yield Exec(binary, "", binary, pid, _parent_pid(pid), foreign=foreign, argv=_arguments(pid))
    for path in sorted(_mapped_files(root)):
        yield use(Use.MAP, path)
    for path, kind in sorted(_open_files(root)):
        yield use(kind, path)
    for name in ("cwd", "root"):
        if path := _link_target(root / name):
            yield use(Use.ENTER, path)


def syscalls_in_progress(pid: int) -> frozenset[tuple[Abi, int]]:
    """The system calls that the threads of a process are in at this moment (proc(5),
    /proc/PID/task/TID/syscall). No tracepoint at a call's exit sees a call that does not return. Nothing
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
        if word.isdecimal():  # else "running", or -1 for a thread that is blocked outside of a call
            found.add((abi, int(word)))
    return frozenset(found)


def _arguments(pid: int) -> tuple[str, ...]:
    """The arguments of a process."""
    try:
        return tuple(decode(arg) for arg in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1])
    except OSError:
        return ()


def _parent_pid(pid: int) -> int:
    """The pid of the parent of a process, 0 if the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _link_target(path: Path) -> str:
    """The target of a magic link of /proc; "" for a target that is no file of a file system, or was deleted."""
    try:
        target = decode(os.readlink(os.fsencode(path)))
    except OSError:
        return ""
    return target if target.startswith("/") and not target.endswith(_DELETED) else ""


def _mapped_files(root: Path) -> set[str]:
    """The files that are mapped by the process whose directory in /proc is `root`."""
    try:
        lines = (root / "maps").read_bytes().splitlines()
    except OSError:
        return set()
    found = {decode(match[2].replace(b"\\012", b"\n")) for line in lines if (match := _MAPPING.match(line))}
    return {path for path in found if not path.endswith(_DELETED)}


def _open_files(root: Path) -> set[tuple[str, Use]]:
    """The files that the process has open, and for which use."""
    found = set()
    try:
        numbers = os.listdir(root / "fd")
    except OSError:
        return set()
    for number in numbers:
        path = _link_target(root / "fd" / number)
        if not path:
            continue
        try:
            flags = re.search(r"^flags:\s*(\d+)", (root / "fdinfo" / number).read_text(), re.MULTILINE)
        except OSError:
            continue
        writes = flags is not None and int(flags[1], 8) & _O_ACCMODE != 0
        found.add((path, Use.WRITE if writes else Use.READ))
    return found


def with_syscalls_in_progress(
    sets: Iterable[CallSet],
    unfinished: Mapping[int, frozenset[tuple[Abi, int]]],
    process_state: Callable[[int], tuple[Phase, Origin] | None],
) -> tuple[CallSet, ...]:
    """`sets` with the calls that processes had not returned from at the end (`unfinished`, by pid) added: a
    server that waited in a call all the time has made that call. `process_state` gives the phase and origin of
    a process."""
    found = {(call_set.phase, call_set.origin, call_set.abi): call_set for call_set in sets}
    for pid, calls in unfinished.items():
        if (known := process_state(pid)) is None:
            continue
        for abi, number in calls:
            call_set = found.get((*known, abi), CallSet(*known, abi=abi))
            name = syscalls.names(abi).get(number)
            more = replace(call_set, calls=tuple(sorted({*call_set.calls, name}))) if name else call_set
            found[*known, abi] = more
    return tuple(found.values())
