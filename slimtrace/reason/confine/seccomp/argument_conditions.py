"""The arguments with which a call is allowed: those that were seen, as far as Docker's own profile allows them.

A filter compares whole registers, of which the kernel takes 32 bits where the argument is an int
(SYSCALL_DEFINE of each in the kernel): the upper half of such an argument is masked out. Without the mask a
program whose compiler left something in that half would be refused, and a program could set it to get past a
comparison.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from slimtrace.facts.events import CallArguments
from slimtrace.reason.confine.docker_default import CONDITIONS, condition
from slimtrace.reason.confine.seccomp.verdict import allows

INT_MASK = 0xFFFF_FFFF
# Values of ptrace and prctl: a program that used more is not restricted to a list of them.
MAX_LISTED_VALUES = 16

# Options of prctl(2) that the C library and the runtime use at times that not every run shows; none of them
# gives a process more rights than it has.
PRCTL_MARGIN: Mapping[int, str] = {
    1: "PR_SET_PDEATHSIG: the runtime",
    8: "PR_SET_KEEPCAPS: the runtime",
    15: "PR_SET_NAME: a thread's name",
    16: "PR_GET_NAME: a thread's name",
    23: "PR_CAPBSET_READ: the runtime",
    24: "PR_CAPBSET_DROP: the runtime",
    38: "PR_SET_NO_NEW_PRIVS: the runtime",
    39: "PR_GET_NO_NEW_PRIVS: whoever drops privileges",
    47: "PR_CAP_AMBIENT: the runtime",
    0x53564D41: "PR_SET_VMA: C libraries and Go name their memory",
}


@dataclass(frozen=True, slots=True)
class SeenValues:
    """The values of a call's first argument that a profile is made of. With `all` any value counts: they are
    not known, or too many."""

    values: frozenset[int] = frozenset()
    all: bool = False

    def __or__(self, other: "SeenValues") -> "SeenValues":
        return SeenValues(self.values | other.values, self.all or other.all)


# Calls that are allowed with conditions on their first argument.
CONDITIONAL_CALLS = ("clone", "personality", "prctl", "ptrace", "socket", "socketpair")


def seen_values(arguments: Iterable[CallArguments]) -> SeenValues:
    """The values in all of `arguments`, which are of one call; without any, the values are not known."""
    found = [SeenValues(frozenset(one.values), one.more) for one in arguments if one.index == 0]
    return SeenValues(
        frozenset().union(*(one.values for one in found)), any(one.all for one in found) or not found
    )


def _masked_equal(value: int, mask: int = INT_MASK) -> dict[str, Any]:
    return condition(mask, "MASKED_EQ", value_two=value & mask)


def conditions(call: str, values: SeenValues) -> tuple[dict[str, Any], ...] | None:
    """The conditions of which one has to hold for the call to be allowed; () where it is allowed with any
    argument, None where it is allowed with none."""
    docker_conditions = CONDITIONS.get(call, ())
    if call not in CONDITIONAL_CALLS or call == "clone" or values.all:
        return docker_conditions
    if call in ("ptrace", "prctl") and len(values.values) > MAX_LISTED_VALUES:
        return docker_conditions
    if call == "personality":
        return tuple(one for one in docker_conditions if one["value"] in values.values) or None
    allowed_values = {value & INT_MASK for value in values.values}
    allowed_values |= PRCTL_MARGIN.keys() if call == "prctl" else set()
    return tuple(_masked_equal(value) for value in sorted(allowed_values) if docker_allows(call, value)) or None


def refused_conditions(call: str, values: SeenValues) -> tuple[dict[str, Any], ...]:
    """Conditions for the arguments with which the call was made and which Docker's own profile refuses: the
    program may rely on that answer under another profile too."""
    refused = sorted(value for value in values.values if not docker_allows(call, value))
    if call == "clone":
        return tuple(_masked_equal(value, CONDITIONS["clone"][0]["value"]) for value in refused)
    if call == "personality":
        return tuple(condition(value, "EQ") for value in refused)
    return tuple(_masked_equal(value) for value in refused)


def docker_allows(call: str, value: int) -> bool:
    """Whether Docker's own profile allows a call with this first argument."""
    rule: dict[str, Any] = {"names": [call], "action": "SCMP_ACT_ALLOW"}
    rules = [{**rule, "args": [one]} for one in CONDITIONS.get(call, ())] or [rule]
    return allows({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}, call, (value,))


# linux/socket.h; the families that the reasons name
_FAMILIES = {1: "unix", 2: "inet", 10: "inet6", 16: "netlink", 17: "packet", 38: "alg", 40: "vsock"}


def describe(call: str, allowed: tuple[dict[str, Any], ...]) -> str:
    """The conditions `allowed` in words, "" for none."""
    if not allowed:
        return ""
    if call == "clone":
        return "no new namespaces"
    values = [one["valueTwo"] if one["op"].endswith("MASKED_EQ") else one["value"] for one in allowed]
    if any(not one["op"].endswith("EQ") for one in allowed):
        return "as in Docker's own profile"
    if call in ("socket", "socketpair"):
        return "family " + ", ".join(_FAMILIES.get(value, str(value)) for value in values)
    kind = {"prctl": "option", "ptrace": "request"}.get(call, "value")
    return f"{kind} " + ", ".join(f"{value:#x}" if value > 99 else str(value) for value in values)
