"""With which arguments a call is allowed: those that were seen, as far as Docker's own profile allows them.

A filter compares whole registers, of which the kernel takes 32 bits where the argument is an int
(SYSCALL_DEFINE of each in the kernel): there the upper half is masked out, or a program whose compiler left
something in it would be refused, and another could pass a family by that a comparison with it forbids.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from slimtrace.facts.events import CallArguments
from slimtrace.reason.confine.docker_default import CONDITIONS, compare
from slimtrace.reason.confine.seccomp.verdict import allows

INT = 0xFFFF_FFFF
FEW = 16  # values of ptrace and prctl: who uses more is not held by a list of them

# prctl(2) is also the C library's and the runtime's, in moments that no run needs to show; none of these gives
# a process more than it has.
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
class Seen:
    """The values of a call's first argument that count. With `all` they are not known, or too many."""

    values: frozenset[int] = frozenset()
    all: bool = False

    def __or__(self, other: "Seen") -> "Seen":
        return Seen(self.values | other.values, self.all or other.all)


LEARNED = ("clone", "personality", "prctl", "ptrace", "socket", "socketpair")


def seen(arguments: Iterable[CallArguments]) -> Seen:
    """What these say of one call together; nothing is known of none."""
    found = [Seen(frozenset(one.values), one.more) for one in arguments if one.index == 0]
    return Seen(frozenset().union(*(one.values for one in found)), any(one.all for one in found) or not found)


def _equal(value: int, mask: int = INT) -> dict[str, Any]:
    return compare(mask, "MASKED_EQ", value_two=value & mask)


def conditions(call: str, values: Seen) -> tuple[dict[str, Any], ...] | None:
    """The conditions of which one has to hold for the call to be allowed; () for none at all, None where it is
    not to be allowed with any argument."""
    own = CONDITIONS.get(call, ())
    if call not in LEARNED or call == "clone" or values.all:
        return own
    if call in ("ptrace", "prctl") and len(values.values) > FEW:
        return own
    if call == "personality":
        return tuple(one for one in own if one["value"] in values.values) or None
    wanted = {value & INT for value in values.values}
    wanted |= PRCTL_MARGIN.keys() if call == "prctl" else set()
    return tuple(_equal(value) for value in sorted(wanted) if docker_allows(call, value)) or None


def refusals(call: str, values: Seen) -> tuple[dict[str, Any], ...]:
    """The conditions under which the call was made and Docker's own profile refuses it: with another profile
    than its the program may rely on that answer."""
    denied = sorted(value for value in values.values if not docker_allows(call, value))
    if call == "clone":
        return tuple(_equal(value, CONDITIONS["clone"][0]["value"]) for value in denied)
    if call == "personality":
        return tuple(compare(value, "EQ") for value in denied)
    return tuple(_equal(value) for value in denied)


def docker_allows(call: str, value: int) -> bool:
    """Whether Docker's own profile allows a call with this first argument."""
    rule: dict[str, Any] = {"names": [call], "action": "SCMP_ACT_ALLOW"}
    rules = [{**rule, "args": [condition]} for condition in CONDITIONS.get(call, ())] or [rule]
    return allows({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}, call, (value,))


# linux/socket.h; what a reader of the reasons wants to see
_FAMILIES = {1: "unix", 2: "inet", 10: "inet6", 16: "netlink", 17: "packet", 38: "alg", 40: "vsock"}


def described(call: str, allowed: tuple[dict[str, Any], ...]) -> str:
    """The conditions in words, "" for none."""
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
