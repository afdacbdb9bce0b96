"""The decision which paths are kept, with their reasons, and what is doubtful about it."""

from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt
from slimtrace.facts.selection import Reason, Selection, Why
from slimtrace.reason.keep import path_permissions
from slimtrace.reason.keep.evidence import exec_session_test, unknown_programs
from slimtrace.reason.keep.graph import ArtifactGraph
from slimtrace.reason.keep.rules import Exclusion, Rules


def select_paths(graph: ArtifactGraph, capture: Capture, rules: Rules | None = None) -> Selection:
    """Everything in `graph` but what the rules exclude. A directory above a kept path stays even if excluded
    by name, so that the result is a tree."""
    rules = rules or Rules()
    exclusion = Exclusion(capture.tree, rules)
    kept = {path: graph.reasons(path) for path in sorted(graph.paths()) if not exclusion.drops(path)}
    kept.setdefault("/", (Reason(Why.RUNTIME, "the root"),))
    for path in list(kept):
        for above in paths.parents(path):
            kept.setdefault(above, (Reason(Why.PARENT, path),))
    unkept = path_permissions.unkept(capture.tree, kept, rules.path_perms)
    return Selection(kept, tuple(dict.fromkeys((*_trace_doubts(capture), *graph.doubts, *unkept))))


def _trace_doubts(capture: Capture) -> Iterator[Doubt]:
    """Doubts about the trace itself: what was lost, cut off or is unknown."""
    trace = capture.trace
    yield from trace.doubts
    if trace.lost:
        text = f"{trace.lost} records of the kernel were lost: files may be missing; run it again, less busy"
        yield Doubt("lost-events", text)
    in_exec_session = exec_session_test(trace, capture.image)
    cut = {use.asked for use in trace.uses if use.truncated and not in_exec_session(use.pid, use.origin)}
    for path in sorted(cut):
        yield Doubt("truncated-path", f"a path was too long to be seen whole: {paths.printable(path)}…", path)
    yield from unknown_programs(capture)
    for number in sorted({number for calls in trace.calls for number in calls.nameless}):
        text = f"system call {number} is unknown to this libseccomp: the seccomp profile cannot allow it"
        yield Doubt("unknown-call", text, str(number))
