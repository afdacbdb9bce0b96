"""A question to the container and what came back, for the capture and for the screen."""

from dataclasses import dataclass

from slimtrace.facts.runs import Answer, Probe


@dataclass(frozen=True, slots=True)
class Asked:
    """The `answer`, whose target is the same in every run, and the target as the user knows it (`shown`), with
    the address that was asked."""

    answer: Answer
    shown: str = ""

    @property
    def probe(self) -> Probe:
        """The same as a line of the report."""
        answer = self.answer
        return Probe(self.shown or answer.target, answer.ok, answer.status, answer.size, answer.detail)
