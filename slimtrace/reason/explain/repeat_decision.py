"""Deciding again from a stored capture, and noticing the questions that it has no answer to.

A build asks the image's files only what its rules make it ask, and stores the answers. Building the graph from
them again asks the same, as long as the capture, the rules and slimtrace are the same. A question without a
stored answer would look like a file that says nothing: here it is noted.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

from slimtrace.facts.capture import Answers, Capture
from slimtrace.facts.selection import Selection
from slimtrace.reason.keep import graph_builder
from slimtrace.reason.keep.graph import ArtifactGraph
from slimtrace.reason.keep.rules import Rules
from slimtrace.reason.keep.select import select_paths


@dataclass(frozen=True, slots=True)
class Decision:
    """The graph and selection that follow from a capture and rules. `unanswered` are the questions to which the
    capture has no answer, each as the key of the answer, sorted: with any, the decision may not be the
    build's."""

    rules: Rules
    graph: ArtifactGraph
    selection: Selection
    unanswered: tuple[str, ...] = ()


def decide(capture: Capture, rules: Rules | None = None, repairs: tuple[str, ...] = ()) -> Decision:
    """Grow and select again from a stored capture, and the paths that trials had missed."""
    rules = rules or Rules()
    unanswered: set[str] = set()
    contents = capture.contents
    if isinstance(contents, Answers):
        noting = {
            each.name: _NotingAnswers(getattr(contents, each.name), unanswered) for each in fields(contents)
        }
        capture = replace(capture, contents=replace(contents, **noting))
    graph = graph_builder.build_graph(capture, rules, repairs)
    return Decision(rules, graph, select_paths(graph, capture, rules), tuple(sorted(unanswered)))


class _NotingAnswers(dict[str, Any]):
    """Stored answers of one kind that note the questions to which they have none."""

    def __init__(self, answers: dict[str, Any], unanswered: set[str]) -> None:
        super().__init__(answers)
        self._unasked = unanswered

    def get(self, key: str, default: Any = None, /) -> Any:
        if key not in self:
            self._unasked.add(key)
        return super().get(key, default)


__all__ = ["Decision", "decide"]
