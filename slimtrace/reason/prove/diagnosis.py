"""What a trial of the slim image lacked, by its trace: paths of the fat image on which lookups failed, calls
that the profile refused, capabilities and writable directories that it was not given."""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import DOCKER_CAPABILITIES, Confinement, Repairs
from slimtrace.facts.events import FileUse, Origin, Phase, Trace, Use
from slimtrace.facts.selection import Selection
from slimtrace.facts.tree import Kind, Resolution
from slimtrace.reason.confine import seccomp
from slimtrace.reason.keep.evidence import exec_session_test
from slimtrace.reason.keep.rules import Exclusion, Rules

_NOT_FOUND = frozenset((2, 20))  # ENOENT; ENOTDIR, where a symlink in place of a directory leads nowhere
EACCES, EROFS = 13, 30
MAX_SUSPECTS = 50_000  # of more suspects than that none is tried


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`repairs` are what the trial was seen to lack; of them `writable` counts only where the runs differ (a
    program that cannot write its cache often does without). `suspects` are paths whose absence only a listing
    of their directory could have shown. `excluded` are the paths that were looked up in vain and that a rule of
    the user's excludes, each with the rule."""

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
    missing_paths = sorted(
        {
            *_missing_paths(capture, selection, trace),
            *(_refused_by_apparmor(capture, trace) if mediated else ()),
        }
    )
    excluded = {path: exclusion.dropped_by(path) for path in missing_paths if exclusion.drops(path)}
    architecture = capture.image.architecture
    repairs = Repairs(
        paths=tuple(path for path in missing_paths if path not in excluded),
        calls=seccomp.refused_calls(profile, trace, architecture) if profile else (),
        arguments=seccomp.refused_arguments(profile, trace, architecture) if profile else (),
        capabilities=_denied_capabilities(trace, confinement) if confinement else (),
        writable=tuple(sorted(set(_unwritable_directories(capture, trace)))) if confinement else (),
    )
    listed = (path for path in _absent_from_listings(capture, selection, trace) if not exclusion.drops(path))
    suspects = tuple(sorted(set(listed)))
    return Diagnosis(repairs, suspects if len(suspects) <= MAX_SUSPECTS else (), excluded)


def used_repairs(capture: Capture, repairs: Repairs, traces: Iterable[Trace]) -> Repairs:
    """The `repairs` that the trials without a difference made use of: a program that lacks one thing may look
    for others that it does not need otherwise."""
    tree = capture.tree
    used_paths: set[str] = set()
    used_calls: set[str] = set()
    granted: set[str] = set()
    for trace in traces:
        for use in trace.uses:
            used_paths.add(use.resolved)
            if use.asked and (use.base or use.asked.startswith("/")):
                found = tree.resolve(paths.join(use.base, use.asked), follow_last=use.use is not Use.LINK)
                used_paths |= {found.path, *found.links}
        used_calls |= {name for group in trace.calls for name in group.calls}
        granted |= {name for group in trace.capabilities for name in group.granted}
    return replace(
        repairs,
        paths=tuple(path for path in repairs.paths if path in used_paths),
        calls=tuple(name for name in repairs.calls if name in used_calls),
        capabilities=tuple(name for name in repairs.capabilities if name in granted),
    )


def needed_repairs(capture: Capture, repairs: Repairs) -> Repairs:
    """The `repairs` that are needed although the trial showed no difference: without the writable directories,
    and without the capabilities that the fat run was denied too, as the program does without these."""
    granted, denied = _capability_checks(capture.trace)
    did_without = denied - granted
    return replace(
        repairs,
        writable=(),
        capabilities=tuple(name for name in repairs.capabilities if name not in did_without),
    )


def _failed_uses(capture: Capture, trace: Trace, errors: Set[int]) -> Iterator[tuple[FileUse, Resolution]]:
    """The file uses of the container itself that failed with one of `errors`, each with where its path leads in
    the fat image."""
    in_exec_session = exec_session_test(trace, capture.image)
    for use in trace.uses:
        known = use.asked and (use.base or use.asked.startswith("/")) and not use.truncated
        if use.error in errors and known and not in_exec_session(use.pid, use.origin):
            follow = use.use is not Use.LINK
            yield use, capture.tree.resolve(paths.join(use.base, use.asked), follow_last=follow)


def _missing_paths(capture: Capture, selection: Selection, trace: Trace) -> Iterator[str]:
    """The paths at which failed lookups would have ended in the fat image, and the symlinks on the way there,
    as far as they are not kept."""
    # A path on a mount of the fat run is not the image's; but a VOLUME begins with what the image has.
    mounts = {mount.path for mount in capture.trace.mounts} - {"/", *capture.image.volumes}
    for _, found in _failed_uses(capture, trace, _NOT_FOUND):
        if found.entry is None or any(paths.below(found.path, mount) for mount in mounts):
            continue
        yield from (link for link in found.links if link not in selection)
        if found.path not in selection:
            yield found.path


def _refused_by_apparmor(capture: Capture, trace: Trace) -> Iterator[str]:
    """The paths that could not be read in the trial, though the fat run was not refused them: the AppArmor
    profile has no rule for them."""
    refused_in_fat_run = {(use.base, use.asked) for use in capture.trace.uses if use.error == EACCES}
    for use, found in _failed_uses(capture, trace, {EACCES}):
        reading = use.use not in (Use.WRITE, Use.CHANGE)
        if reading and found.entry is not None and (use.base, use.asked) not in refused_in_fat_run:
            yield found.path


def _absent_from_listings(capture: Capture, selection: Selection, trace: Trace) -> Iterator[str]:
    """The paths that only the fat image has, in directories that were listed in the trial."""
    in_exec_session = exec_session_test(trace, capture.image)
    listed = {
        use.resolved
        for use in trace.uses
        if use.use is Use.LIST
        and not use.error
        and not use.foreign
        and not in_exec_session(use.pid, use.origin)
    }
    for directory in listed:
        for child in capture.tree.children(directory) if directory in capture.tree else ():
            if child not in selection:
                yield from capture.tree.subtree(child)


def _denied_capabilities(trace: Trace, confinement: Confinement) -> tuple[str, ...]:
    """The capabilities that the program was denied, and Docker would have given to it."""
    _, denied = _capability_checks(trace)
    return tuple(sorted((denied & set(DOCKER_CAPABILITIES)) - set(confinement.cap_add)))


def _capability_checks(trace: Trace) -> tuple[set[str], set[str]]:
    """The capabilities that the program was granted, and denied, at least once."""
    own = [
        group for group in trace.capabilities if group.phase is Phase.APP and group.origin is Origin.CONTAINER
    ]
    return {name for group in own for name in group.granted}, {name for group in own for name in group.denied}


def _unwritable_directories(capture: Capture, trace: Trace) -> Iterator[str]:
    """The nearest directories of the image above the paths that could not be written on a read-only root."""
    for _, found in _failed_uses(capture, trace, {EROFS}):
        path = paths.parent(found.path)
        for step in (path, *paths.parents(path)):
            entry = capture.tree.get(step)
            if entry is not None and entry.kind is Kind.DIR:
                yield step
                break


__all__ = ["Diagnosis", "diagnose", "used_repairs"]
