"""The profile as Docker's JSON (docs.docker.com/engine/security/seccomp, OCI runtime-spec config-linux.md)."""

import json
from collections.abc import Mapping, Set
from typing import Any

from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import Repairs
from slimtrace.facts.events import Abi
from slimtrace.reason.confine.docker_default import CONDITIONS, DOCKER_ALLOWED, absent_on
from slimtrace.reason.confine.seccomp import argument_conditions
from slimtrace.reason.confine.seccomp.argument_conditions import CONDITIONAL_CALLS, SeenValues
from slimtrace.reason.confine.seccomp.needs import NOTHING, AllowedCall, Needs, allowable, collect_needs
from slimtrace.reason.confine.seccomp.verdict import (
    ALLOW,
    ARCHITECTURES,
    ENOSYS,
    EPERM,
    ERRNO,
    KILL_PROCESS,
    LOG,
    may_allow,
    oci_architecture,
)

ACTIONS = ("errno", "kill", "log")

Rules = list[dict[str, Any]]


def profile(capture: Capture, repairs: Repairs = NOTHING, action: str = "errno") -> dict[str, Any]:
    """The profile for a capture's image. With the action "errno" a call that is not allowed is answered EPERM,
    except where a program falls back only on ENOSYS. With "kill" the process is killed, except for the calls
    that the traced run made though they were refused: the program ran on with that answer. With "log" the
    further calls that Docker's own profile allows are logged and let through, so that this one never allows
    more than Docker's either."""
    collected = collect_needs(capture, repairs)
    calls = allowable(collected)
    names = {call.name for call in calls}
    # glibc tries clone3, whose flags lie in memory, where no filter can look, and falls back to clone on ENOSYS
    # alone (sysdeps/unix/sysv/linux/clone-internal.c)
    absent = {"clone3", *collected.refused} - names
    body: dict[str, Any] = {"defaultAction": ERRNO, "defaultErrnoRet": EPERM}
    if action == "kill":
        body = {"defaultAction": KILL_PROCESS}
    body["archMap"] = _arch_map(capture.image.architecture, collected.abis)
    body["syscalls"] = [
        *_rule_of_names([call.name for call in calls if not _conditions(call, action)], ALLOW),
        *(rule for call in calls for rule in _rules_of_conditions(call.name, _conditions(call, action), ALLOW)),
        {"names": sorted(absent), "action": ERRNO, "errnoRet": ENOSYS},
        *(_log_rules(DOCKER_ALLOWED - absent - names) if action == "log" else ()),
        *(_refusal_rules(collected, names, absent) if action == "kill" else ()),
    ]
    return body


def to_text(body: Mapping[str, Any]) -> str:
    """A profile as the text of its file."""
    return json.dumps(body, indent=1) + "\n"


def denied_count(body: Mapping[str, Any]) -> int:
    """How many of the calls that Docker's own profile allows on this architecture the profile `body` does not
    allow at all."""
    native = body["archMap"][0]["architecture"] if body.get("archMap") else ""
    return sum(not may_allow(body, name) for name in DOCKER_ALLOWED - absent_on(native))


def docker_call_count(body: Mapping[str, Any]) -> int:
    """How many calls Docker's own profile allows on this architecture."""
    native = body["archMap"][0]["architecture"] if body.get("archMap") else ""
    return len(DOCKER_ALLOWED - absent_on(native))


def _rule_of_names(names: list[str], action: str) -> Rules:
    return [{"names": names, "action": action}] if names else []


def _rules_of_conditions(name: str, conditions: tuple[dict[str, Any], ...], action: str, **extra: Any) -> Rules:
    return [{"names": [name], "action": action, "args": [one], **extra} for one in conditions]


def _conditions(call: AllowedCall, action: str) -> tuple[dict[str, Any], ...]:
    """The conditions of an allowed call. With the action "log" the call would also have a rule for the other
    arguments, and libseccomp does not order two rules: Docker's own conditions are used then."""
    return CONDITIONS.get(call.name, ()) if action == "log" else call.conditions


def _log_rules(names: Set[str]) -> Rules:
    rules = _rule_of_names(sorted(names - CONDITIONS.keys()), LOG)
    return rules + [
        rule
        for name in sorted(names & CONDITIONS.keys())
        for rule in _rules_of_conditions(name, CONDITIONS[name], LOG)
    ]


def _refusal_rules(collected: Needs, names: Set[str], absent: Set[str]) -> Rules:
    """The rules for the calls that the traced run made and Docker's own profile refused there: without those
    that are allowed (`names`) or answered ENOSYS (`absent`); of the CONDITIONAL_CALLS with the refused
    arguments."""
    refused = sorted(collected.made.keys() - names - absent - set(CONDITIONAL_CALLS))
    rules = [{"names": refused, "action": ERRNO, "errnoRet": EPERM}] if refused else []
    for name in sorted(set(CONDITIONAL_CALLS) - absent):
        conditions = argument_conditions.refused_conditions(name, collected.seen.get(name, SeenValues()))
        rules += _rules_of_conditions(name, conditions, ERRNO, errnoRet=EPERM)
    return rules


def _arch_map(architecture: str, abis: frozenset[Abi]) -> Rules:
    names = ARCHITECTURES.get(oci_architecture(architecture))
    if names is None:
        return []  # then the engine allows the native architecture alone
    found = [names[abi] for abi in sorted(abis) if abi in names]
    return [{"architecture": names[Abi.NATIVE], "subArchitectures": found}]
