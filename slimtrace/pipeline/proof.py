"""Proving a slim image before it gets its name: it is tried, diagnosed, repaired and tried again; where
repairs do not help, the cause of the difference is looked for."""

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
from slimtrace.pipeline.observation import LoadingRecorder
from slimtrace.pipeline.proposal import Proposal, apparmor_profile, propose
from slimtrace.pipeline.request import OpenedImage, Request
from slimtrace.pipeline.trials import (
    Attempt,
    Trials,
    abridged,
    describe_differences,
    describe_repairs,
    repairs_beyond,
)
from slimtrace.present.screen import Screen
from slimtrace.reason.confine import confinement as confining
from slimtrace.reason.explain.report import Trial
from slimtrace.reason.prove.diagnosis import Diagnosis, needed_repairs, used_repairs

LOG_SHOWN = 12  # of the container's last lines


@dataclass(frozen=True, slots=True)
class Proof:
    """A proposal that stands, the image that was made of it, and how the trial went (None: the image was not
    tried)."""

    proposal: Proposal
    image: Image
    trial: Trial | None
    doubts: tuple[Doubt, ...] = field(default=())


class Prover:
    """Proves the images of proposals for `opened`; `make` makes (or finds) the image of a proposal.
    `first_recorder` is the recorder for the first trial."""

    def __init__(
        self,
        request: Request,
        opened: OpenedImage,
        capture: Capture,
        make: Callable[[Proposal], Image],
        screen: Screen,
        first_recorder: LoadingRecorder | None = None,
    ) -> None:
        self._request = request
        self._opened = opened
        self._capture = capture
        self._make = make
        self._screen = screen
        self._trials = Trials(request, opened, capture, screen, first_recorder)

    def prove(self, proposal: Proposal) -> Proof:
        """Make the image of `proposal`, try it, and repair what the trial shows to be missing. Raises
        SlimtraceError (UNVERIFIED) where the image does not come out as the fat image did."""
        rounds = 0
        image = self._make(proposal)
        while True:
            measures = measures_of(proposal, self._request)
            attempt = self._trials.attempt(image, measures)
            diagnosis = self._trials.diagnose(attempt, proposal.selection, measures)
            wanted = diagnosis.repairs
            if not attempt.differences:
                wanted = needed_repairs(self._capture, wanted)
            repairs = proposal.repairs | wanted
            if attempt.differences and repairs == proposal.repairs:
                repairs |= Repairs(paths=diagnosis.suspects)
            if repairs == proposal.repairs or rounds >= self._request.rounds:
                break
            rounds += 1
            self._screen.note(
                f"missing: {abridged(describe_repairs(repairs_beyond(repairs, proposal.repairs)))}"
            )
            image, proposal = self._with_repairs(image, proposal, repairs)
        if not attempt.differences:
            return self._proof(*self._without_unused_repairs(proposal, image, attempt), rounds)
        return self._explain_difference(proposal, image, diagnosis, rounds)

    def _without_unused_repairs(
        self, proposal: Proposal, image: Image, attempt: Attempt
    ) -> tuple[Proposal, Image]:
        """The proposal without the repairs that the last trial did not use, where its image comes out the same
        without them."""
        repairs = used_repairs(self._capture, proposal.repairs, attempt.traces)
        if repairs == proposal.repairs:
            return proposal, image
        made, leaner = self._with_repairs(image, proposal, repairs)
        measures = measures_of(leaner, self._request)
        again = self._trials.attempt(made, measures)
        needs = self._trials.diagnose(again, leaner.selection, measures).repairs
        if again.differences or needed_repairs(self._capture, needs) != Repairs():
            return proposal, image if made is image else self._make(proposal)
        return leaner, made

    def _with_repairs(self, image: Image, proposal: Proposal, repairs: Repairs) -> tuple[Image, Proposal]:
        """The proposal with these repairs in place of its own, and its image: `image`, unless the new proposal
        keeps other files than `proposal`."""
        better = propose(self._capture, self._request, repairs)
        same = better.selection.kept == proposal.selection.kept
        return image if same else self._make(better), better

    def _explain_difference(self, proposal: Proposal, image: Image, diagnosis: Diagnosis, rounds: int) -> Proof:
        """The image differs, and no trial shows anything left to repair. The difference may be chance, or come
        from the confinement, or the fat image itself may be unsteady; else the cause is unknown. Gives the
        proof with a doubt, or raises SlimtraceError (UNVERIFIED)."""
        measures = measures_of(proposal, self._request)
        again = self._trials.attempt(image, measures)
        if not again.differences:
            text = "it took a second attempt to come out as the fat image did"
            return self._proof(proposal, image, rounds, Doubt("unsteady", text))
        if not self._trials.attempt(image, Measures()).differences:
            raise self._confinement_error(proposal, image, again)
        own = self._trials.attempt(self._opened.image, Measures())
        left = steady_differences(again.differences, own.differences)
        if not left:
            unlike = describe_differences(again.differences)
            text = f"the fat image itself does not come out the same twice: {unlike}"
            return self._proof(proposal, image, rounds, Doubt("unsteady", text))
        raise unverified_error(self._opened.image, replace(again, differences=left), diagnosis, self._request)

    def _confinement_error(self, proposal: Proposal, image: Image, attempt: Attempt) -> SlimtraceError:
        """The error for an image that works unconfined, but not confined. Its message names the measures
        without any one of which the image works."""
        blocking = []
        for measure in (each for each in MEASURES if in_force(each, proposal, self._request)):
            without = (*self._request.without, measure)
            lighter = replace(
                proposal,
                confinement=confining.derive_confinement(
                    self._capture, proposal.selection, proposal.repairs, without
                ),
            )
            measures = measures_of(lighter, replace(self._request, without=without))
            if not self._trials.attempt(image, measures).differences:
                blocking.append(measure)
        what = f"without {' or without '.join(blocking)}" if blocking else "unconfined"
        hint = f"--without {blocking[0]} leaves that out; " if blocking else ""
        return SlimtraceError(
            f"cannot vouch for the profiles of {printable(self._opened.image.reference)}: "
            f"it works only {what}: {describe_differences(attempt.differences)}",
            f"{hint}--no-verify makes the image untried",
            Exit.UNVERIFIED,
            attempt.log[-LOG_SHOWN:],
        )

    def _proof(self, proposal: Proposal, image: Image, rounds: int, *doubts: Doubt) -> Proof:
        measures = tuple(each for each in MEASURES if in_force(each, proposal, self._request))
        trial = Trial(self._trials.attempts, rounds, measures, proposal.repairs)
        return Proof(proposal, image, trial, doubts)


