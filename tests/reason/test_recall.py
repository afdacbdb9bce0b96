"""Deciding again from stored answers, and noticing a question that has none."""

from dataclasses import replace

from slimtrace.facts.capture import Answers
from slimtrace.facts.elf import Elf
from slimtrace.facts.events import Exec
from slimtrace.reason.recall import decide
from slimtrace.reason.rules import Keep, Rules

from .trees import DASH, GLIBC, INTERP, capture, selected

TREE = {**GLIBC, **DASH, "/opt/tool": f"elf {INTERP} needs=libc.so.6", "/entry": "script #!/bin/sh"}
SEEN = capture(TREE, execs=[Exec("/opt/tool", "", "/opt/tool", 1, 0)])
EXACT = Rules(keep=Keep.EXACT)


class Remembering(Answers):
    """Answers that remember what they were asked, as a build's do."""

    def elf(self, path: str) -> Elf | None:
        asked.add(path)
        return Answers.elf(self, path)

    def head(self, path: str) -> bytes | None:
        asked.add(path)
        return Answers.head(self, path)

    def text(self, path: str) -> str | None:
        asked.add(path)
        return Answers.text(self, path)


asked: set[str] = set()


def stored() -> Answers:
    """What a build would have stored: for each file that was asked about, all that there is."""
    contents = SEEN.contents
    assert isinstance(contents, Answers)
    selected(replace(SEEN, contents=Remembering(contents.elfs, contents.heads, contents.texts)), EXACT)
    return Answers(
        {path: contents.elfs.get(path) for path in asked},
        {path: contents.heads.get(path) for path in asked},
        {path: contents.texts.get(path) for path in asked},
    )


def test_the_same_questions_have_the_same_answers() -> None:
    again = decide(replace(SEEN, contents=stored()), EXACT)
    assert again.unasked == ()
    assert again.selection == selected(SEEN, EXACT)


def test_a_question_without_an_answer_is_noticed() -> None:
    answers = stored()
    some = replace(answers, elfs={path: elf for path, elf in answers.elfs.items() if path != "/opt/tool"})
    again = decide(replace(SEEN, contents=some), EXACT)
    assert again.unasked == ("/opt/tool",)
    assert again.selection.kept.keys() < selected(SEEN, EXACT).kept.keys()


def test_other_rules_ask_other_questions() -> None:
    again = decide(replace(SEEN, contents=stored()), replace(EXACT, include_paths=("/entry",)))
    assert "/entry" in again.unasked
