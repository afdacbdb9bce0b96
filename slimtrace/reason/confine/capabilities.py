"""The capabilities that a container is left with, and whether its programs may gain any by being executed.

A capability is left where the kernel granted it to the container's own programs (Phase.APP), and only if Docker
gives it by default. The kernel checks some capabilities in passing, so a program may not need one that it was
granted: a few too many are left, never too few. Some needs show in no check, and are known from elsewhere:

- A file with effective capabilities is refused with EPERM where one of these is not in the bounding set
  (security/commoncap.c, bprm_caps_from_vfs_caps), whether the program uses it or not.
- Ports below 1024: Docker sets net.ipv4.ip_unprivileged_port_start to 0 in the container's own network, and
  then the kernel does not check net_bind_service (net/ipv4/af_inet.c). Elsewhere it may: see `low_ports`.

The runtime needs some too (setuid for USER, setpcap), and uses them before it drops its own.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import DOCKER_CAPABILITIES
from slimtrace.facts.events import Origin, Phase
from slimtrace.reason.keep.evidence import exec_session_test
from slimtrace.reason.keep.stored_answers import image_programs

FIRST_FREE_PORT = 1024
NOT_TRACED, ATTACHED_LATE = "capabilities", "attached"  # codes of the recorder's doubts
_SETUID, _SETGID, _GROUP_EXECUTES = 0o4000, 0o2000, 0o010

# The calls for which the kernel checks a capability, for the reasons; capabilities(7).
_CHECKING_CALLS: Mapping[str, tuple[str, ...]] = {
    "chown": ("chown", "fchown", "lchown", "fchownat"),
    "fowner": ("chmod", "fchmod", "fchmodat", "utimensat", "utimes", "utime", "setxattr", "unlink", "rename"),
    "kill": ("kill", "tgkill", "tkill"),
    "mknod": ("mknod", "mknodat"),
    "net_bind_service": ("bind",),
    "net_raw": ("socket",),
    "setgid": ("setgid", "setgroups", "setregid", "setresgid", "setfsgid"),
    "setpcap": ("capset", "prctl"),
    "setuid": ("setuid", "setreuid", "setresuid", "setfsuid"),
    "sys_chroot": ("chroot", "setns"),
}


@dataclass(frozen=True, slots=True)
class RequiredCapabilities:
    """The capabilities that are left, each with its reason; the reason why programs may gain privileges when
    they are executed, "" where they may not; and notes for the user."""

    capabilities: Mapping[str, str]
    gain_reason: str
    notes: tuple[str, ...]


def required(
    capture: Capture, uid: int | None, gid: int | None, repaired: Iterable[str] = ()
) -> RequiredCapabilities:
    """The capabilities that the container's programs need when they start as `uid` and `gid` (None: not known),
    with those in `repaired`, which a trial lacked."""
    granted, extra = _granted(capture)
    reasons = {name: _reason(capture, name) for name in sorted(granted)}
    doubts = {doubt.code for doubt in capture.trace.doubts}
    notes = []
    if NOT_TRACED in doubts:
        granted = set(DOCKER_CAPABILITIES)
        reasons = dict.fromkeys(
            sorted(DOCKER_CAPABILITIES), "not known: the kernel of the run does not tell; Docker gives it"
        )
        notes.append("which capabilities were used is not known: all that Docker gives are left")
    elif ATTACHED_LATE in doubts:
        notes.append(
            "the container was watched from its middle on: what its start took of capabilities and writable "
            "directories is not known"
        )
    for program, names in _effective_file_capabilities(capture):
        for name in names & set(DOCKER_CAPABILITIES):
            text = f"{paths.printable(program)} has it as a file capability, and is not executed without it"
            reasons.setdefault(name, text)
    for name in set(repaired) & set(DOCKER_CAPABILITIES):
        reasons.setdefault(name, "repair: the slim image was denied it when it was tried")
    if extra:
        notes.append(
            f"the container used {', '.join(sorted(extra))}, which Docker does not give by default: it ran "
            "with more privileges than these profiles are for; add --cap-add as it was started with"
        )
    gain_reason = next(_gain_reasons(capture, uid, gid, granted), "")
    return RequiredCapabilities({name: reasons[name] for name in sorted(reasons)}, gain_reason, tuple(notes))


def low_ports(capture: Capture) -> tuple[int, ...]:
    """The ports below FIRST_FREE_PORT that the container's own programs bound, sorted."""
    in_exec_session = exec_session_test(capture.trace, capture.image)
    bound = [(each.port, each.pid, each.origin) for each in capture.trace.listens]
    bound += [
        (each.port, each.pid, each.origin)
        for each in capture.trace.sockets
        if each.call == "bind" and not each.error
    ]
    own = {port for port, pid, origin in bound if not in_exec_session(pid, origin)}
    return tuple(sorted(port for port in own if 0 < port < FIRST_FREE_PORT))


def _granted(capture: Capture) -> tuple[set[str], set[str]]:
    """The capabilities that were granted to the container's own programs: those that Docker gives by default,
    and others. Those that an exec into the container was granted count if HEALTHCHECK may have been the
    exec."""
    granted: set[str] = set()
    for group in capture.trace.capabilities:
        own = group.origin is Origin.CONTAINER or capture.image.healthcheck
        if group.phase is Phase.APP and own:
            granted.update(group.granted)
    return granted & set(DOCKER_CAPABILITIES), granted - set(DOCKER_CAPABILITIES)


def _reason(capture: Capture, name: str) -> str:
    for call in _CHECKING_CALLS.get(name, ()):
        for first in sorted(capture.trace.first_calls, key=lambda first: (first.origin, first.program)):
            if first.call == call and first.phase is Phase.APP:
                program = paths.printable(first.program) or "the program"
                return f"granted in the run; {program} called {call}"
    return "granted to the container's programs in the run"


def _effective_file_capabilities(capture: Capture) -> Iterator[tuple[str, set[str]]]:
    """The programs that were executed and have effective file capabilities, with these: without them in the
    bounding set execve fails."""
    for run in image_programs(capture):
        names = _with_flags(capture.contents.file_capabilities(run.binary), "ep")
        if names:
            yield run.binary, names


def _with_flags(text: str, flags: str) -> set[str]:
    """The capabilities that have all of `flags` in a text of facts.formats.file_capabilities."""
    names_with_flags: set[str] = set()
    for group in text.split():
        names, _, has = group.partition("=")
        if set(flags) <= set(has):
            names_with_flags.update(name.removeprefix("cap_") for name in names.split(","))
    return names_with_flags


def _gain_reasons(capture: Capture, uid: int | None, gid: int | None, granted: set[str]) -> Iterator[str]:
    """The reasons why a program must be able to gain privileges, a sentence each. Root gains none by a program
    of its own, nor by file capabilities; whether a process of root's had become another user by then is not
    known, and left to the trial. File capabilities that were never granted were not used."""
    for run in sorted(image_programs(capture), key=lambda run: run.binary):
        entry, program = capture.tree[run.binary], paths.printable(run.binary)
        if entry.mode & _SETUID and entry.uid != uid:
            yield f"{program} was executed, which is setuid to user {entry.uid}"
        if entry.mode & _SETGID and entry.mode & _GROUP_EXECUTES and uid != 0 and entry.gid != gid:
            yield f"{program} was executed, which is setgid to group {entry.gid}"
        used = _with_flags(capture.contents.file_capabilities(run.binary), "p") & granted
        if used and uid != 0:
            yield f"{program} was executed, which has the file capabilities {', '.join(sorted(used))}"
