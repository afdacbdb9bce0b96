"""Several captures of one image as one, with what any of them saw.

Everything is a union, so that order, grouping and repetition do not matter (merging is associative, commutative
and idempotent; tests/reason/test_merge.py). Two things are no union: of `mounts` only those stay that every run
had, since what one run saw in the image must not be hidden by another's volume; of `lost` the largest count
stays.
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


def merge_captures(captures: Sequence[Capture]) -> Capture:
    """One capture of all `captures`, of which there must be at least one. Raises SlimtraceError when they are
    not of one image."""
    # Of the references one that is a name comes before one that is the id.
    first = min(
        captures, key=lambda capture: (capture.image.id in capture.image.reference, repr(capture.image))
    )
    for capture in captures:
        if capture.image.id != first.image.id:
            raise SlimtraceError(
                f"cannot merge captures of two images: {first.image.reference} ({short_id(first)}) and "
                f"{capture.image.reference} ({short_id(capture)})",
                "record them all from the same image",
            )
    return Capture(
        image=first.image,
        tree=max((capture.tree for capture in captures), key=len),
        trace=reduce(_traces, (capture.trace for capture in captures), captures[0].trace),
        contents=reduce(_answers, (_stored_answers(capture) for capture in captures)),
        runs=_runs(run for capture in captures for run in capture.runs),
    )


def short_id(capture: Capture) -> str:
    """The image's id, short enough to read."""
    return capture.image.id.removeprefix("sha256:")[:12] or "no id"


def _stored_answers(capture: Capture) -> Answers:
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
        parents=_merged_mappings(one.parents, other.parents),
        lost=max(one.lost, other.lost),
        doubts=_union(one.doubts, other.doubts),
        sockets=_union(one.sockets, other.sockets),
        own_execs=tuple(sorted({*one.own_execs, *other.own_execs})),
        arguments=_arguments((*one.arguments, *other.arguments)),
        first_calls=_first_calls((*one.first_calls, *other.first_calls)),
    )


def _union(one: Iterable[K], other: Iterable[K]) -> tuple[K, ...]:
    """The facts of both without repetition, in an order that does not depend on theirs."""

    def order(fact: Any) -> tuple[str, ...]:
        return tuple(repr(value) for value in astuple(fact))

    return tuple(sorted({*one, *other}, key=order))


def _mounts(one: Iterable[Mount], other: Iterable[Mount]) -> tuple[Mount, ...]:
    """The mounts at the paths that both have; where two differ in what is mounted, the greater of them."""
    first, second = ({mount.path: mount for mount in mounts} for mounts in (one, other))
    return tuple(max(first[path], second[path], key=repr) for path in sorted(first.keys() & second.keys()))


def _merged_mappings(one: Mapping[K, V], other: Mapping[K, V]) -> dict[K, V]:
    """The entries of both; where two values differ (a pid that was used again) the smaller, so that the order
    of the captures does not matter."""
    found = dict(one)
    for key, value in other.items():
        found[key] = min(found[key], value, key=repr) if key in found else value
    return {key: found[key] for key in sorted(found, key=repr)}


def _grouped(sets: Iterable[S]) -> list[tuple[Origin, Phase, Abi, list[S]]]:
    """The sets of each phase, origin and ABI together; capabilities have no ABI."""
    groups: dict[tuple[Abi, Origin, Phase], list[S]] = {}
    for one in sets:
        abi = one.abi if isinstance(one, CallSet) else Abi.NATIVE
        groups.setdefault((abi, one.origin, one.phase), []).append(one)
    return [(origin, phase, abi, groups[abi, origin, phase]) for abi, origin, phase in sorted(groups)]


def _sorted_union(values: Iterable[Iterable[Value]]) -> tuple[Value, ...]:
    return tuple(sorted({value for some in values for value in some}))


def _calls(sets: Iterable[CallSet]) -> tuple[CallSet, ...]:
    return tuple(
        CallSet(
            phase,
            origin,
            calls=_sorted_union(one.calls for one in group),
            refused=_sorted_union(one.refused for one in group),
            nameless=_sorted_union(one.nameless for one in group),
            abi=abi,
        )
        for origin, phase, abi, group in _grouped(sets)
    )


def _arguments(recorded: Iterable[CallArguments]) -> tuple[CallArguments, ...]:
    """All values of each call's argument in one phase, origin and ABI; of more than MAX_VALUES the smallest."""
    groups: dict[tuple[Abi, Origin, Phase, str, int], list[CallArguments]] = {}
    for one in recorded:
        groups.setdefault((one.abi, one.origin, one.phase, one.call, one.index), []).append(one)
    found = []
    for (abi, origin, phase, call, index), group in sorted(groups.items(), key=lambda item: item[0]):
        values = _sorted_union(one.values for one in group)
        more = len(values) > MAX_VALUES or any(one.more for one in group)
        found.append(CallArguments(call, index, values[:MAX_VALUES], phase, origin, abi, more))
    return tuple(found)


def _first_calls(recorded: Iterable[FirstCall]) -> tuple[FirstCall, ...]:
    """Of the first callers of several runs the one whose program and process number are the smallest."""
    found: dict[tuple[Abi, Origin, Phase, str], FirstCall] = {}
    for one in sorted(recorded, key=lambda one: (one.program == "", one.program, one.pid)):
        found.setdefault((one.abi, one.origin, one.phase, one.call), one)
    return tuple(found[place] for place in sorted(found))


def _capabilities(sets: Iterable[CapabilitySet]) -> tuple[CapabilitySet, ...]:
    return tuple(
        CapabilitySet(
            phase,
            origin,
            granted=_sorted_union(one.granted for one in group),
            denied=_sorted_union(one.denied for one in group),
        )
        for origin, phase, _, group in _grouped(sets)
    )


def _runs(runs: Iterable[Run]) -> tuple[Run, ...]:
    """All runs, each once, in an order that does not depend on that of `runs`."""
    found = {repr(run): run for run in runs}
    return tuple(found[key] for key in sorted(found))


def _answers(one: Answers, other: Answers) -> Answers:
    return Answers(
        elfs=_merged_mappings(one.elfs, other.elfs),
        heads=_merged_mappings(one.heads, other.heads),
        texts=_merged_mappings(one.texts, other.texts),
        named=_merged_mappings(one.named, other.named),
        packaged=_merged_mappings(one.packaged, other.packaged),
    )
