"""The doctor: checks whether this machine has the features that slimtrace needs, by using each of them.

The list of features is data (kernels/features.toml); this module has the checks. Two functions are passed in,
since each outside package has one door: `try_program` loads and attaches a small BPF program, `engine_info`
asks the container engine about itself.
"""

import ctypes
import errno
import os
import platform
import shutil
import struct
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from slimtrace.data import folder
from slimtrace.errors import SlimtraceError
from slimtrace.facts.feature import Feature, FeatureResult, State, missing, parse
from slimtrace.observe.workplace import state_folder

TryProgram = Callable[[str, str], str]
"""(kind, name) -> "" if that worked, else the reason. Kinds: ``import`` (the module can be imported),
``raw_tracepoint``, ``kprobe``, ``fentry``, ``lsm`` (a program doing nothing loads and attaches to `name`),
``ring_buffer``, ``kernel_reads``, ``plain_loads``, ``casts`` (a program that does so loads), ``tracer`` (all of
slimtrace's own programs load)."""

EngineInfo = Callable[[], Mapping[str, Any]]
"""The engine's ``GET /info`` answer; raises SlimtraceError where no engine answers."""

CheckAnswer = tuple[State, str]
"""The state of a feature, and a detail for the user."""

_CAPABILITIES = {"CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38, "CAP_BPF": 39}  # linux/capability.h
_NR_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_BPF_MAP_CREATE, _BPF_MAP_TYPE_ARRAY = 0, 2
_BTF_MAGIC = 0xEB9F
_MOUNT_SECONDS = 10.0


@dataclass(frozen=True)
class CheckContext:
    """The means of the checks; `root` is the directory in which /proc and /sys are looked for, so that tests
    can lay out a machine of their own."""

    try_program: TryProgram
    engine_info: EngineInfo
    root: Path = Path("/")

    def read(self, path: str) -> str:
        """The text of a file below `root`, stripped. Raises OSError."""
        return (self.root / path).read_text(errors="replace").strip()

    @cached_property
    def engine(self) -> Mapping[str, Any] | SlimtraceError:
        """The engine's answer, or the error of asking for it; asked for once."""
        try:
            return self.engine_info()
        except SlimtraceError as error:
            return error


def features() -> tuple[Feature, ...]:
    """The features of kernels/features.toml."""
    with (folder("kernels") / "features.toml").open("rb") as stream:
        return parse(tomllib.load(stream))


def examine(
    try_program: TryProgram,
    engine_info: EngineInfo,
    *,
    root: Path = Path("/"),
    wanted: Sequence[Feature] | None = None,
) -> tuple[FeatureResult, ...]:
    """Check every feature, in order; a feature whose needs are not met is not tried but "unknown"."""
    context = CheckContext(try_program, engine_info, root)
    results: dict[str, FeatureResult] = {}
    for feature in features() if wanted is None else wanted:
        unmet = [need for need in feature.needs if need in results and results[need].state != "yes"]
        if unmet:
            answer: CheckAnswer = ("unknown", f"not tried without {', '.join(unmet)}")
        else:
            try:
                answer = CHECKS[feature.tried_by](context, feature.argument)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                answer = ("unknown", f"could not be tried: {error}")
        results[feature.id] = FeatureResult(feature, *answer)
    return tuple(results.values())


def can_build(results: Sequence[FeatureResult]) -> bool:
    """Whether `slimtrace build` can work here: no required feature is missing."""
    return not missing(results)


def _root(context: CheckContext, argument: str) -> CheckAnswer:
    uid = os.geteuid()
    return ("yes", "") if uid == 0 else ("no", f"user id {uid}")


def _capability(context: CheckContext, argument: str) -> CheckAnswer:
    for line in context.read("proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
            names = [name for name in argument.split("|") if effective >> _CAPABILITIES[name] & 1]
            return ("yes", names[0]) if names else ("no", "not in the effective set")
    return "unknown", "/proc/self/status does not tell"


def _bpf_syscall(context: CheckContext, argument: str) -> CheckAnswer:
    """Makes a map of one element: the smallest use of bpf(2), and it needs no compiler."""
    number = _NR_BPF.get(platform.machine())
    if number is None:
        return "unknown", f"its number is not known for {platform.machine()}"
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = (ctypes.c_uint32 * 32)(_BPF_MAP_TYPE_ARRAY, 4, 4, 1)
    fd = libc.syscall(number, _BPF_MAP_CREATE, ctypes.byref(attributes), ctypes.sizeof(attributes))
    if fd >= 0:
        os.close(fd)
        return "yes", ""
    return "no", os.strerror(ctypes.get_errno())


def _jit(context: CheckContext, argument: str) -> CheckAnswer:
    value = context.read("proc/sys/net/core/bpf_jit_enable")
    return ("no", "the interpreter is used") if value == "0" else ("yes", "")


def _btf(context: CheckContext, argument: str) -> CheckAnswer:
    try:
        with (context.root / argument).open("rb") as stream:
            head = stream.read(2)
    except OSError as error:
        return "no", f"/{argument}: {error.strerror}"
    right = len(head) == 2 and struct.unpack("=H", head)[0] == _BTF_MAGIC
    return ("yes", f"/{argument}") if right else ("no", f"/{argument} holds no BTF")


def _cgroup2(context: CheckContext, argument: str) -> CheckAnswer:
    for line in context.read("proc/self/mountinfo").splitlines():
        # proc_pid_mountinfo(5): the file system's type is the first field after " - "
        front, _, back = line.partition(" - ")
        if back.split(" ", 1)[0] == "cgroup2":
            return "yes", f"at {front.split()[4]}"
    return "no", "not mounted"


def _program(context: CheckContext, argument: str) -> CheckAnswer:
    reasons = []
    for choice in argument.split("|"):
        kind, _, name = choice.partition(":")
        reason = context.try_program(kind, name)
        if not reason:
            return "yes", name if "|" in argument else ""
        reasons.append(reason)
    return "no", reasons[0]


def _lsm(context: CheckContext, argument: str) -> CheckAnswer:
    state, detail = _program(context, argument)
    if state != "yes":
        return state, detail
    try:
        modules = context.read("sys/kernel/security/lsm").split(",")
    except OSError:
        return "unknown", "loads; whether it is ever called cannot be told: securityfs is not mounted"
    return ("yes", detail) if "bpf" in modules else ("no", "loads but is never called: bpf is not in lsm=")


def _lockdown(context: CheckContext, argument: str) -> CheckAnswer:
    try:
        chosen = context.read(argument).partition("[")[2].partition("]")[0]
    except OSError as error:
        return "unknown", f"/{argument}: {error.strerror}"
    return ("yes", "") if chosen == "none" else ("no", f"lockdown={chosen}")


def _overlay(context: CheckContext, argument: str) -> CheckAnswer:
    """Mounts a read-only overlay of two empty directories, in a mount namespace that ends with the command."""
    with tempfile.TemporaryDirectory(prefix="slimtrace-doctor-") as name:
        directory = Path(name)
        for part in ("upper", "lower", "merged"):
            (directory / part).mkdir()
        options = f"ro,lowerdir={directory}/upper:{directory}/lower"
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(directory / "merged")]
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", *mount],
            capture_output=True,
            text=True,
            timeout=_MOUNT_SECONDS,
            check=False,
        )
    lines = done.stderr.strip().splitlines()
    return ("yes", "") if done.returncode == 0 else ("no", lines[0] if lines else f"exit {done.returncode}")