def measures_of(proposal: Proposal, request: Request) -> Measures:
    """The measures that a trial of `proposal` runs under."""
    return Measures(
        proposal.confinement,
        proposal.seccomp if in_force("seccomp", proposal, request) else None,
        apparmor_profile(proposal, trial_name()) if in_force("apparmor", proposal, request) else "",
    )


def in_force(measure: str, proposal: Proposal, request: Request) -> bool:
    """Whether a measure of MEASURES is applied to the container."""
    confinement = proposal.confinement
    return measure not in request.without and {
        "no-new-privileges": confinement.no_new_privileges,
        "read-only": confinement.read_only,
        "apparmor": not unavailable(),
    }.get(measure, True)


def steady_differences(differences: Iterable[Difference], own: Iterable[Difference]) -> tuple[Difference, ...]:
    """The differences that cannot come from the fat image's own unsteadiness: those in answers which do not
    differ in `own`, the differences between the fat image's own runs."""
    unsteady = {(each.code, each.target) for each in own}
    return tuple(each for each in differences if (each.code, each.target) not in unsteady)


def unverified_error(image: Image, attempt: Attempt, diagnosis: Diagnosis, request: Request) -> SlimtraceError:
    """The error for a slim image that differs from the fat `image`; its hint names what may be missing."""
    hint = "--include-path keeps what it needs; --no-verify makes the image untried"
    excluded = sorted(diagnosis.excluded.items())
    if excluded:
        path, rule = excluded[0]
        hint = f"it looked for {printable(path)}, which --exclude-pattern {printable(rule)!r} leaves out"
    elif missing := describe_repairs(diagnosis.repairs):
        hint = f"still missing after {request.rounds} rounds: {abridged(missing)}; --rounds allows more"
    elif diagnosis.suspects:
        left_out = abridged(map(printable, diagnosis.suspects))
        hint = f"it listed directories from which this is left out: {left_out}; {hint}"
    return SlimtraceError(
        f"cannot vouch for the slim image of {printable(image.reference)}: "
        f"{describe_differences(attempt.differences)}",
        hint,
        Exit.UNVERIFIED,
        attempt.log[-LOG_SHOWN:],
    )


__all__ = ["Proof", "Prover", "in_force", "measures_of", "steady_differences", "unverified_error"]
