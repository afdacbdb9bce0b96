"""Why a path is not in the slim image: the part of ``slimtrace why`` that speaks of what is not there."""

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import FileUse, Trace, Use
from slimtrace.facts.tree import FileTree, Kind
from slimtrace.reason.explain.reason_text import in_words
from slimtrace.reason.explain.repeat_decision import Decision
from slimtrace.reason.keep.evidence import ENOENT, strangers
from slimtrace.reason.keep.rules import Exclusion

SHOWN = 3  # names of a kind
# Comparing names takes the product of their lengths: of a directory with very many only the likeliest.
COMPARED = 500


@dataclass(frozen=True, slots=True)
class Because:
    """One thing that explains why a path is not there: a stable `code`, and a sentence without full stop."""

    code: str
    text: str


def why_absent(capture: Capture, decision: Decision, path: str) -> tuple[Because, ...]:
    """For a path that the image does not have."""
    return tuple(_absent(capture, decision, path))


def why_dropped(
    capture: Capture, decision: Decision, path: str, owner: Callable[[str], str]
) -> tuple[Because, ...]:
    """For an entry of the image that is not kept."""
    return tuple(_dropped(capture, decision, path, owner))


def _absent(capture: Capture, decision: Decision, path: str) -> Iterator[Because]:
    if path in capture.tree:
        yield Because("no-directory", f"{path} is no directory, and the path asks for one")
        return
    yield Because("absent", "it is not in the image at all")
    yield from _mounted(capture, decision, path)
    ours, theirs = _uses(capture, path)
    writers = _programs(use for use in (*ours, *theirs) if use.use in (Use.WRITE, Use.CHANGE) and not use.error)
    if writers:
        yield Because("written", f"the container wrote it when it ran ({writers}), and will again")
    elif seekers := _programs(use for use in ours if use.error == ENOENT):
        yield Because("sought", f"it was looked for in vain by {seekers}")
    tree = capture.tree
    nearest = _nearest(tree, path)
    missing = path[len(nearest.rstrip("/")) :].split("/")[1]
    similar = _similar(missing, [paths.name(child) for child in tree.children(nearest)])
    there = f"; similar there: {_listed(similar)}" if similar else ""
    yield Because("nearest", f"the nearest directory there is {nearest}{there}")
    namesakes = [entry.path for entry in tree if paths.name(entry.path) == paths.name(path)]
    if namesakes:
        yield Because("elsewhere", f"of the same name: {_listed(namesakes)}")


def _dropped(capture: Capture, decision: Decision, path: str, owner: Callable[[str], str]) -> Iterator[Because]:
    selection, graph = decision.selection, decision.graph
    pattern = Exclusion(capture.tree, decision.rules).dropped_by(path)
    if path in graph and pattern:
        reasons = "; ".join(in_words(reason) for reason in graph.reasons(path)[:SHOWN])
        yield Because("excluded", f"it is excluded by the pattern {pattern}; without that: {reasons}")
        return
    yield from _mounted(capture, decision, path)
    _, theirs = _uses(capture, path)
    if theirs:
        own = _descendants_of(capture.trace, frozenset(capture.trace.own_execs))
        mine = [use for use in theirs if own(use.pid)]
        if mine:
            yield Because("own-exec", f"only your own --exec used it: {_commands(capture.trace, mine, own)}")
        if others := _programs(use for use in theirs if not own(use.pid)):
            yield Because("exec", f"only what was exec'd into the container from outside used it: {others}")
    else:
        yield Because("unused", "nothing used it while the container was watched, and nothing kept names it")
    names = [name for name in capture.tree.hardlinks(path) if name != path and name in selection]
    if names:
        yield Because("hardlink", f"another name of the same file is kept: {_listed(names)}")
    if pattern:
        yield Because("excluded", f"it would be excluded by the pattern {pattern} too")
    yield _around(capture.tree, decision, path)
    if package := owner(path):
        kept = [other for other in sorted(selection.kept) if owner(other) == package]
        used = f"of which is kept: {_listed(kept)}" if kept else "of which nothing is kept"
        yield Because("package", f"it belongs to the package {package}, {used}")


def _around(tree: FileTree, decision: Decision, path: str) -> Because:
    selection = decision.selection
    directory = paths.parent(path)
    if directory not in selection:
        kept = next(above for above in paths.parents(path) if above in selection)
        return Because(
            "directory", f"nothing in {directory} was used; the nearest directory that is kept is {kept}"
        )
    beside = [child for child in tree.children(directory) if child != path]
    kept_beside = [child for child in beside if child in selection]
    of = f"of the {len(beside)} other entries of {directory}" if beside else f"{directory} has no other entry"
    if not kept_beside:
        return Because("beside", f"{of} none is kept" if beside else of)
    shown = _listed([paths.name(child) for child in kept_beside])
    return Because(
        "beside", f"{of} {len(kept_beside)} {'is' if len(kept_beside) == 1 else 'are'} kept: {shown}"
    )


def _mounted(capture: Capture, decision: Decision, path: str) -> Iterator[Because]:
    over = decision.graph.mount_over(path)
    if over is not None:
        mount = next((each for each in capture.trace.mounts if each.path == over), None)
        kind = f" ({mount.filesystem})" if mount and mount.filesystem else ""
        text = f"it lies below the mount {over}{kind}: what was used there was the mount's, not the image's"
        yield Because("mount", text)


def _uses(capture: Capture, path: str) -> tuple[list[FileUse], list[FileUse]]:
    """How `path` was used by the container, and by what came into it from outside; an execution is one too."""
    tree, trace = capture.tree, capture.trace
    stranger = strangers(trace, capture.image)
    ends: dict[tuple[str, str, bool], str] = {}

    def end(base: str, asked: str, follow: bool) -> str:
        key = (base, asked, follow)
        if key not in ends:
            ends[key] = tree.resolve(paths.join(base, asked), follow).path
        return ends[key]

    runs = (FileUse(Use.EXEC, run.asked, run.base, pid=run.pid, origin=run.origin) for run in trace.execs)
    ours: list[FileUse] = []
    theirs: list[FileUse] = []
    for use in (*trace.uses, *runs):
        at = use.asked and (use.base or use.asked.startswith("/"))
        if use.resolved == path or (
            at and path in (end(use.base, use.asked, follow) for follow in (True, False))
        ):
            (theirs if stranger(use.pid, use.origin) else ours).append(use)
    return ours, theirs


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
    return _listed(list(dict.fromkeys(found))) if found else "a command"


def _programs(uses: Iterator[FileUse]) -> str:
    return _listed(sorted({use.program or "a process whose start was not seen" for use in uses}))


def _nearest(tree: FileTree, path: str) -> str:
    """The nearest directory above `path` that the image has."""
    for above in paths.parents(path):
        found = tree.get(above)
        if found and found.kind is Kind.DIR:
            return above
    return "/"


def _similar(name: str, names: list[str]) -> list[str]:
    likely = sorted(names, key=lambda other: (abs(len(other) - len(name)), other))[:COMPARED]
    return difflib.get_close_matches(name, likely, SHOWN)


def _listed(items: list[str]) -> str:
    more = len(items) - SHOWN
    return ", ".join(items[:SHOWN]) + (f" and {more} more" if more > 0 else "")


__all__ = ["Because", "why_absent", "why_dropped"]
