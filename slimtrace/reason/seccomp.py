"""The seccomp profile: what the program called, what the runtime calls between the filter and the program, and
a margin of calls that chance decides on. Docker's JSON (docs.docker.com/engine/security/seccomp,
OCI runtime-spec config-linux.md).

What the runtime calls is measured (Phase.FILTERED), for whichever runtime is in use. It is a Go program with
threads, though: which of the calls of MARGIN it makes depends on timing, so these are always allowed.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from slimtrace.facts.events import Abi, CallSet, Origin, Phase
from slimtrace.reason.dockercalls import ALLOWED, CONDITIONS

EPERM = 1
ENOSYS = 38

# The architecture as OCI images name it: seccomp's name, and what the kernel also accepts calls of.
ARCHITECTURES = {
    "amd64": ("SCMP_ARCH_X86_64", ("SCMP_ARCH_X86", "SCMP_ARCH_X32")),
    "arm64": ("SCMP_ARCH_AARCH64", ("SCMP_ARCH_ARM",)),
    "386": ("SCMP_ARCH_X86", ()),
    "arm": ("SCMP_ARCH_ARM", ()),
    "riscv64": ("SCMP_ARCH_RISCV64", ()),
    "s390x": ("SCMP_ARCH_S390X", ("SCMP_ARCH_S390",)),
    "ppc64le": ("SCMP_ARCH_PPC64LE", ()),
}
_ALIASES = {"x86_64": "amd64", "aarch64": "arm64"}

# Allowed without having been seen; why. The second group is what Go's runtime (runtime/os_linux.go,
# netpoll_epoll.go, mem_linux.go) may call while runc goes from the filter to execve.
MARGIN = {
    "exit": "a thread's end, also one of the runtime's",
    "exit_group": "a process's end",
    "rt_sigreturn": "the return from any signal handler",
    "restart_syscall": "the kernel resumes a stopped call by it (restart_syscall(2))",
    "execve": "the runtime's last call, and the first thing the filter would refuse",
    "clone": "Go starts a thread when another blocks; never with new namespaces",
    "close": "Go's finalizers",
    "epoll_ctl": "Go's network poller",
    "epoll_pwait": "Go's network poller",
    "futex": "Go's scheduler parks and wakes threads",
    "getpid": "Go's preemption signal",
    "gettid": "a new Go thread",
    "madvise": "Go's heap",
    "mmap": "Go's heap and thread stacks",
    "munmap": "Go's heap",
    "nanosleep": "Go's scheduler and system monitor",
    "read": "Go's network poller wakes by a pipe or an eventfd",
    "rt_sigaction": "Go resets handlers before execve",
    "rt_sigprocmask": "a new Go thread",
    "sched_yield": "Go's scheduler",
    "sigaltstack": "a new Go thread's signal stack",
    "tgkill": "Go's preemption signal",
    "write": "Go wakes its network poller; the runtime tells of a failure",
}

# What runc 1.1 surely calls after the filter is on (libcontainer/standard_init_linux.go, finalizeNamespace and
# what follows it; security-profiles-operator's baseprofile-runc.yaml agrees). Needed only where it could
# not be measured: an engine that runs the container without a filter has no filtered phase.
_UNMEASURED = (
    *("capget", "capset", "chdir", "close_range", "faccessat2", "fchown", "fcntl", "fstat", "fstatfs"),
    *("getcwd", "getdents64", "getppid", "newfstatat", "openat", "prctl", "setgid", "setgroups", "setuid"),
)

DEFAULT = ALLOWED | CONDITIONS.keys()  # what Docker's own profile allows, some of it under conditions

CONTAINER = "the container"
RUNTIME = "the runtime, before the program starts"
RUNTIME_EXEC = "the runtime, before an exec'd program starts"
HEALTHCHECK = "a program exec'd into the container, as HEALTHCHECK's is"
UNMEASURED = "runc, which ran unfiltered here, so that it could not be measured"


@dataclass(frozen=True, slots=True)
class AllowedCall:
    """A system call that the profile allows, and everyone it is allowed for."""

    name: str
    reasons: tuple[str, ...]


def who(calls: Iterable[CallSet], healthcheck: bool = False) -> tuple[AllowedCall, ...]:
    """Every call to allow with its reasons, by name. What Docker's default profile denies outright is
    not among them: the program got on without it, or ran with more privileges than a profile is for."""
    found: dict[str, list[str]] = {}
    measured = False
    for group in sorted(calls, key=lambda group: (group.origin, -group.phase, group.abi)):
        reason = _reason(group, healthcheck)
        measured |= group.phase is Phase.FILTERED and bool(group.calls)
        for name in group.calls if reason else ():
            found.setdefault(name, []).append(reason)
    for name in () if measured else _UNMEASURED:
        found.setdefault(name, []).append(UNMEASURED)
    for name, why in MARGIN.items():
        found.setdefault(name, []).append(f"margin: {why}")
    names = sorted(found.keys() & DEFAULT)
    return tuple(AllowedCall(name, tuple(dict.fromkeys(found[name]))) for name in names)


def profile(calls: Iterable[CallSet], architecture: str, healthcheck: bool = False) -> dict[str, Any]:
    """The profile for an image of `architecture`; `healthcheck` says that the image has one, so that what was
    exec'd into the container belongs to it. Everything else is answered EPERM, except where a program
    falls back only on ENOSYS."""
    calls = tuple(calls)
    names = [call.name for call in who(calls, healthcheck)]
    rules = [_rule([name for name in names if name not in CONDITIONS], "SCMP_ACT_ALLOW")]
    for name in names:
        rules += [_rule([name], "SCMP_ACT_ALLOW", args=[condition]) for condition in CONDITIONS.get(name, ())]
    # glibc tries clone3 and falls back to clone on ENOSYS alone (sysdeps/unix/sysv/linux/clone-internal.c).
    absent = {"clone3", *(name for group in calls for name in group.refused)} - set(names)
    rules.append(_rule(sorted(absent), "SCMP_ACT_ERRNO", errnoRet=ENOSYS))
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "archMap": _arch_map(architecture),
        "syscalls": rules,
    }


def to_text(body: dict[str, Any]) -> str:
    """A profile as the text of its file."""
    return json.dumps(body, indent=1) + "\n"


def reasons_text(calls: Iterable[AllowedCall]) -> str:
    """Each allowed call and for whom it is allowed, a line each."""
    return "".join(f"{call.name:<24} {'; '.join(call.reasons)}\n" for call in calls)


def _reason(group: CallSet, healthcheck: bool) -> str:
    if group.abi is Abi.RING:  # requests, which no filter sees
        return ""
    match group.phase, group.origin:
        case Phase.APP, Origin.CONTAINER:
            return CONTAINER
        case Phase.FILTERED, Origin.CONTAINER:
            return RUNTIME
        case Phase.FILTERED, Origin.EXEC:
            return RUNTIME_EXEC
        case Phase.APP, Origin.EXEC if healthcheck:
            return HEALTHCHECK
    return ""


def _rule(names: list[str], action: str, **more: Any) -> dict[str, Any]:
    return {"names": names, "action": action, **more}


def _arch_map(architecture: str) -> list[dict[str, Any]]:
    name = _ALIASES.get(architecture, architecture)
    if name not in ARCHITECTURES:
        return []  # the engine then allows the native architecture alone
    native, others = ARCHITECTURES[name]
    return [{"architecture": native, "subArchitectures": list(others)}]
