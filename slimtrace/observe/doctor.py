"""The doctor: tries what slimtrace wants of this machine, feature by feature, by doing it.

The list is data (kernels/features.toml); this module is the ways of trying. Two of them are handed in, since
each outside package has one door: `try_program` loads and attaches a small BPF program, `engine_info` asks the
container engine about itself.
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
"""(kind, name) -> "" if it worked, else the reason. Kinds: ``import`` (the module can be imported),
``raw_tracepoint``, ``kprobe``, ``fentry``, ``lsm`` (a program doing nothing loads and attaches to `name`),
``ring_buffer``, ``kernel_reads``, ``plain_loads``, ``casts`` (a program that does so loads), ``tracer`` (all
that slimtrace watches with)."""

EngineInfo = Callable[[], Mapping[str, Any]]
"""The engine's ``GET /info`` answer; raises SlimtraceError where none answers."""

Answer = tuple[State, str]

_CAPABILITIES = {"CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38, "CAP_BPF": 39}  # linux/capability.h
_NR_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_BPF_MAP_CREATE, _BPF_MAP_TYPE_ARRAY = 0, 2
_BTF_MAGIC = 0xEB9F
_MOUNT_SECONDS = 10.0


@dataclass(frozen=True)
class Bench:
    """What the tries may use; `root` is where /proc and /sys are looked for, so that tests can lay out
    a machine of their own."""

    try_program: TryProgram
    engine_info: EngineInfo
    root: Path = Path("/")

    def read(self, path: str) -> str:
        """The text of a file below `root`, stripped. Raises OSError."""
        return (self.root / path).read_text(errors="replace").strip()

    @cached_property
    def engine(self) -> Mapping[str, Any] | SlimtraceError:
        """The engine's answer, asked for once."""
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
    """Try every feature, in order; a feature whose needs are not met is not tried but "unknown"."""
    bench = Bench(try_program, engine_info, root)
    results: dict[str, FeatureResult] = {}
    for feature in features() if wanted is None else wanted:
        unmet = [need for need in feature.needs if need in results and results[need].state != "yes"]
        if unmet:
            answer: Answer = ("unknown", f"not tried without {', '.join(unmet)}")
        else:
            try:
                answer = TRIES[feature.tried_by](bench, feature.argument)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                answer = ("unknown", f"could not be tried: {error}")
        results[feature.id] = FeatureResult(feature, *answer)
    return tuple(results.values())


def can_build(results: Sequence[FeatureResult]) -> bool:
    """Whether `slimtrace build` can work here: no required feature is missing."""
    return not missing(results)


def _root(bench: Bench, argument: str) -> Answer:
    uid = os.geteuid()
    return ("yes", "") if uid == 0 else ("no", f"user id {uid}")


def _capability(bench: Bench, argument: str) -> Answer:
    for line in bench.read("proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
            names = [name for name in argument.split("|") if held >> _CAPABILITIES[name] & 1]
            return ("yes", names[0]) if names else ("no", "not in the effective set")
    return "unknown", "/proc/self/status does not tell"


def _bpf_syscall(bench: Bench, argument: str) -> Answer:
    """Makes a map of one element: the smallest thing that bpf() does, and it needs no compiler."""
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


def _jit(bench: Bench, argument: str) -> Answer:
    value = bench.read("proc/sys/net/core/bpf_jit_enable")
    return ("no", "the interpreter is used") if value == "0" else ("yes", "")


def _btf(bench: Bench, argument: str) -> Answer:
    try:
        with (bench.root / argument).open("rb") as stream:
            head = stream.read(2)
    except OSError as error:
        return "no", f"/{argument}: {error.strerror}"
    right = len(head) == 2 and struct.unpack("=H", head)[0] == _BTF_MAGIC
    return ("yes", f"/{argument}") if right else ("no", f"/{argument} holds no BTF")


def _cgroup2(bench: Bench, argument: str) -> Answer:
    for line in bench.read("proc/self/mountinfo").splitlines():
        # proc_pid_mountinfo(5): the file system's type is the first field after " - "
        front, _, back = line.partition(" - ")
        if back.split(" ", 1)[0] == "cgroup2":
            return "yes", f"at {front.split()[4]}"
    return "no", "not mounted"


def _program(bench: Bench, argument: str) -> Answer:
    reasons = []
    for choice in argument.split("|"):
        kind, _, name = choice.partition(":")
        reason = bench.try_program(kind, name)
        if not reason:
            return "yes", name if "|" in argument else ""
        reasons.append(reason)
    return "no", reasons[0]


def _lsm(bench: Bench, argument: str) -> Answer:
    state, detail = _program(bench, argument)
    if state != "yes":
        return state, detail
    try:
        modules = bench.read("sys/kernel/security/lsm").split(",")
    except OSError:
        return "unknown", "loads; whether it is ever called cannot be told: securityfs is not mounted"
    return ("yes", detail) if "bpf" in modules else ("no", "loads but is never called: bpf is not in lsm=")


def _lockdown(bench: Bench, argument: str) -> Answer:
    try:
        chosen = bench.read(argument).partition("[")[2].partition("]")[0]
    except OSError as error:
        return "unknown", f"/{argument}: {error.strerror}"
    return ("yes", "") if chosen == "none" else ("no", f"lockdown={chosen}")


def _overlay(bench: Bench, argument: str) -> Answer:
    """Mounts two empty directories, read-only, in a mount namespace that ends with the command."""
    with tempfile.TemporaryDirectory(prefix="slimtrace-doctor-") as name:
        place = Path(name)
        for part in ("upper", "lower", "merged"):
            (place / part).mkdir()
        options = f"ro,lowerdir={place}/upper:{place}/lower"
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(place / "merged")]
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", *mount],
            capture_output=True,
            text=True,
            timeout=_MOUNT_SECONDS,
            check=False,
        )
    lines = done.stderr.strip().splitlines()
    return ("yes", "") if done.returncode == 0 else ("no", lines[0] if lines else f"exit {done.returncode}")


