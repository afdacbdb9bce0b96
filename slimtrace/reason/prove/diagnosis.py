"""What a trial of the slim image lacked, by its trace: lookups that failed there and end at something in the
fat image, calls that the profile refused, capabilities and places to write in that it was not given."""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import GIVEN, Confinement, Repairs
from slimtrace.facts.events import FileUse, Origin, Phase, Trace, Use
from slimtrace.facts.selection import Selection
from slimtrace.facts.tree import Kind, Resolution
from slimtrace.reason.confine import seccomp
from slimtrace.reason.keep.evidence import strangers
from slimtrace.reason.keep.rules import Exclusion, Rules

_MISSING = frozenset((2, 20))  # ENOENT; ENOTDIR, where a link in place of a directory leads nowhere
EACCES, EROFS = 13, 30
SUSPECTS = 50_000  # paths that are tried at most because a directory above them was listed


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`repairs` are what the trial was seen to lack; of them `writable` counts only where the runs differ (a
    program that cannot write its cache often does without). `suspects` are paths whose absence only a listing
    of their directory could have shown. `excluded` are the paths that were looked for in vain and that a rule
    of the user's keeps out, each with the rule."""

    repairs: Repairs
    suspects: tuple[str, ...] = ()
    excluded: Mapping[str, str] = field(default_factory=dict)


def diagnose(
    capture: Capture,
    selection: Selection,
    rules: Rules,
    trace: Trace,
    confinement: Confinement | None = None,
    profile: Mapping[str, Any] | None = None,
    mediated: bool = False,
) -> Diagnosis:
    """Read the `trace` of a trial of what `selection` keeps, under `confinement` and the seccomp `profile`
    (None where it ran without); `mediated` says that an AppArmor profile was in force, which refuses with
    EACCES what it has no rule for."""
    exclusion = Exclusion(capture.tree, rules)
    missed = sorted({*_missed(capture, selection, trace), *(_refused(capture, trace) if mediated else ())})
    excluded = {path: exclusion.dropped_by(path) for path in missed if exclusion.drops(path)}
    architecture = capture.image.architecture
    repairs = Repairs(
        paths=tuple(path for path in missed if path not in excluded),
        calls=seccomp.refused(profile, trace, architecture) if profile else (),
        arguments=seccomp.refused_arguments(profile, trace, architecture) if profile else (),
        capabilities=_denied(trace, confinement) if confinement else (),
        writable=tuple(sorted(set(_unwritable(capture, trace)))) if confinement else (),
    )
    listed = (path for path in _listed(capture, selection, trace) if not exclusion.drops(path))
    suspects = tuple(sorted(set(listed)))
    return Diagnosis(repairs, suspects if len(suspects) <= SUSPECTS else (), excluded)


def used(capture: Capture, repairs: Repairs, traces: Iterable[Trace]) -> Repairs:
    """Of `repairs` what the trials that came out well made use of: a program that lacks one thing may look for
    others that it has no need of otherwise."""
    tree = capture.tree
    reached: set[str] = set()
    called: set[str] = set()
    granted: set[str] = set()
    for trace in traces:
        for use in trace.uses:
            reached.add(use.resolved)
            if use.asked and (use.base or use.asked.startswith("/")):
                found = tree.resolve(paths.join(use.base, use.asked), follow_last=use.use is not Use.LINK)
                reached |= {found.path, *found.links}
        called |= {name for group in trace.calls for name in group.calls}
        granted |= {name for group in trace.capabilities for name in group.granted}
    return replace(
        repairs,
        paths=tuple(path for path in repairs.paths if path in reached),
        calls=tuple(name for name in repairs.calls if name in called),
        capabilities=tuple(name for name in repairs.capabilities if name in granted),
    )


def needed(capture: Capture, repairs: Repairs) -> Repairs:
    """Of `repairs` what is wanted although the trial came out well. A place to write in is not, nor what the
    fat run was denied too: the program does without."""
    granted, denied = _verdicts(capture.trace)
    did_without = denied - granted
    return replace(
        repairs,
        writable=(),
        capabilities=tuple(name for name in repairs.capabilities if name not in did_without),
    )


def _failed(capture: Capture, trace: Trace, errors: Set[int]) -> Iterator[tuple[FileUse, Resolution]]:
    """What the container itself asked for in vain with one of these errors, and where that leads in the fat
    image."""
    stranger = strangers(trace, capture.image)
    for use in trace.uses:
        known = use.asked and (use.base or use.asked.startswith("/")) and not use.truncated
        if use.error in errors and known and not stranger(use.pid, use.origin):
            follow = use.use is not Use.LINK
            yield use, capture.tree.resolve(paths.join(use.base, use.asked), follow_last=follow)


def _missed(capture: Capture, selection: Selection, trace: Trace) -> Iterator[str]:
    """Where failed lookups would have ended in the fat image, as far as that is not kept."""
    # What lay on a mount in the fat run too was not the image's; a VOLUME begins with what the image has.
    mounts = {mount.path for mount in capture.trace.mounts} - {"/", *capture.image.volumes}
    for _, found in _failed(capture, trace, _MISSING):
        if found.entry is None or any(paths.below(found.path, mount) for mount in mounts):
            continue
        yield from (link for link in found.links if link not in selection)
        if found.path not in selection:
            yield found.path


def _refused(capture: Capture, trace: Trace) -> Iterator[str]:
    """What could not be read in the trial, though the fat run was not refused it: the profile has no rule."""
    before = {(use.base, use.asked) for use in capture.trace.uses if use.error == EACCES}
    for use, found in _failed(capture, trace, {EACCES}):
        reading = use.use not in (Use.WRITE, Use.CHANGE)
        if reading and found.entry is not None and (use.base, use.asked) not in before:
            yield found.path


def _listed(capture: Capture, selection: Selection, trace: Trace) -> Iterator[str]:
    """What the fat image has, and the slim one has not, in directories that were listed in the trial."""
    stranger = strangers(trace, capture.image)
    listed = {
        use.resolved
        for use in trace.uses
        if use.use is Use.LIST and not use.error and not use.foreign and not stranger(use.pid, use.origin)
    }
    for directory in listed:
        for child in capture.tree.children(directory) if directory in capture.tree else ():
            if child not in selection:
                yield from capture.tree.subtree(child)


def _denied(trace: Trace, confinement: Confinement) -> tuple[str, ...]:
    """What the program was denied, and Docker would have given to it."""
    _, denied = _verdicts(trace)
    return tuple(sorted((denied & set(GIVEN)) - set(confinement.cap_add)))


def _verdicts(trace: Trace) -> tuple[set[str], set[str]]:
    """The capabilities that the program was granted, and denied, at least once."""
    own = [
        group for group in trace.capabilities if group.phase is Phase.APP and group.origin is Origin.CONTAINER
    ]
    return {name for group in own for name in group.granted}, {name for group in own for name in group.denied}


def _unwritable(capture: Capture, trace: Trace) -> Iterator[str]:
    """The nearest directories of the image in which something could not be written for a read-only root."""
    for _, found in _failed(capture, trace, {EROFS}):
        path = paths.parent(found.path)
        for step in (path, *paths.parents(path)):
            entry = capture.tree.get(step)
            if entry is not None and entry.kind is Kind.DIR:
                yield step
                break


__all__ = ["Diagnosis", "diagnose", "used"]
