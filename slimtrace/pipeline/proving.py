"""Trying a slim image before it is handed over: tried, diagnosed, repaired, tried again; and where that does not
help, found out why.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import MEASURES, Repairs
from slimtrace.facts.events import Doubt, Trace
from slimtrace.facts.image import Image
from slimtrace.facts.paths import printable
from slimtrace.facts.runs import Difference, Run
from slimtrace.observe.plan import Plan
from slimtrace.observe.recorder import Outcome
from slimtrace.observe.trial import Measures, trial_plan, try_out
from slimtrace.pipeline.deciding import Proposal, propose
from slimtrace.pipeline.observing import Loading, start_loading
from slimtrace.pipeline.request import Bench, Request
from slimtrace.present.live import Screen
from slimtrace.reason import confinement as confining
from slimtrace.reason.compare import compare
from slimtrace.reason.diagnosis import Diagnosis, diagnose
from slimtrace.reason.report import Trial

SHOWN = 3  # differences and missing pieces in one message
CASES = 4  # runs of a capture that are repeated at most


@dataclass(frozen=True, slots=True)
class Case:
    """A way of running the image that is to come out the same: its plan, and the runs of the fat image."""

    plan: Plan
    fat: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One trial of an image in all cases: what differed, and the traces of it."""

    differences: tuple[Difference, ...]
    traces: tuple[Trace, ...]
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proof:
    """What was tried and held: the proposal, the image that was made of it, and how it went (None: it was not
    tried)."""

    proposal: Proposal
    image: Image
    trial: Trial | None
    doubts: tuple[Doubt, ...] = field(default=())


class Prover:
    """Tries images on a bench. `make` makes (or finds) the image of a proposal. `ready` is the recorder for the
    first trial, whose programs may still be loading."""

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
        self._cases = cases(request, capture.runs)
        self._attempts = 0
        self._ready = ready

    def prove(self, proposal: Proposal) -> Proof:
        """Make the image of `proposal`, try it, and repair what it is seen to lack. Raises SlimtraceError
        (UNVERIFIED) where it does not come out as the fat image did."""
        rounds = 0
        image = self._make(proposal)
        while True:
            attempt = self._try(image, proposal)
            diagnosis = self._diagnose(attempt, proposal)
            wanted = diagnosis.repairs
            if not attempt.differences:
                wanted = replace(wanted, writable=())  # it does without
            repairs = proposal.repairs | wanted
            if repairs == proposal.repairs or rounds >= self._request.rounds:
                if not attempt.differences:
                    return self._proof(proposal, image, rounds)
                break
            rounds += 1
            self._screen.note(f"missing: {shown(lacking(wanted))}")
            better = propose(self._capture, self._request, repairs)
            if better.selection.kept != proposal.selection.kept:
                image = self._make(better)
            proposal = better
        return self._doubtful(proposal, image, attempt, diagnosis, rounds)

    def _doubtful(
        self, proposal: Proposal, image: Image, attempt: Attempt, diagnosis: Diagnosis, rounds: int
    ) -> Proof:
        """The differences stand and nothing is left to repair: chance, the confinement, the fat image's own
        unsteadiness, or a piece that could not be found."""
        again = self._try(image, proposal)
        if not again.differences:
            text = "it took a second attempt to come out as the fat image did"
            return self._proof(proposal, image, rounds, _unsteady(text, attempt.differences))
        bare = self._try(image, None)
        if not bare.differences:
            raise self._confined(proposal, image, again)
        own = self._try(self._bench.image, None)
        known = {(each.code, each.target) for each in own.differences}
        left = [each for each in again.differences if (each.code, each.target) not in known]
        if not left:
            text = "the fat image itself does not come out the same twice"
            return self._proof(proposal, image, rounds, _unsteady(text, again.differences))
        if diagnosis.suspects:
            more = proposal.repairs | Repairs(paths=diagnosis.suspects)
            fuller = propose(self._capture, self._request, more)
            image = self._make(fuller)
            if not self._try(image, fuller).differences:
                return self._proof(fuller, image, rounds + 1)
        raise self._unfit(replace(again, differences=tuple(left)), diagnosis)

    def _try(self, image: Image, proposal: Proposal | None) -> Attempt:
        """All cases with `image`, under what `proposal` says, or as the engine runs anything."""
        measures = Measures() if proposal is None else measures_of(proposal, self._request)
        differences: list[Difference] = []
        traces: list[Trace] = []
        log: tuple[str, ...] = ()
        for case in self._cases:
            outcome = self._run(image, case, measures)
            traces.append(outcome.trace)
            assert outcome.run is not None
            found = compare(case.fat, outcome.run, self._request.tolerance)
            if found and not log:
                log = outcome.run.log
            differences += found
        return Attempt(tuple(dict.fromkeys(differences)), tuple(traces), log)

    def _run(self, image: Image, case: Case, measures: Measures) -> Outcome:
        self._attempts += 1
        with self._screen.phase("verify", ours=False), ExitStack() as stack:
            recorder, loading = self._ready or start_loading(stack)
            self._ready = None
            stack.callback(recorder.close)
            loading.result()
            self._screen.watch(recorder.tally)
            plan = trial_plan(case.plan, case.fat[0], self._bench.image.id)
            engine = self._bench.engine
            outcome = try_out(recorder, engine, image, plan, case.fat[0], measures, self._screen.note)
            self._screen.watch(None)
        return outcome

    def _diagnose(self, attempt: Attempt, proposal: Proposal) -> Diagnosis:
        measures = measures_of(proposal, self._request)
        found = [
            diagnose(
                self._capture,
                proposal.selection,
                self._request.rules,
                trace,
                measures.confinement,
                measures.seccomp,
            )
            for trace in attempt.traces
        ]
        repairs = Repairs()
        for each in found:
            repairs |= each.repairs
        suspects = tuple(sorted({path for each in found for path in each.suspects}))
        excluded = {path: rule for each in found for path, rule in each.excluded.items()}
        return Diagnosis(repairs, suspects, excluded)

    def _confined(self, proposal: Proposal, image: Image, attempt: Attempt) -> SlimtraceError:
        """The failure of an image that works, though not confined: with the measure that is in its way."""
        guilty = []
        for measure in (each for each in MEASURES if each not in self._request.without):
            without = (*self._request.without, measure)
            request = replace(self._request, without=without)
            lighter = replace(
                proposal,
                confinement=confining.confinement(
                    self._capture, proposal.selection, proposal.repairs, without
                ),
            )
            if not self._with(request)._try(image, lighter).differences:
                guilty.append(measure)
        name = printable(self._bench.image.reference)
        what = f"without {' or without '.join(guilty)}" if guilty else "unconfined"
        hint = f"--without {guilty[0]} leaves that out; " if guilty else ""
        return SlimtraceError(
            f"cannot vouch for the profiles of {name}: it works only {what}: {told(attempt.differences)}",
            f"{hint}--no-verify makes the image untried",
            Exit.UNVERIFIED,
            attempt.log[-SHOWN * 4 :],
        )

    def _with(self, request: Request) -> "Prover":
        return Prover(request, self._bench, self._capture, self._make, self._screen)

    def _unfit(self, attempt: Attempt, diagnosis: Diagnosis) -> SlimtraceError:
        name = printable(self._bench.image.reference)
        hint = "--include-path keeps what it needs; --no-verify makes the image untried"
        if missing := lacking(diagnosis.repairs):
            hint = f"still missing after {self._request.rounds} rounds: {shown(missing)}; --rounds allows more"
        elif diagnosis.excluded:
            path, rule = next(iter(diagnosis.excluded.items()))
            hint = f"it looked for {printable(path)}, which --exclude-pattern {rule!r} leaves out"
        elif diagnosis.suspects:
            hint = f"it listed directories of which this is left out: {shown(diagnosis.suspects)}; {hint}"
        return SlimtraceError(
            f"cannot vouch for the slim image of {name}: {told(attempt.differences)}",
            hint,
            Exit.UNVERIFIED,
            attempt.log[-SHOWN * 4 :],
        )

    def _proof(self, proposal: Proposal, image: Image, rounds: int, *doubts: Doubt) -> Proof:
        measures = tuple(each for each in MEASURES if in_force(each, proposal, self._request))
        trial = Trial(self._attempts, rounds, measures, proposal.repairs)
        return Proof(proposal, image, trial, doubts)


