"""Why a path is not in the slim image: the part of ``slimtrace why`` for absent and dropped paths."""

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import FileUse, Trace, Use
from slimtrace.facts.tree import FileTree, Kind
from slimtrace.reason.explain.reason_text import in_words
from slimtrace.reason.explain.repeat_decision import Decision
from slimtrace.reason.keep.evidence import ENOENT, exec_session_test
from slimtrace.reason.keep.rules import Exclusion

MAX_SHOWN = 3  # paths, programs or reasons in one sentence
# Comparing two names takes the product of their lengths: of very many names only the likeliest are compared.
MAX_COMPARED = 500


@dataclass(frozen=True, slots=True)
class AbsenceReason:
    """One reason why a path is not there: a stable `code`, and a sentence without full stop."""

    code: str
    text: str


def why_absent(capture: Capture, decision: Decision, path: str) -> tuple[AbsenceReason, ...]:
    """The reasons for a path that the image does not have."""
    return tuple(_absent(capture, decision, path))


def why_dropped(
    capture: Capture, decision: Decision, path: str, owner: Callable[[str], str]
) -> tuple[AbsenceReason, ...]:
    """The reasons for an entry of the image that is not kept."""
    return tuple(_dropped(capture, decision, path, owner))


def _absent(capture: Capture, decision: Decision, path: str) -> Iterator[AbsenceReason]:
    if path in capture.tree:
        yield AbsenceReason("no-directory", f"{path} is no directory, and the path asks for one")
        return
    yield AbsenceReason("absent", "it is not in the image at all")
    yield from _mounted(capture, decision, path)
    container_uses, exec_session_uses = _uses(capture, path)
    writers = _programs(
        use
        for use in (*container_uses, *exec_session_uses)
        if use.use in (Use.WRITE, Use.CHANGE) and not use.error
    )
    if writers:
        yield AbsenceReason("written", f"the container wrote it when it ran ({writers}), and will again")
    elif seekers := _programs(use for use in container_uses if use.error == ENOENT):
        yield AbsenceReason("sought", f"it was looked for in vain by {seekers}")
    tree = capture.tree
    nearest = _nearest(tree, path)
    missing = path[len(nearest.rstrip("/")) :].split("/")[1]
    similar = _similar(missing, [paths.name(child) for child in tree.children(nearest)])
    similar_text = f"; similar there: {_join(similar)}" if similar else ""
    yield AbsenceReason("nearest", f"the nearest directory there is {nearest}{similar_text}")
    namesakes = [entry.path for entry in tree if paths.name(entry.path) == paths.name(path)]
    if namesakes:
        yield AbsenceReason("elsewhere", f"of the same name: {_join(namesakes)}")


def _dropped(
    capture: Capture, decision: Decision, path: str, owner: Callable[[str], str]
) -> Iterator[AbsenceReason]:
    selection, graph = decision.selection, decision.graph
    pattern = Exclusion(capture.tree, decision.rules).dropped_by(path)
    if path in graph and pattern:
        reasons = "; ".join(in_words(reason) for reason in graph.reasons(path)[:MAX_SHOWN])
        yield AbsenceReason("excluded", f"it is excluded by the pattern {pattern}; without that: {reasons}")
        return
    yield from _mounted(capture, decision, path)
    _, exec_session_uses = _uses(capture, path)
    if exec_session_uses:
        own = _descendants_of(capture.trace, frozenset(capture.trace.own_execs))
        own_exec_uses = [use for use in exec_session_uses if own(use.pid)]
        if own_exec_uses:
            yield AbsenceReason(
                "own-exec", f"only your own --exec used it: {_commands(capture.trace, own_exec_uses, own)}"
            )
        if others := _programs(use for use in exec_session_uses if not own(use.pid)):
            yield AbsenceReason(
                "exec", f"only what was exec'd into the container from outside used it: {others}"
            )
    else:
        yield AbsenceReason(
            "unused", "nothing used it while the container was watched, and nothing kept names it"
        )
    names = [name for name in capture.tree.hardlinks(path) if name != path and name in selection]
    if names:
        yield AbsenceReason("hardlink", f"another name of the same file is kept: {_join(names)}")
    if pattern:
        yield AbsenceReason("excluded", f"it would be excluded by the pattern {pattern} too")
    yield _siblings(capture.tree, decision, path)
    if package := owner(path):
        kept = [other for other in sorted(selection.kept) if owner(other) == package]
        used = f"of which is kept: {_join(kept)}" if kept else "of which nothing is kept"
        yield AbsenceReason("package", f"it belongs to the package {package}, {used}")