def _seccomp(context: CheckContext, argument: str) -> CheckAnswer:
    """Tries to install a filter at address 0: a kernel with filters answers EFAULT and installs none, a kernel
    without them EINVAL (prctl(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, 0, 0, 0)
    code = ctypes.get_errno()
    # EACCES: the kernel has filters, but not for a process without CAP_SYS_ADMIN or no_new_privs.
    return ("yes", "") if code in (errno.EFAULT, errno.EACCES) else ("no", os.strerror(code))


def _apparmor(context: CheckContext, argument: str) -> CheckAnswer:
    try:
        enabled = context.read(argument) == "Y"
    except OSError:
        return "no", "not in this kernel"
    if not enabled:
        return "no", "switched off"
    return ("yes", "") if shutil.which("apparmor_parser") else ("no", "apparmor_parser is not installed")


def _engine(context: CheckContext, argument: str) -> CheckAnswer:
    info = context.engine
    if isinstance(info, SlimtraceError):
        return "no", info.message
    if argument == "answers":
        return "yes", f"version {info.get('ServerVersion', '?')}, {info.get('Architecture', '?')}"
    if argument == "cgroup2":
        version = str(info.get("CgroupVersion", "1"))
        return ("yes" if version == "2" else "no"), f"version {version}, {info.get('CgroupDriver', '?')} driver"
    if argument == "overlay":
        driver = str(info.get("Driver", "?"))
        return ("yes" if driver.startswith("overlay") else "no"), driver
    options = [str(option) for option in info.get("SecurityOptions") or ()]
    named = [option for option in options if f"name={argument}" in option.split(",")]
    return ("yes", named[0]) if named else ("no", "not among its security options")


def _disk(context: CheckContext, argument: str) -> CheckAnswer:
    directories = [_nearest_existing(state_folder())]
    # The engine of another machine (DOCKER_HOST) keeps its images in a directory that this machine lacks.
    if not isinstance(context.engine, SlimtraceError) and context.engine.get("DockerRootDir"):
        directories += filter(Path.is_dir, [Path(str(context.engine["DockerRootDir"]))])
    free = {directory: shutil.disk_usage(directory).free / 1e9 for directory in directories}
    least = min(free, key=lambda directory: free[directory])
    return ("yes" if free[least] >= float(argument) else "no"), f"{free[least]:.1f} GB at {least}"


def _nearest_existing(path: Path) -> Path:
    """`path`, or the nearest directory above it that exists."""
    return next(directory for directory in (path, *path.parents) if directory.is_dir())


CHECKS: Mapping[str, Callable[[CheckContext, str], CheckAnswer]] = {
    "apparmor": _apparmor,
    "bpf_syscall": _bpf_syscall,
    "btf": _btf,
    "capability": _capability,
    "cgroup2": _cgroup2,
    "disk": _disk,
    "engine": _engine,
    "jit": _jit,
    "lockdown": _lockdown,
    "lsm": _lsm,
    "overlay": _overlay,
    "program": _program,
    "root": _root,
    "seccomp": _seccomp,
}

__all__ = ["CHECKS", "CheckContext", "EngineInfo", "TryProgram", "can_build", "examine", "features"]
