"""Deciding again from a stored capture, and noticing where its answers do not reach.

A build asks the image's files only what its rules make it ask, and stores the answers. Growing the graph from
them again asks the same, as long as the capture, the rules and slimtrace are the same. A question that has no
stored answer looks like a file that says nothing: here it is written down instead of passing for one.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

from slimtrace.facts.capture import Answers, Capture
from slimtrace.facts.selection import Selection
from slimtrace.reason.keep import graph_builder
from slimtrace.reason.keep.graph import ArtifactGraph
from slimtrace.reason.keep.rules import Rules
from slimtrace.reason.keep.select import select


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from a capture and rules. `unasked` are the questions to which the capture has no answer, as
    the path (of some kinds behind a word), sorted: with any, the decision may not be the build's."""

    rules: Rules
    graph: ArtifactGraph
    selection: Selection
    unasked: tuple[str, ...] = ()


def decide(capture: Capture, rules: Rules | None = None, repairs: tuple[str, ...] = ()) -> Decision:
    """Grow and select again from a stored capture, and the paths that trials had missed."""
    rules = rules or Rules()
    unasked: set[str] = set()
    contents = capture.contents
    if isinstance(contents, Answers):
        watched = {each.name: _Watched(getattr(contents, each.name), unasked) for each in fields(contents)}
        capture = replace(capture, contents=replace(contents, **watched))
    graph = graph_builder.grow(capture, rules, repairs)
    return Decision(rules, graph, select(graph, capture, rules), tuple(sorted(unasked)))


class _Watched(dict[str, Any]):
    """Stored answers of one kind that note what they were never asked."""

    def __init__(self, answers: dict[str, Any], unasked: set[str]) -> None:
        super().__init__(answers)
        self._unasked = unasked

    def get(self, key: str, default: Any = None, /) -> Any:
        if key not in self:
            self._unasked.add(key)
        return super().get(key, default)


__all__ = ["Decision", "decide"]
