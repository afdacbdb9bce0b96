"""Which calls a container needs, for whom, and with which arguments."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import Repairs
from slimtrace.facts.events import Abi, CallArguments, CallSet, FirstCall, Origin, Phase
from slimtrace.facts.paths import printable
from slimtrace.reason.confine.docker_default import DEFAULT
from slimtrace.reason.confine.seccomp import argument_conditions
from slimtrace.reason.confine.seccomp.argument_conditions import LEARNED, Seen
from slimtrace.reason.confine.seccomp.margin import MARGIN, UNMEASURED, UNMEASURED_EXEC, was_measured

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
    """A system call that the profile allows, and everyone it is allowed for. `conditions` on its arguments, one
    of which has to hold, are () where there are none; `first` is the program that was the first to make it, ""
    where none did or it is not known."""

    name: str
    reasons: tuple[str, ...]
    conditions: Conditions = ()
    first: str = ""


@dataclass(frozen=True, slots=True)
class Needs:
    """All that a profile follows from. `made` and `refused` are what was called, and what was answered ENOSYS,
    whether a profile may allow it or not; `seen` the first arguments of the calls in LEARNED; `abis` those
    whose calls were made, beside the native one."""

    made: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    seen: Mapping[str, Seen] = field(default_factory=dict)
    abis: frozenset[Abi] = frozenset()


def needs(capture: Capture, repairs: Repairs) -> Needs:
    """What the capture and the repairs ask for."""
    health, trace = bool(capture.image.healthcheck), capture.trace
    groups = [(group, reason) for group in _ordered(trace.calls) if (reason := _reason(group, health))]
    made: dict[str, list[str]] = {}
    for group, reason in groups:
        for name in group.calls:
            made.setdefault(name, []).append(reason)
    for name in _unmeasured([group for group, _ in groups if group.phase is Phase.FILTERED]):
        made.setdefault(name, []).append(NOT_MEASURED)
    for name in (*repairs.calls, *(one.call for one in repairs.arguments if one.values)):
        made.setdefault(name, []).append(REPAIR)
    for name, why in MARGIN.items():
        made.setdefault(name, []).append(f"margin: {why}")
    foreign = {group.abi for group, _ in groups if group.calls or group.refused}
    return Needs(
        made={name: tuple(dict.fromkeys(made[name])) for name in sorted(made)},
        refused=frozenset(name for group, _ in groups for name in group.refused),
        seen={name: _seen(name, [group for group, _ in groups], trace.arguments, repairs) for name in LEARNED},
        abis=frozenset(foreign | {one.abi for one in repairs.arguments}) - {Abi.NATIVE},
    )


def _unmeasured(filtered: list[CallSet]) -> Iterator[str]:
    """What the runtime may call behind the filter and this recording could not show."""
    started, execed = (
        frozenset(name for group in filtered if group.origin is origin for name in group.calls)
        for origin in Origin
    )
    if not was_measured(started):
        yield from UNMEASURED
    if not was_measured(execed):
        yield from UNMEASURED_EXEC


def _ordered(groups: Iterable[CallSet]) -> list[CallSet]:
    return sorted(groups, key=lambda group: (group.origin, -group.phase, group.abi))


def _reason(group: CallSet, healthcheck: bool) -> str:
    if group.abi is Abi.RING:  # requests, which no filter sees
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


def _seen(name: str, groups: list[CallSet], arguments: tuple[CallArguments, ...], repairs: Repairs) -> Seen:
    """The arguments of one call in all that counts. Where one group's are not known, none are."""
    found = Seen()
    for group in groups:
        if name in group.calls:
            place = (group.phase, group.origin, group.abi)
            found |= argument_conditions.seen(
                one for one in arguments if one.call == name and (one.phase, one.origin, one.abi) == place
            )
    repaired = [one for one in repairs.arguments if one.call == name and one.values]
    if repaired:
        found |= argument_conditions.seen(repaired)
    return found | Seen(all=name in repairs.calls and not repaired)


def who(capture: Capture, repairs: Repairs = NOTHING) -> tuple[AllowedCall, ...]:
    """Every call to allow with its reasons, by name. What Docker's default profile denies is not among them:
    the program got on without it, or ran with more privileges than a profile is for."""
    return allowed(needs(capture, repairs), capture.trace.first_calls)


def allowed(asked: Needs, firsts: Iterable[FirstCall] = ()) -> tuple[AllowedCall, ...]:
    """The calls of `asked` that may be allowed."""
    first = _first_programs(firsts)
    found = []
    for name, reasons in asked.made.items():
        wanted = argument_conditions.conditions(name, asked.seen.get(name, Seen()))
        if name in DEFAULT and wanted is not None:
            found.append(AllowedCall(name, reasons, wanted, first.get(name, "")))
    return tuple(found)


def _first_programs(firsts: Iterable[FirstCall]) -> dict[str, str]:
    """The program that made each call first: the container's own before one that was exec'd into it."""
    programs = sorted((one.origin, one.abi, one.program, one.call) for one in firsts if one.phase is Phase.APP)
    return {name: program for _, _, program, name in reversed(programs) if program}


def reasons_text(calls: Iterable[AllowedCall]) -> str:
    """Each allowed call: for whom it is allowed, with which arguments, who made it first; a line each."""
    return "".join(f"{call.name:<24} {_told(call)}\n" for call in calls)


def _told(call: AllowedCall) -> str:
    parts = list(call.reasons)
    if limit := argument_conditions.described(call.name, call.conditions):
        parts.append(f"only with {limit}")
    if call.first:
        parts.append(f"first made by {printable(call.first)}")
    return "; ".join(parts)
