"""Runs in the virtual machine: the workloads in minimal containers that this script makes, under the probes.

    guest.py IMAGE.tar CASES

All cases, a list in JSON, share one Probes object, since compiling takes ten seconds here. What the probes
reported is printed as lines of JSON. A container has only what the probes recognise one by: a cgroup with the
container's id in its name, made after `arm`, and a process in that cgroup which executes its program in a mount
namespace of its own. Docker is not used: starting it would take longer than all the rest.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import secrets
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

# the tests' folder and the checkout, before a slimtrace that is installed
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from workloads.harness import Seen, until

from slimtrace import codec
from slimtrace.errors import SlimtraceError
from slimtrace.facts.events import CAPABILITIES
from slimtrace.observe.kernel import bcc_compiler, programs, running_kernel, syscalls
from slimtrace.observe.kernel.probes import Probes
from slimtrace.observe.kernel.programs import IoUring, KernelReads

SCRATCH = Path("/run/scratch")
CGROUPS = Path("/sys/fs/cgroup")
# The path of a container's cgroup: as Docker makes it with the cgroupfs driver, with the systemd driver, and a
# child cgroup that the container made itself; "elsewhere" is a cgroup that is not the container's.
CGROUP_LAYOUTS = {
    "plain": "{id}",
    "systemd": "system.slice/docker-{id}.scope",
    "nested": "{id}/inner",
    "elsewhere": "{other}",
}
# Docker's default capabilities (moby, oci.DefaultCapabilities)
DEFAULT_CAPABILITIES = {
    "chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "net_bind_service",
    "net_raw", "sys_chroot", "mknod", "audit_write", "setfcap",
}  # fmt: skip
NOT_STARTED = 111  # the container's program was not reached
SECONDS = 60.0

_libc = ctypes.CDLL(None, use_errno=True)
# sched.h, sys/mount.h, linux/prctl.h
_CLONE_NEWNS, _MS_PRIVATE, _MS_REC, _MNT_DETACH, _PR_CAPBSET_DROP = 0x20000, 1 << 18, 1 << 14, 2, 24
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
# A seccomp filter that acts as Docker's does in the one respect that the probes see: clone3 fails with ENOSYS.
# The opcodes are from linux/bpf_common.h, the return values from linux/seccomp.h.
_FILTER = (
    (0x20, 0, 0, 0),  # load the call's number
    (0x15, 0, 1, syscalls.number_of("clone3")),
    (0x06, 0, 0, 0x00050000 | errno.ENOSYS),
    (0x06, 0, 0, 0x7FFF0000),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One workload in a container. `user` is UID:GID, `layout` a key of CGROUP_LAYOUTS, and `cap_add` names
    capabilities as Docker's --cap-add does."""

    command: tuple[str, ...]
    user: str = ""
    layout: str = "plain"
    cap_add: tuple[str, ...] = ()


class SharedProbes:
    """One Probes object for all cases. `seen`, the system calls and the capabilities start empty with each
    case; the number of lost records adds up over all of them."""

    def __init__(self) -> None:
        self.seen = Seen()
        self._probes = Probes(self._take)
        self._probes.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._probes.close()

    def _take(self, raw: bytes) -> None:
        self.seen.take(raw)

    def begin(self, container_id: str) -> None:
        self.seen = Seen()
        self._probes.arm(container_id)
        self._forget()

    def _forget(self) -> None:
        # Probes is made for one recording and has no method that empties its maps.
        self._probes._loaded["syscalls_made"].clear()
        self._probes._loaded["argument_values"].clear()
        if self._probes.variant.capabilities:
            self._probes._loaded["capabilities"].clear()

    def end(self) -> Seen:
        seen, probes = self.seen, self._probes
        seen.capabilities = probes.capability_sets() or ()
        seen.calls, seen.arguments = probes.call_sets(), probes.arguments()
        seen.first_calls = seen.callers.first_calls(probes.first_callers(), 0, {}, {})
        seen.lost, seen.unreadable = probes.lost(), probes.unreadable()
        return seen

    def close(self) -> None:
        self._probes.drain()

    def features(self) -> dict[str, bool]:
        """The features that only some kernels have."""
        return {
            "cap_capable": running_kernel.read_btf().has_tracepoint("cap_capable"),
            "capabilities": self._probes.capability_sets() is not None,
            "plain loads": self._probes.variant.reads >= KernelReads.PLAIN_LOADS,
            "casts": self._probes.variant.reads is KernelReads.CASTS,
            "system calls by perf": self._probes.variant.by_perf,
            "io_uring by name": self._probes.variant.io_uring is IoUring.NAMED,
        }


def run(watch: SharedProbes, case: Case, image: Path) -> tuple[int, Seen]:
    """Run one case: the exit code of its program, and what the probes reported of it."""
    container_id, other = secrets.token_hex(32), secrets.token_hex(32)
    watch.begin(container_id)
    cgroup = CGROUPS / CGROUP_LAYOUTS[case.layout].format(id=container_id, other=other)
    cgroup.mkdir(parents=True)
    root = _overlay(image, container_id)
    output = os.memfd_create("output")
    pid = os.fork()
    if pid == 0:
        try:
            _exec_program(case, cgroup, root, output)
        except BaseException as problem:
            print(f"cannot start {case.command}: {problem!r}", file=sys.stderr, flush=True)
        os._exit(NOT_STARTED)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if case.layout == "elsewhere":
        time.sleep(0.5)  # no record may arrive
    else:  # the first process's exit is the last record
        until(lambda: any(ended.pid == pid for ended in watch.seen.exits), SECONDS)
    seen = watch.end()
    seen.output = os.pread(output, 1 << 20, 0).decode()
    os.close(output)
    return code, seen


