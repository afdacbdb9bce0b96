"""The calls and arguments that a profile refused in a run under it.

A call that a filter answers with an error returns like any other, and the recorder counts it at its return as
one that was made. It also counts a call for which the filter kills (bpf/README.md says on which kernels it does
not: there the exit code 159, of SIGSYS, is all that is known).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from slimtrace.facts.events import Abi, CallArguments, CallSet, Phase, Trace
from slimtrace.reason.confine.docker_default import CONDITIONS, DOCKER_ALLOWED
from slimtrace.reason.confine.seccomp.argument_conditions import docker_allows
from slimtrace.reason.confine.seccomp.verdict import (
    ARCHITECTURES,
    allows,
    covers_abi,
    may_allow,
    oci_architecture,
)

KILLED = 128 + 31  # the exit code that a shell or an engine gives for a process that SIGSYS killed


def refused_calls(body: Mapping[str, Any], trace: Trace, architecture: str) -> tuple[str, ...]:
    """The calls that were made behind the filter and are not allowed with any argument, though Docker's own
    profile allows them: those that a repair can add. `architecture` is the image's; calls of an ABI that no
    profile for it can name are left out."""
    found = {
        name
        for group in _groups_behind_filter(trace, architecture)
        for name in group.calls
        if name in DOCKER_ALLOWED
        and not may_allow(body, name, group.abi)
        and _allowed_by_docker(name, group, trace)
    }
    return tuple(sorted(found))


def refused_arguments(body: Mapping[str, Any], trace: Trace, architecture: str) -> tuple[CallArguments, ...]:
    """The arguments with which calls were made behind the filter that are not allowed, though Docker's own
    profile allows them; and, without values, one call of each ABI that the profile does not cover."""
    found = []
    for one in trace.arguments:
        if one.phase in (Phase.FILTERED, Phase.APP) and one.call in DOCKER_ALLOWED and one.index == 0:
            values = tuple(
                value
                for value in one.values
                if docker_allows(one.call, value) and not allows(body, one.call, (value,), one.abi)
            )
            if values:
                found.append(CallArguments(one.call, 0, values, one.phase, one.origin, one.abi, one.more))
    for group in _groups_behind_filter(trace, architecture):
        if group.calls and not covers_abi(body, group.abi):
            found.append(CallArguments(group.calls[0], 0, (), group.phase, group.origin, group.abi))
    return tuple(sorted(found, key=repr))


def _groups_behind_filter(trace: Trace, architecture: str) -> Iterator[CallSet]:
    abis = ARCHITECTURES.get(oci_architecture(architecture), (Abi.NATIVE,))
    for group in trace.calls:
        if group.phase in (Phase.FILTERED, Phase.APP) and group.abi in abis:
            yield group


def _allowed_by_docker(name: str, group: CallSet, trace: Trace) -> bool:
    """Whether Docker's own profile allows the call with an argument that it was made with."""
    if name not in CONDITIONS:
        return True
    group_key = (group.phase, group.origin, group.abi)
    arguments = [
        one for one in trace.arguments if one.call == name and (one.phase, one.origin, one.abi) == group_key
    ]
    return not arguments or any(
        one.more or any(docker_allows(name, value) for value in one.values) for one in arguments
    )
