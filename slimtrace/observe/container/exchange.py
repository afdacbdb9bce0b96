"""A request to the container and its answer, for the capture and for the screen."""

from dataclasses import dataclass

from slimtrace.facts.runs import Answer, Probe


@dataclass(frozen=True, slots=True)
class Exchange:
    """The `answer`, whose target is the same in every run, and the target as it is `shown` to the user, with
    the address of this run ("": as in the answer)."""

    answer: Answer
    shown: str = ""

    @property
    def probe(self) -> Probe:
        """The exchange as the report has it."""
        answer = self.answer
        return Probe(self.shown or answer.target, answer.ok, answer.status, answer.size, answer.detail)
