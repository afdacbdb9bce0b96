"""What a seccomp profile in Docker's JSON answers to a call, as runc and libseccomp read it.

Rules are tried in their order; libseccomp itself does not keep an order, so that the rules of our profiles
never overlap. Conditions of one rule on the same argument are alternatives, on several they must all hold (runc
libcontainer/seccomp, matchCall). Arguments are compared as 64 bits, whatever the kernel takes of them
(seccomp_rule_add(3)).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slimtrace.facts.events import Abi

ALLOW, LOG, ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_ERRNO"
KILL_PROCESS, KILL_THREAD = "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD"
EPERM, ENOSYS = 1, 38

# The architecture as OCI images name it -> its ABIs -> seccomp's names of these.
ARCHITECTURES: Mapping[str, Mapping[Abi, str]] = {
    "amd64": {
        Abi.NATIVE: "SCMP_ARCH_X86_64",
        Abi.COMPAT: "SCMP_ARCH_X86",
        Abi.X32: "SCMP_ARCH_X32",
    },
    "arm64": {Abi.NATIVE: "SCMP_ARCH_AARCH64", Abi.COMPAT: "SCMP_ARCH_ARM"},
    "386": {Abi.NATIVE: "SCMP_ARCH_X86"},
    "arm": {Abi.NATIVE: "SCMP_ARCH_ARM"},
    "riscv64": {Abi.NATIVE: "SCMP_ARCH_RISCV64"},
    "s390x": {Abi.NATIVE: "SCMP_ARCH_S390X", Abi.COMPAT: "SCMP_ARCH_S390"},
    "ppc64le": {Abi.NATIVE: "SCMP_ARCH_PPC64LE"},
}
_ALIASES = {"x86_64": "amd64", "aarch64": "arm64"}


def oci_architecture(name: str) -> str:
    """The architecture `name` as OCI images name it."""
    return _ALIASES.get(name, name)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A profile's answer to a call: seccomp's action, and with SCMP_ACT_ERRNO the error."""

    action: str
    error: int = 0

    @property
    def passes(self) -> bool:
        """Whether the kernel gets to see the call."""
        return self.action in (ALLOW, LOG)


def evaluate(body: Mapping[str, Any], call: str, args: Sequence[int] = (), abi: Abi = Abi.NATIVE) -> Verdict:
    """The profile's answer to `call` with the arguments `args` (unsigned; those that are not given are 0)."""
    if not covers_abi(body, abi):
        return Verdict(KILL_THREAD)  # libseccomp's answer to an architecture that is not in the filter
    for rule in body["syscalls"]:
        if call in rule["names"] and _holds(rule.get("args") or (), args):
            return _verdict(rule["action"], rule.get("errnoRet"))
    return _verdict(body["defaultAction"], body.get("defaultErrnoRet"))


def allows(body: Mapping[str, Any], call: str, args: Sequence[int] = (), abi: Abi = Abi.NATIVE) -> bool:
    """Whether the profile allows the call; a call that is only logged does not count."""
    return evaluate(body, call, args, abi).action == ALLOW


def may_allow(body: Mapping[str, Any], call: str, abi: Abi = Abi.NATIVE) -> bool:
    """Whether the profile allows the call with some arguments."""
    if not covers_abi(body, abi):
        return False
    actions = {rule["action"] for rule in body["syscalls"] if call in rule["names"]}
    return ALLOW in (actions or {body["defaultAction"]})


def covers_abi(body: Mapping[str, Any], abi: Abi) -> bool:
    """Whether the profile covers calls of this ABI. One that names no architecture covers the native ABI
    alone."""
    if abi is Abi.NATIVE or not body.get("archMap"):
        return abi is Abi.NATIVE
    row = body["archMap"][0]
    for names in ARCHITECTURES.values():
        if names[Abi.NATIVE] == row["architecture"]:
            return names.get(abi) in (row.get("subArchitectures") or ())
    return False


def _verdict(action: str, error: int | None) -> Verdict:
    return Verdict(action, (EPERM if error is None else error) if action == ERRNO else 0)


def _holds(conditions: Sequence[Mapping[str, Any]], args: Sequence[int]) -> bool:
    by_index: dict[int, list[bool]] = {}
    for condition in conditions:
        index = condition["index"]
        value = args[index] if index < len(args) else 0
        by_index.setdefault(index, []).append(_compares(condition, value))
    return all(any(alternatives) for alternatives in by_index.values())


def _compares(condition: Mapping[str, Any], value: int) -> bool:
    wanted = int(condition["value"])
    match condition["op"]:
        case "SCMP_CMP_EQ":
            return value == wanted
        case "SCMP_CMP_NE":
            return value != wanted
        case "SCMP_CMP_LT":
            return value < wanted
        case "SCMP_CMP_LE":
            return value <= wanted
        case "SCMP_CMP_GT":
            return value > wanted
        case "SCMP_CMP_GE":
            return value >= wanted
        case "SCMP_CMP_MASKED_EQ":
            return value & wanted == int(condition["valueTwo"])
    raise ValueError(f"internal error: {condition['op']!r} is no comparison of libseccomp's")
