"""Deciding again from stored answers, and noticing a question that has none."""

from dataclasses import fields, replace
from typing import Any

from slimtrace.facts.capture import Answers
from slimtrace.facts.events import Exec
from slimtrace.reason.explain.repeat_decision import decide
from slimtrace.reason.keep.rules import Keep, Rules

from ..trees import DASH, GLIBC, INTERP, capture, selected

TREE = {**GLIBC, **DASH, "/opt/tool": f"elf {INTERP} needs=libc.so.6", "/entry": "script #!/bin/sh"}
SEEN = capture(TREE, execs=[Exec("/opt/tool", "", "/opt/tool", 1, 0)])
EXACT = Rules(keep=Keep.EXACT)


class Asked(dict[str, Any]):
    """Answers that remember what they were asked, as a build's do."""

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__(answers)
        self.given: dict[str, Any] = {}

    def get(self, key: str, default: Any = None, /) -> Any:
        self.given[key] = super().get(key, default)
        return self.given[key]


def stored() -> Answers:
    """What a build would have stored."""
    contents = SEEN.contents
    assert isinstance(contents, Answers)
    asked = {each.name: Asked(getattr(contents, each.name)) for each in fields(Answers)}
    selected(replace(SEEN, contents=Answers(**asked)), EXACT)
    return Answers(**{name: answers.given for name, answers in asked.items()})


def test_the_same_questions_have_the_same_answers() -> None:
    again = decide(replace(SEEN, contents=stored()), EXACT)
    assert again.unanswered == ()
    assert again.selection == selected(SEEN, EXACT)


def test_a_question_without_an_answer_is_noticed() -> None:
    answers = stored()
    some = replace(answers, elfs={path: elf for path, elf in answers.elfs.items() if path != "/opt/tool"})
    again = decide(replace(SEEN, contents=some), EXACT)
    assert again.unanswered == ("/opt/tool",)
    assert again.selection.kept.keys() < selected(SEEN, EXACT).kept.keys()


def test_other_rules_ask_other_questions() -> None:
    again = decide(replace(SEEN, contents=stored()), replace(EXACT, include_paths=("/entry",)))
    assert "/entry" in again.unanswered