def cases(request: Request, runs: Iterable[Run]) -> tuple[Case, ...]:
    """What is to be repeated: the request's own plan where it was run; of captures what their runs say, as far
    as that may be repeated (their host commands, binds and network are those of the request alone)."""
    runs = tuple(runs)
    if not request.captures:
        return (Case(request.plan, runs),)
    found: dict[str, Case] = {}
    for run in runs:
        start = run.start
        launch = replace(
            request.plan.launch,
            entrypoint=start.entrypoint,
            cmd=start.cmd,
            env={**start.env, **request.plan.launch.env},
            user=start.user,
            workdir=start.workdir,
        )
        plan = replace(request.plan, launch=launch, execs=run.execs, http_probe=run.http_probe)
        kept = replace(run, answers=tuple(each for each in run.answers if not each.target.startswith("host: ")))
        run = run if request.plan.host_execs else kept
        key = repr((start, run.execs, run.http_probe))
        before = found.get(key, Case(plan, ()))
        found[key] = replace(before, fat=(*before.fat, run))
    return tuple(found.values())[:CASES]


def measures_of(proposal: Proposal, request: Request) -> Measures:
    """What a trial of `proposal` runs under."""
    filtered = in_force("seccomp", proposal, request)
    return Measures(proposal.confinement, proposal.seccomp if filtered else None)


def in_force(measure: str, proposal: Proposal, request: Request) -> bool:
    """Whether a measure of MEASURES is put on the container."""
    confinement = proposal.confinement
    return measure not in request.without and {
        "no-new-privileges": confinement.no_new_privileges,
        "read-only": confinement.read_only,
        "capabilities": confinement.drop_all,
    }.get(measure, True)


def lacking(repairs: Repairs) -> tuple[str, ...]:
    """Each piece that is to be added, in words."""
    return (
        *(printable(path) for path in repairs.paths),
        *(f"system call {name}" for name in repairs.calls),
        *(f"system call {each.call} with {each.values[0]:#x}" for each in repairs.arguments if each.values),
        *(f"capability {name}" for name in repairs.capabilities),
        *(f"{printable(path)} writable" for path in repairs.writable),
    )


def shown(words: Iterable[str]) -> str:
    """The first of them, and how many more there are."""
    found = tuple(words)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


def told(differences: Iterable[Difference]) -> str:
    """The differences in one sentence."""
    return "; ".join(dict.fromkeys(each.text for each in tuple(differences)[:SHOWN]))


def _unsteady(text: str, differences: Iterable[Difference]) -> Doubt:
    return Doubt("unsteady", f"{text}: {told(differences)}")
