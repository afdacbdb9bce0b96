"""Several captures of one image as one: what any of them saw.

Everything is a union, so that order, grouping and repetition do not matter (merge is associative, commutative
and idempotent; tests/reason/test_merge.py). Two things are not: of `mounts` only those stay that every run had,
since what one run saw in the image must not be hidden by another's volume; of `lost` the worst run counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from functools import reduce
from typing import Any, TypeVar

from slimtrace.errors import SlimtraceError
from slimtrace.facts.capture import Answers, Capture
from slimtrace.facts.events import (
    MAX_VALUES,
    Abi,
    CallArguments,
    CallSet,
    CapabilitySet,
    FirstCall,
    Mount,
    Origin,
    Phase,
    Trace,
)
from slimtrace.facts.runs import Run

K = TypeVar("K")
V = TypeVar("V")
Value = TypeVar("Value", int, str)
S = TypeVar("S", CallSet, CapabilitySet)


def merge(captures: Sequence[Capture]) -> Capture:
    """One capture of them all; at least one is wanted. Raises SlimtraceError when they are not of one image."""
    # a name says more than an id
    first = min(
        captures, key=lambda capture: (capture.image.id in capture.image.reference, repr(capture.image))
    )
    for capture in captures:
        if capture.image.id != first.image.id:
            raise SlimtraceError(
                f"cannot merge captures of two images: {first.image.reference} ({short(first)}) and "
                f"{capture.image.reference} ({short(capture)})",
                "record them all from the same image",
            )
    return Capture(
        image=first.image,
        tree=max((capture.tree for capture in captures), key=len),
        trace=reduce(_traces, (capture.trace for capture in captures), captures[0].trace),
        contents=reduce(_answers, (_known(capture) for capture in captures)),
        runs=_runs(run for capture in captures for run in capture.runs),
    )


def short(capture: Capture) -> str:
    """The image's id, short enough to read."""
    return capture.image.id.removeprefix("sha256:")[:12] or "no id"


def _known(capture: Capture) -> Answers:
    contents = capture.contents
    return contents if isinstance(contents, Answers) else getattr(contents, "answers", Answers)()


def _traces(one: Trace, other: Trace) -> Trace:
    return Trace(
        uses=_union(one.uses, other.uses),
        execs=_union(one.execs, other.execs),
        listens=_union(one.listens, other.listens),
        calls=_calls((*one.calls, *other.calls)),
        capabilities=_capabilities((*one.capabilities, *other.capabilities)),
        mounts=_mounts(one.mounts, other.mounts),
        parents=_mappings(one.parents, other.parents),
        lost=max(one.lost, other.lost),
        doubts=_union(one.doubts, other.doubts),
        sockets=_union(one.sockets, other.sockets),
        own_execs=tuple(sorted({*one.own_execs, *other.own_execs})),
        arguments=_arguments((*one.arguments, *other.arguments)),
        first_calls=_first_calls((*one.first_calls, *other.first_calls)),
    )


def _union(one: Iterable[K], other: Iterable[K]) -> tuple[K, ...]:
    """Both without repetition, in an order that does not depend on theirs."""

    def order(fact: Any) -> tuple[str, ...]:
        return tuple(repr(value) for value in astuple(fact))

    return tuple(sorted({*one, *other}, key=order))


def _mounts(one: Iterable[Mount], other: Iterable[Mount]) -> tuple[Mount, ...]:
    """Those whose place both have; where they differ in what is there, the greater."""
    mine, theirs = ({mount.path: mount for mount in mounts} for mounts in (one, other))
    return tuple(max(mine[path], theirs[path], key=repr) for path in sorted(mine.keys() & theirs.keys()))


def _mappings(one: Mapping[K, V], other: Mapping[K, V]) -> dict[K, V]:
    """Both; where they differ (a pid that was used again) the smaller value, so that order does not matter."""
    found = dict(one)
    for key, value in other.items():
        found[key] = min(found[key], value, key=repr) if key in found else value
    return {key: found[key] for key in sorted(found, key=repr)}


def _grouped(sets: Iterable[S]) -> list[tuple[Origin, Phase, Abi, list[S]]]:
    """What was seen in the same phase, origin and ABI, together; capabilities have no ABI."""
    groups: dict[tuple[Abi, Origin, Phase], list[S]] = {}
    for one in sets:
        abi = one.abi if isinstance(one, CallSet) else Abi.NATIVE
        groups.setdefault((abi, one.origin, one.phase), []).append(one)
    return [(origin, phase, abi, groups[abi, origin, phase]) for abi, origin, phase in sorted(groups)]


def _every(values: Iterable[Iterable[Value]]) -> tuple[Value, ...]:
    return tuple(sorted({value for some in values for value in some}))


def _calls(sets: Iterable[CallSet]) -> tuple[CallSet, ...]:
    return tuple(
        CallSet(
            phase,
            origin,
            calls=_every(one.calls for one in group),
            refused=_every(one.refused for one in group),
            nameless=_every(one.nameless for one in group),
            abi=abi,
        )
        for origin, phase, abi, group in _grouped(sets)
    )


def _arguments(told: Iterable[CallArguments]) -> tuple[CallArguments, ...]:
    """Of each call in one place the values of all; of more than MAX_VALUES the smallest."""
    groups: dict[tuple[Abi, Origin, Phase, str, int], list[CallArguments]] = {}
    for one in told:
        groups.setdefault((one.abi, one.origin, one.phase, one.call, one.index), []).append(one)
    found = []
    for (abi, origin, phase, call, index), group in sorted(groups.items(), key=lambda item: item[0]):
        values = _every(one.values for one in group)
        more = len(values) > MAX_VALUES or any(one.more for one in group)
        found.append(CallArguments(call, index, values[:MAX_VALUES], phase, origin, abi, more))
    return tuple(found)


def _first_calls(told: Iterable[FirstCall]) -> tuple[FirstCall, ...]:
    """Of several that were first, each in its run, the one whose program and number are the smallest."""
    found: dict[tuple[Abi, Origin, Phase, str], FirstCall] = {}
    for one in sorted(told, key=lambda one: (one.program == "", one.program, one.pid)):
        found.setdefault((one.abi, one.origin, one.phase, one.call), one)
    return tuple(found[place] for place in sorted(found))


def _capabilities(sets: Iterable[CapabilitySet]) -> tuple[CapabilitySet, ...]:
    return tuple(
        CapabilitySet(
            phase,
            origin,
            granted=_every(one.granted for one in group),
            denied=_every(one.denied for one in group),
        )
        for origin, phase, _, group in _grouped(sets)
    )


def _runs(runs: Iterable[Run]) -> tuple[Run, ...]:
    """All of them, each once, in an order that does not depend on theirs."""
    found = {repr(run): run for run in runs}
    return tuple(found[key] for key in sorted(found))


def _answers(one: Answers, other: Answers) -> Answers:
    return Answers(
        elfs=_mappings(one.elfs, other.elfs),
        heads=_mappings(one.heads, other.heads),
        texts=_mappings(one.texts, other.texts),
        named=_mappings(one.named, other.named),
        packaged=_mappings(one.packaged, other.packaged),
    )
