"""Proving a slim image before it is handed over: tried, diagnosed, repaired, tried again; and where that does
not help, found out why."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import MEASURES, Repairs
from slimtrace.facts.events import Doubt
from slimtrace.facts.image import Image
from slimtrace.facts.paths import printable
from slimtrace.facts.runs import Difference
from slimtrace.observe.container.apparmor_loader import trial_name, unavailable
from slimtrace.observe.trial import Measures
from slimtrace.pipeline.deciding import Proposal, apparmor_text, propose
from slimtrace.pipeline.observing import Loading
from slimtrace.pipeline.request import Bench, Request
from slimtrace.pipeline.trying import Attempt, Trials, beside, lacking, shown, told
from slimtrace.present.live import Screen
from slimtrace.reason.confine import confinement as confining
from slimtrace.reason.explain.report import Trial
from slimtrace.reason.prove.diagnosis import Diagnosis, needed, used

LOG_SHOWN = 12  # lines of what the container said last


@dataclass(frozen=True, slots=True)
class Proof:
    """What was tried and held: the proposal, the image that was made of it, and how it went (None: it was not
    tried)."""

    proposal: Proposal
    image: Image
    trial: Trial | None
    doubts: tuple[Doubt, ...] = field(default=())


class Prover:
    """Proves images on a bench; `make` makes (or finds) the image of a proposal."""

    def __init__(
        self,
        request: Request,
        bench: Bench,
        capture: Capture,
        make: Callable[[Proposal], Image],
        screen: Screen,
        ready: Loading | None = None,
    ) -> None:
        self._request = request
        self._bench = bench
        self._capture = capture
        self._make = make
        self._screen = screen
        self._trials = Trials(request, bench, capture, screen, ready)

    def prove(self, proposal: Proposal) -> Proof:
        """Make the image of `proposal`, try it, and repair what it is seen to lack. Raises SlimtraceError
        (UNVERIFIED) where it does not come out as the fat image did."""
        rounds = 0
        image = self._make(proposal)
        while True:
            measures = measures_of(proposal, self._request)
            attempt = self._trials.attempt(image, measures)
            diagnosis = self._trials.diagnose(attempt, proposal.selection, measures)
            wanted = diagnosis.repairs
            if not attempt.differences:
                wanted = needed(self._capture, wanted)
            repairs = proposal.repairs | wanted
            if attempt.differences and repairs == proposal.repairs:
                repairs |= Repairs(paths=diagnosis.suspects)
            if repairs == proposal.repairs or rounds >= self._request.rounds:
                break
            rounds += 1
            self._screen.note(f"missing: {shown(lacking(beside(repairs, proposal.repairs)))}")
            image, proposal = self._improved(image, proposal, repairs)
        if not attempt.differences:
            return self._proof(*self._leaner(proposal, image, attempt), rounds)
        return self._find_out(proposal, image, diagnosis, rounds)

    def _leaner(self, proposal: Proposal, image: Image, attempt: Attempt) -> tuple[Proposal, Image]:
        """The proposal without the repairs that were of no use in the end, if it does without them."""
        repairs = used(self._capture, proposal.repairs, attempt.traces)
        if repairs == proposal.repairs:
            return proposal, image
        made, leaner = self._improved(image, proposal, repairs)
        measures = measures_of(leaner, self._request)
        again = self._trials.attempt(made, measures)
        needs = self._trials.diagnose(again, leaner.selection, measures).repairs
        if again.differences or needed(self._capture, needs) != Repairs():
            return proposal, image if made is image else self._make(proposal)
        return leaner, made

    def _improved(self, image: Image, proposal: Proposal, repairs: Repairs) -> tuple[Image, Proposal]:
        """The proposal with these repairs in place of its own, and its image: another only if it keeps other
        files than that of `proposal`."""
        better = propose(self._capture, self._request, repairs)
        same = better.selection.kept == proposal.selection.kept
        return image if same else self._make(better), better

    def _find_out(self, proposal: Proposal, image: Image, diagnosis: Diagnosis, rounds: int) -> Proof:
        """It differs, and nothing that was seen is left to repair: by chance, for its confinement, because the
        fat image is unsteady itself; or for what is not known."""
        measures = measures_of(proposal, self._request)
        again = self._trials.attempt(image, measures)
        if not again.differences:
            text = "it took a second attempt to come out as the fat image did"
            return self._proof(proposal, image, rounds, Doubt("unsteady", text))
        if not self._trials.attempt(image, Measures()).differences:
            raise self._confined(proposal, image, again)
        own = self._trials.attempt(self._bench.image, Measures())
        left = beyond(again.differences, own.differences)
        if not left:
            text = f"the fat image itself does not come out the same twice: {told(again.differences)}"
            return self._proof(proposal, image, rounds, Doubt("unsteady", text))
        raise unfit(self._bench.image, replace(again, differences=left), diagnosis, self._request)

    def _confined(self, proposal: Proposal, image: Image, attempt: Attempt) -> SlimtraceError:
        """The failure of an image that works, though not confined: with the measures that are in its way."""
        guilty = []
        for measure in (each for each in MEASURES if in_force(each, proposal, self._request)):
            without = (*self._request.without, measure)
            lighter = replace(
                proposal,
                confinement=confining.confinement(self._capture, proposal.selection, proposal.repairs, without),
            )
            measures = measures_of(lighter, replace(self._request, without=without))
            if not self._trials.attempt(image, measures).differences:
                guilty.append(measure)
        what = f"without {' or without '.join(guilty)}" if guilty else "unconfined"
        hint = f"--without {guilty[0]} leaves that out; " if guilty else ""
        return SlimtraceError(
            f"cannot vouch for the profiles of {printable(self._bench.image.reference)}: it works only {what}: "
            f"{told(attempt.differences)}",
            f"{hint}--no-verify makes the image untried",
            Exit.UNVERIFIED,
            attempt.log[-LOG_SHOWN:],
        )

    def _proof(self, proposal: Proposal, image: Image, rounds: int, *doubts: Doubt) -> Proof:
        measures = tuple(each for each in MEASURES if in_force(each, proposal, self._request))
        trial = Trial(self._trials.attempts, rounds, measures, proposal.repairs)
        return Proof(proposal, image, trial, doubts)


def measures_of(proposal: Proposal, request: Request) -> Measures:
    """What a trial of `proposal` runs under."""
    return Measures(
        proposal.confinement,
        proposal.seccomp if in_force("seccomp", proposal, request) else None,
        apparmor_text(proposal, trial_name()) if in_force("apparmor", proposal, request) else "",
    )


def in_force(measure: str, proposal: Proposal, request: Request) -> bool:
    """Whether a measure of MEASURES is put on the container."""
    confinement = proposal.confinement
    return measure not in request.without and {
        "no-new-privileges": confinement.no_new_privileges,
        "read-only": confinement.read_only,
        "apparmor": not unavailable(),
    }.get(measure, True)


def beyond(differences: Iterable[Difference], own: Iterable[Difference]) -> tuple[Difference, ...]:
    """The differences in what the fat image's own runs agree on."""
    unsteady = {(each.code, each.target) for each in own}
    return tuple(each for each in differences if (each.code, each.target) not in unsteady)


def unfit(image: Image, attempt: Attempt, diagnosis: Diagnosis, request: Request) -> SlimtraceError:
    """The failure of a slim image that differs from the fat `image`, with what it is likely to miss."""
    hint = "--include-path keeps what it needs; --no-verify makes the image untried"
    excluded = sorted(diagnosis.excluded.items())
    if excluded:
        path, rule = excluded[0]
        hint = f"it looked for {printable(path)}, which --exclude-pattern {printable(rule)!r} leaves out"
    elif missing := lacking(diagnosis.repairs):
        hint = f"still missing after {request.rounds} rounds: {shown(missing)}; --rounds allows more"
    elif diagnosis.suspects:
        left_out = shown(map(printable, diagnosis.suspects))
        hint = f"it listed directories from which this is left out: {left_out}; {hint}"
    return SlimtraceError(
        f"cannot vouch for the slim image of {printable(image.reference)}: {told(attempt.differences)}",
        hint,
        Exit.UNVERIFIED,
        attempt.log[-LOG_SHOWN:],
    )


__all__ = ["Proof", "Prover", "beyond", "in_force", "measures_of", "unfit"]
