"""The system calls that a container needs, with the reasons and the arguments."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import Repairs
from slimtrace.facts.events import Abi, CallArguments, CallSet, FirstCall, Origin, Phase
from slimtrace.facts.paths import printable
from slimtrace.reason.confine.docker_default import DOCKER_ALLOWED
from slimtrace.reason.confine.seccomp import argument_conditions
from slimtrace.reason.confine.seccomp.argument_conditions import CONDITIONAL_CALLS, SeenValues
from slimtrace.reason.confine.seccomp.margin import MARGIN, RUNTIME_CALLS, RUNTIME_EXEC_CALLS, was_measured

CONTAINER = "the container"
RUNTIME = "the runtime, before the program starts"
RUNTIME_EXEC = "the runtime, before an exec'd program starts"
HEALTHCHECK = "a program exec'd into the container, as HEALTHCHECK's is"
NOT_MEASURED = "the runtime, as other runs of it showed; in this one it could not be measured"
REPAIR = "repair: the slim image's trial was refused it"

NOTHING = Repairs()
Conditions = tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class AllowedCall:
    """A system call that the profile allows, with the `reasons`: who made it, or may. `conditions` on its
    arguments, one of which has to hold, are () where there are none; `first` is the program that was the first
    to make the call, "" where none did or the program is not known."""

    name: str
    reasons: tuple[str, ...]
    conditions: Conditions = ()
    first: str = ""


@dataclass(frozen=True, slots=True)
class Needs:
    """All that a profile follows from. `made` are the calls with their reasons and `refused` those that were
    answered ENOSYS, whether a profile may allow them or not; `seen` the first arguments of the
    CONDITIONAL_CALLS; `abis` the ABIs of which calls were made, without the native one."""

    made: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    seen: Mapping[str, SeenValues] = field(default_factory=dict)
    abis: frozenset[Abi] = frozenset()


def collect_needs(capture: Capture, repairs: Repairs) -> Needs:
    """The needs that the capture and the repairs show."""
    health, trace = bool(capture.image.healthcheck), capture.trace
    groups = [(group, reason) for group in _ordered(trace.calls) if (reason := _reason(group, health))]
    made: dict[str, list[str]] = {}
    for group, reason in groups:
        for name in group.calls:
            made.setdefault(name, []).append(reason)
    for name in _unmeasured([group for group, _ in groups if group.phase is Phase.FILTERED]):
        made.setdefault(name, []).append(NOT_MEASURED)
    for name in (*repairs.calls, *(each.call for each in repairs.arguments if each.values)):
        made.setdefault(name, []).append(REPAIR)
    for name, why in MARGIN.items():
        made.setdefault(name, []).append(f"margin: {why}")
    foreign = {group.abi for group, _ in groups if group.calls or group.refused}
    return Needs(
        made={name: tuple(dict.fromkeys(made[name])) for name in sorted(made)},
        refused=frozenset(name for group, _ in groups for name in group.refused),
        seen={
            name: _seen_values(name, [group for group, _ in groups], trace.arguments, repairs)
            for name in CONDITIONAL_CALLS
        },
        abis=frozenset(foreign | {each.abi for each in repairs.arguments}) - {Abi.NATIVE},
    )


def _unmeasured(filtered: list[CallSet]) -> Iterator[str]:
    """The calls that the runtime may make behind the filter and that this recording could not show."""
    started, exec_session = (
        frozenset(name for group in filtered if group.origin is origin for name in group.calls)
        for origin in Origin
    )
    if not was_measured(started):
        yield from RUNTIME_CALLS
    if not was_measured(exec_session):
        yield from RUNTIME_EXEC_CALLS


def _ordered(groups: Iterable[CallSet]) -> list[CallSet]:
    return sorted(groups, key=lambda group: (group.origin, -group.phase, group.abi))


def _reason(group: CallSet, healthcheck: bool) -> str:
    if group.abi is Abi.IO_URING:  # requests of io_uring, which no filter sees
        return ""
    match group.phase, group.origin:
        case Phase.APP, Origin.CONTAINER:
            return CONTAINER
        case Phase.FILTERED, Origin.CONTAINER:
            return RUNTIME
        case Phase.FILTERED, Origin.EXEC:
            return RUNTIME_EXEC
        case Phase.APP, Origin.EXEC if healthcheck:
            return HEALTHCHECK
    return ""


def _seen_values(
    name: str, groups: list[CallSet], arguments: tuple[CallArguments, ...], repairs: Repairs
) -> SeenValues:
    """The arguments of one call in all `groups` and repairs. Where those of one group are not known, any
    counts."""
    found = SeenValues()
    for group in groups:
        if name in group.calls:
            group_key = (group.phase, group.origin, group.abi)
            found |= argument_conditions.seen_values(
                each
                for each in arguments
                if each.call == name and (each.phase, each.origin, each.abi) == group_key
            )
    repaired = [each for each in repairs.arguments if each.call == name and each.values]
    if repaired:
        found |= argument_conditions.seen_values(repaired)
    return found | SeenValues(all=name in repairs.calls and not repaired)


def allowed_calls(capture: Capture, repairs: Repairs = NOTHING) -> tuple[AllowedCall, ...]:
    """Every call to allow with its reasons, by name. Calls that Docker's default profile denies are not among
    them: the program got on without them, or ran with more privileges than a profile is for."""
    return allowable(collect_needs(capture, repairs), capture.trace.first_calls)


def allowable(collected: Needs, first_calls: Iterable[FirstCall] = ()) -> tuple[AllowedCall, ...]:
    """The calls of `collected` that a profile may allow, since Docker's own does."""
    first = _first_programs(first_calls)
    found = []
    for name, reasons in collected.made.items():
        conditions = argument_conditions.conditions(name, collected.seen.get(name, SeenValues()))
        if name in DOCKER_ALLOWED and conditions is not None:
            found.append(AllowedCall(name, reasons, conditions, first.get(name, "")))
    return tuple(found)


def _first_programs(first_calls: Iterable[FirstCall]) -> dict[str, str]:
    """The program that made each call first: the container's own before one that was exec'd into it."""
    programs = sorted(
        (each.origin, each.abi, each.program, each.call) for each in first_calls if each.phase is Phase.APP
    )
    return {name: program for _, _, program, name in reversed(programs) if program}


def reasons_text(calls: Iterable[AllowedCall]) -> str:
    """A line for each allowed call: its reasons, its arguments, and the program that made it first."""
    return "".join(f"{call.name:<24} {_reason_line(call)}\n" for call in calls)


def _reason_line(call: AllowedCall) -> str:
    parts = list(call.reasons)
    if limit := argument_conditions.describe(call.name, call.conditions):
        parts.append(f"only with {limit}")
    if call.first:
        parts.append(f"first made by {printable(call.first)}")
    return "; ".join(parts)