def _overlay(image: Path, name: str) -> Path:
    """Mount a root file system like Docker's overlay. It stays mounted: the probes recognise what they have
    reported already by addresses in the kernel, and a new overlay must not get the addresses of an old one."""
    upper, work, root = (SCRATCH / name / part for part in ("upper", "work", "root"))
    for folder in (upper, work, root):
        folder.mkdir(parents=True)
    options = f"lowerdir={image},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", str(root)], check=True)
    return root


def _exec_program(case: Case, cgroup: Path, root: Path, output: int) -> None:
    """Turn this process into the container's program. It executes no other program before: the probes would
    take that one for the container's."""
    _must(_libc.unshare, _CLONE_NEWNS)
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    os.chdir(root)
    _mount("proc", "proc", "proc")
    _mount("dev", "dev", "tmpfs")
    Path("dev/shm").mkdir()
    # tomoyo, where it is on, looks for the name that execveat(AT_EMPTY_PATH) makes up (until Linux 6.11, commit
    # ada1986d0797)
    Path("dev/fd").symlink_to("/proc/self/fd")
    (cgroup / "cgroup.procs").write_text("0")
    _must(_libc.syscall, syscalls.number_of("pivot_root"), b".", b".")
    _must(_libc.umount2, b".", _MNT_DETACH)
    os.chdir("/")
    for number in (1, 2):
        os.dup2(output, number)
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for number, name in enumerate(CAPABILITIES[: last + 1]):
        if name not in DEFAULT_CAPABILITIES and name.upper() not in case.cap_add:
            _must(_libc.prctl, _PR_CAPBSET_DROP, number, 0, 0, 0)
    _filter_calls()
    if case.user:
        user, group = map(int, case.user.split(":"))
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    os.execve(f"/bin/{case.command[0]}", [f"/bin/{case.command[0]}", *case.command[1:]], {"PATH": "/bin"})


def _filter_calls() -> None:
    rows = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *row) for row in _FILTER))
    program = struct.pack("@HP", len(_FILTER), ctypes.addressof(rows))  # struct sock_fprog
    _must(_libc.prctl, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program)


def _mount(source: str, target: str, kind: str, flags: int = 0) -> None:
    _must(_libc.mount, source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None)


def _must(call: Callable[..., int], *arguments: Any) -> None:
    if call(*arguments) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{os.strerror(code)}: {call.__name__}{arguments}")


def recursion_misses() -> int:
    """How often the kernel skipped one of this process's BPF programs because the program was already running
    on that processor: `recursion_misses` in fdinfo, Linux 5.12 and later. No BPF program can count that."""
    lines = [
        line
        for fd in Path("/proc/self/fdinfo").iterdir()
        if fd.exists()
        for line in fd.read_text().splitlines()
    ]
    return sum(int(line.split()[1]) for line in lines if line.startswith("recursion_misses:"))


def emit(**facts: Any) -> None:
    """Print one line of JSON for the host."""
    print(json.dumps(facts), flush=True)


def compile_once() -> dict[str, str]:
    """Fill the program cache, and make any further compilation fail: the cases run with cached programs. The
    cache begins with the programs of earlier machines with this kernel, since compiling takes long where every
    instruction is emulated. Gives the files that are new in the cache, by name."""

    def refuse(*_: object) -> NoReturn:
        raise RuntimeError("compiled for the second time")

    cache, earlier = SCRATCH / "cache", Path(os.environ.get("SLIMTRACE_VM_PROGRAMS") or "/nowhere")
    cache.mkdir(mode=0o700)
    known = {path.name: path.read_text() for path in earlier.glob("*")}
    for name, text in known.items():
        (cache / name).write_text(text)
    os.environ["SLIMTRACE_CACHE"] = str(cache)
    programs.load().free()
    bcc_compiler.compile_text = refuse
    return {path.name: path.read_text() for path in cache.iterdir() if path.name not in known}


def main() -> int:
    """Run all cases; print their results, or the reason why the probes cannot be loaded."""
    archive, cases = sys.argv[1], json.loads(sys.argv[2])
    image = SCRATCH / "image"
    image.mkdir()
    subprocess.run(["tar", "-C", str(image), "-xf", archive], check=True)
    for name in ("proc", "dev"):
        (image / name).mkdir()
    begun = time.monotonic()
    try:
        compiled = compile_once()
        ready = time.monotonic()
        watch = SharedProbes()
    except SlimtraceError as problem:
        emit(failed=problem.message)
        return 1
    with watch:
        emit(kernel=platform.release(), features=watch.features())
        loaded = time.monotonic()
        for value in cases:
            code, seen = run(watch, codec.decode(Case, value), image)
            emit(case=value, code=code, seen=codec.encode(seen))
        watch.close()
        moments = {"compile": (begun, ready), "load": (ready, loaded), "run": (loaded, time.monotonic())}
        times = {name: round(after - before, 2) for name, (before, after) in moments.items()}
        emit(recursion_misses=recursion_misses(), **times)
        emit(programs=compiled)
    return 0


if __name__ == "__main__":
    sys.exit(main())
