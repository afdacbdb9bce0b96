"""The profile as Docker's JSON (docs.docker.com/engine/security/seccomp, OCI runtime-spec config-linux.md)."""

import json
from collections.abc import Mapping, Set
from typing import Any

from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import Repairs
from slimtrace.facts.events import Abi
from slimtrace.reason.confine.docker_default import CONDITIONS, DEFAULT, absent_on
from slimtrace.reason.confine.seccomp import argument_conditions
from slimtrace.reason.confine.seccomp.argument_conditions import LEARNED, Seen
from slimtrace.reason.confine.seccomp.needs import NOTHING, AllowedCall, Needs, allowed, needs
from slimtrace.reason.confine.seccomp.verdict import (
    ALLOW,
    ARCHITECTURES,
    ENOSYS,
    EPERM,
    ERRNO,
    KILL_PROCESS,
    LOG,
    architecture_of,
    may_allow,
)

ACTIONS = ("errno", "kill", "log")

Rules = list[dict[str, Any]]


def profile(capture: Capture, repairs: Repairs = NOTHING, action: str = "errno") -> dict[str, Any]:
    """The profile for a capture's image. With the action "errno" every other call is answered EPERM, except
    where a program falls back only on ENOSYS. With "kill" the process is killed, except for the calls that the
    traced run made though they were refused: it lived with that answer. With "log" what Docker's own profile
    allows is allowed and logged, so that it never allows more than that either."""
    asked = needs(capture, repairs)
    calls = allowed(asked)
    names = {call.name for call in calls}
    # glibc tries clone3, whose flags lie in memory, where no filter can look, and falls back to clone on ENOSYS
    # alone (sysdeps/unix/sysv/linux/clone-internal.c)
    absent = {"clone3", *asked.refused} - names
    body: dict[str, Any] = {"defaultAction": ERRNO, "defaultErrnoRet": EPERM}
    if action == "kill":
        body = {"defaultAction": KILL_PROCESS}
    body["archMap"] = _arch_map(capture.image.architecture, asked.abis)
    body["syscalls"] = [
        *_plain([call.name for call in calls if not _condition(call, action)], ALLOW),
        *(rule for call in calls for rule in _conditional(call.name, _condition(call, action), ALLOW)),
        {"names": sorted(absent), "action": ERRNO, "errnoRet": ENOSYS},
        *(_logged(DEFAULT - absent - names) if action == "log" else ()),
        *(_answered(asked, names, absent) if action == "kill" else ()),
    ]
    return body


def to_text(body: Mapping[str, Any]) -> str:
    """A profile as the text of its file."""
    return json.dumps(body, indent=1) + "\n"


def denied(body: Mapping[str, Any]) -> int:
    """How many of the calls that Docker's own profile allows on this architecture it does not allow at all."""
    native = body["archMap"][0]["architecture"] if body.get("archMap") else ""
    return sum(not may_allow(body, name) for name in DEFAULT - absent_on(native))


def of_default(body: Mapping[str, Any]) -> int:
    """How many calls Docker's own profile allows on this architecture."""
    native = body["archMap"][0]["architecture"] if body.get("archMap") else ""
    return len(DEFAULT - absent_on(native))


def _plain(names: list[str], action: str) -> Rules:
    return [{"names": names, "action": action}] if names else []


def _conditional(name: str, wanted: tuple[dict[str, Any], ...], action: str, **more: Any) -> Rules:
    return [{"names": [name], "action": action, "args": [one], **more} for one in wanted]


def _condition(call: AllowedCall, action: str) -> tuple[dict[str, Any], ...]:
    """Of a call that is logged with other arguments libseccomp could not tell which of two rules comes first:
    there Docker's own conditions have to do."""
    return CONDITIONS.get(call.name, ()) if action == "log" else call.conditions


def _logged(names: Set[str]) -> Rules:
    rules = _plain(sorted(names - CONDITIONS.keys()), LOG)
    return rules + [
        rule for name in sorted(names & CONDITIONS.keys()) for rule in _conditional(name, CONDITIONS[name], LOG)
    ]


def _answered(asked: Needs, names: Set[str], absent: Set[str]) -> Rules:
    """What was made in the traced run and refused there by Docker's own profile: beside the calls that are
    allowed, `names`, and `absent`, which have their answer; of those whose arguments count the ones with which
    they were refused."""
    gone = sorted(asked.made.keys() - names - absent - set(LEARNED))
    rules = [{"names": gone, "action": ERRNO, "errnoRet": EPERM}] if gone else []
    for name in sorted(set(LEARNED) - absent):
        wanted = argument_conditions.refusals(name, asked.seen.get(name, Seen()))
        rules += _conditional(name, wanted, ERRNO, errnoRet=EPERM)
    return rules


def _arch_map(architecture: str, others: frozenset[Abi]) -> Rules:
    names = ARCHITECTURES.get(architecture_of(architecture))
    if names is None:
        return []  # the engine then allows the native architecture alone
    found = [names[abi] for abi in sorted(others) if abi in names]
    return [{"architecture": names[Abi.NATIVE], "subArchitectures": found}]