def _seccomp(bench: Bench, argument: str) -> Answer:
    """Installs a filter at address 0: a kernel that has filters says EFAULT and installs nothing, one that
    has not says EINVAL (prctl(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, 0, 0, 0)
    code = ctypes.get_errno()
    # EACCES: filters are there, but not for a process without CAP_SYS_ADMIN or no_new_privs.
    return ("yes", "") if code in (errno.EFAULT, errno.EACCES) else ("no", os.strerror(code))


def _apparmor(bench: Bench, argument: str) -> Answer:
    try:
        enabled = bench.read(argument) == "Y"
    except OSError:
        return "no", "not in this kernel"
    if not enabled:
        return "no", "switched off"
    return ("yes", "") if shutil.which("apparmor_parser") else ("no", "apparmor_parser is not installed")


def _engine(bench: Bench, argument: str) -> Answer:
    info = bench.engine
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


def _disk(bench: Bench, argument: str) -> Answer:
    places = [_existing(state_folder())]
    # An engine elsewhere (DOCKER_HOST) keeps its images where this machine has no such directory.
    if not isinstance(bench.engine, SlimtraceError) and bench.engine.get("DockerRootDir"):
        places += filter(Path.is_dir, [Path(str(bench.engine["DockerRootDir"]))])
    free = {place: shutil.disk_usage(place).free / 1e9 for place in places}
    least = min(free, key=lambda place: free[place])
    return ("yes" if free[least] >= float(argument) else "no"), f"{free[least]:.1f} GB at {least}"


def _existing(path: Path) -> Path:
    """`path`, or the nearest directory above it that is there."""
    return next(place for place in (path, *path.parents) if place.is_dir())


TRIES: Mapping[str, Callable[[Bench, str], Answer]] = {
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

__all__ = ["TRIES", "Bench", "EngineInfo", "TryProgram", "can_build", "examine", "features"]
