"""The capabilities that a container is left with, and whether its programs may gain any by being executed.

A capability is left where the kernel granted it to the container's own programs (Phase.APP), and only if Docker
gives it by default. The kernel asks for some in passing, so a granted one may not be missed: too many by a few,
never too few. It also asks for none where there is nothing to grant; two things are therefore known otherwise:

- A file with effective capabilities is refused with EPERM where one of these is not in the bounding set
  (security/commoncap.c, bprm_caps_from_vfs_caps), whether the program uses it or not.
- Ports below 1024: Docker sets net.ipv4.ip_unprivileged_port_start to 0 in the container's own network, and
  then nobody is asked for net_bind_service (net/ipv4/af_inet.c). Elsewhere one may be: see `low_ports`.

What the runtime needs (setuid for USER, setpcap) it does before it drops its own.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import GIVEN as DEFAULT
from slimtrace.facts.events import Origin, Phase
from slimtrace.reason.keep.evidence import strangers
from slimtrace.reason.keep.stored_answers import image_programs

FIRST_FREE_PORT = 1024
UNSEEN, ATTACHED = "capabilities", "attached"  # doubts of the recorder
_SETUID, _SETGID, _GROUP_EXECUTES = 0o4000, 0o2000, 0o010

# The calls that make the kernel ask for a capability, for the reasons; capabilities(7).
_ASKED_BY: Mapping[str, tuple[str, ...]] = {
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
class Privileges:
    """Which capabilities are left, each with its reason; the reason why programs may gain privileges when they
    are executed, "" where they may not; and what is to be noted."""

    capabilities: Mapping[str, str]
    gained: str
    notes: tuple[str, ...]


def privileges(capture: Capture, uid: int | None, gid: int | None, more: Iterable[str] = ()) -> Privileges:
    """What the container's programs need when they start as `uid` and `gid` (None: not known); `more`
    capabilities were missed by a trial."""
    granted, beyond = _granted(capture)
    found = {name: _reason(capture, name) for name in sorted(granted)}
    doubts = {doubt.code for doubt in capture.trace.doubts}
    notes = []
    if UNSEEN in doubts:
        granted = set(DEFAULT)
        found = dict.fromkeys(
            sorted(DEFAULT), "not known: the kernel of the run does not tell; Docker gives it"
        )
        notes.append("which capabilities were used is not known: all that Docker gives are left")
    elif ATTACHED in doubts:
        notes.append(
            "the container was watched from its middle on: what its start took of capabilities and writable "
            "directories is not known"
        )
    for program, names in _effective(capture):
        for name in names & set(DEFAULT):
            text = f"{paths.printable(program)} has it as a file capability, and is not executed without it"
            found.setdefault(name, text)
    for name in set(more) & set(DEFAULT):
        found.setdefault(name, "repair: the slim image was denied it when it was tried")
    if beyond:
        notes.append(
            f"the container used {', '.join(sorted(beyond))}, which Docker does not give by default: it ran "
            "with more privileges than these profiles are for; add --cap-add as it was started with"
        )
    gained = next(_gains(capture, uid, gid, granted), "")
    return Privileges({name: found[name] for name in sorted(found)}, gained, tuple(notes))


def low_ports(capture: Capture) -> tuple[int, ...]:
    """The ports below FIRST_FREE_PORT that the container's own programs bound, sorted."""
    stranger = strangers(capture.trace, capture.image)
    bound = [(each.port, each.pid, each.origin) for each in capture.trace.listens]
    bound += [
        (each.port, each.pid, each.origin)
        for each in capture.trace.sockets
        if each.call == "bind" and not each.error
    ]
    own = {port for port, pid, origin in bound if not stranger(pid, origin)}
    return tuple(sorted(port for port in own if 0 < port < FIRST_FREE_PORT))


def _granted(capture: Capture) -> tuple[set[str], set[str]]:
    """What was granted to the container's own programs: of Docker's default, and beyond it. What an exec into
    the container was granted counts if HEALTHCHECK may have been one."""
    granted: set[str] = set()
    for group in capture.trace.capabilities:
        own = group.origin is Origin.CONTAINER or capture.image.healthcheck
        if group.phase is Phase.APP and own:
            granted.update(group.granted)
    return granted & set(DEFAULT), granted - set(DEFAULT)


def _reason(capture: Capture, name: str) -> str:
    for call in _ASKED_BY.get(name, ()):
        for first in sorted(capture.trace.first_calls, key=lambda first: (first.origin, first.program)):
            if first.call == call and first.phase is Phase.APP:
                program = paths.printable(first.program) or "the program"
                return f"granted in the run; {program} called {call}"
    return "granted to the container's programs in the run"


def _effective(capture: Capture) -> Iterator[tuple[str, set[str]]]:
    """The programs that were executed and have effective capabilities, which execve insists on."""
    for run in image_programs(capture):
        names = _named(capture.contents.file_capabilities(run.binary), "ep")
        if names:
            yield run.binary, names


def _named(text: str, flags: str) -> set[str]:
    """The capabilities that a text of facts.formats.file_capabilities has with all of `flags`."""
    found: set[str] = set()
    for group in text.split():
        names, _, has = group.partition("=")
        if set(flags) <= set(has):
            found.update(name.removeprefix("cap_") for name in names.split(","))
    return found


def _gains(capture: Capture, uid: int | None, gid: int | None, granted: set[str]) -> Iterator[str]:
    """Why a program must be able to gain privileges, a sentence each. Root gains none by a program of its own,
    nor by file capabilities; whether it had become another user by then is not known, and left to the trial.
    Capabilities of a file that were never granted were not used."""
    for run in sorted(image_programs(capture), key=lambda run: run.binary):
        entry, program = capture.tree[run.binary], paths.printable(run.binary)
        if entry.mode & _SETUID and entry.uid != uid:
            yield f"{program} was executed, which is setuid to user {entry.uid}"
        if entry.mode & _SETGID and entry.mode & _GROUP_EXECUTES and uid != 0 and entry.gid != gid:
            yield f"{program} was executed, which is setgid to group {entry.gid}"
        used = _named(capture.contents.file_capabilities(run.binary), "p") & granted
        if used and uid != 0:
            yield f"{program} was executed, which has the file capabilities {', '.join(sorted(used))}"