def _siblings(tree: FileTree, decision: Decision, path: str) -> AbsenceReason:
    selection = decision.selection
    directory = paths.parent(path)
    if directory not in selection:
        kept = next(above for above in paths.parents(path) if above in selection)
        return AbsenceReason(
            "directory", f"nothing in {directory} was used; the nearest directory that is kept is {kept}"
        )
    siblings = [child for child in tree.children(directory) if child != path]
    kept_siblings = [child for child in siblings if child in selection]
    of = (
        f"of the {len(siblings)} other entries of {directory}"
        if siblings
        else f"{directory} has no other entry"
    )
    if not kept_siblings:
        return AbsenceReason("beside", f"{of} none is kept" if siblings else of)
    shown = _join([paths.name(child) for child in kept_siblings])
    return AbsenceReason(
        "beside", f"{of} {len(kept_siblings)} {'is' if len(kept_siblings) == 1 else 'are'} kept: {shown}"
    )


def _mounted(capture: Capture, decision: Decision, path: str) -> Iterator[AbsenceReason]:
    mount_path = decision.graph.mount_over(path)
    if mount_path is not None:
        mount = next((each for each in capture.trace.mounts if each.path == mount_path), None)
        kind = f" ({mount.filesystem})" if mount and mount.filesystem else ""
        text = (
            f"it lies below the mount {mount_path}{kind}: what was used there was the mount's, not the image's"
        )
        yield AbsenceReason("mount", text)


def _uses(capture: Capture, path: str) -> tuple[list[FileUse], list[FileUse]]:
    """The uses of `path`, and its executions as uses, by the container itself and by exec sessions."""
    tree, trace = capture.tree, capture.trace
    in_exec_session = exec_session_test(trace, capture.image)
    ends: dict[tuple[str, str, bool], str] = {}

    def end(base: str, asked: str, follow: bool) -> str:
        key = (base, asked, follow)
        if key not in ends:
            ends[key] = tree.resolve(paths.join(base, asked), follow).path
        return ends[key]

    runs = (FileUse(Use.EXEC, run.asked, run.base, pid=run.pid, origin=run.origin) for run in trace.execs)
    container_uses: list[FileUse] = []
    exec_session_uses: list[FileUse] = []
    for use in (*trace.uses, *runs):
        at = use.asked and (use.base or use.asked.startswith("/"))
        if use.resolved == path or (
            at and path in (end(use.base, use.asked, follow) for follow in (True, False))
        ):
            (exec_session_uses if in_exec_session(use.pid, use.origin) else container_uses).append(use)
    return container_uses, exec_session_uses


def _descendants_of(trace: Trace, ancestors: frozenset[int]) -> Callable[[int], bool]:
    def descends(pid: int) -> bool:
        seen: set[int] = set()
        while pid not in ancestors and pid in trace.parents and pid not in seen:
            seen.add(pid)
            pid = trace.parents[pid]
        return pid in ancestors

    return descends


def _commands(trace: Trace, uses: list[FileUse], own: Callable[[int], bool]) -> str:
    """The --exec commands behind `uses`, as they were given."""
    users = {use.pid for use in uses}
    found = []
    for run in trace.execs:
        if run.pid in trace.own_execs and any(
            _descendants_of(trace, frozenset((run.pid,)))(pid) for pid in users
        ):
            found.append(" ".join(run.argv) or run.asked)
    return _join(list(dict.fromkeys(found))) if found else "a command"


def _programs(uses: Iterator[FileUse]) -> str:
    return _join(sorted({use.program or "a process whose start was not seen" for use in uses}))


def _nearest(tree: FileTree, path: str) -> str:
    """The nearest directory above `path` that the image has."""
    for above in paths.parents(path):
        found = tree.get(above)
        if found and found.kind is Kind.DIR:
            return above
    return "/"


def _similar(name: str, names: list[str]) -> list[str]:
    likely = sorted(names, key=lambda other: (abs(len(other) - len(name)), other))[:MAX_COMPARED]
    return difflib.get_close_matches(name, likely, MAX_SHOWN)


def _join(items: list[str]) -> str:
    more = len(items) - MAX_SHOWN
    return ", ".join(items[:MAX_SHOWN]) + (f" and {more} more" if more > 0 else "")


__all__ = ["AbsenceReason", "why_absent", "why_dropped"]
