"""Trying an image: run as the fat one was, compared with it, diagnosed."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import Repairs
from slimtrace.facts.events import Trace
from slimtrace.facts.image import Image
from slimtrace.facts.paths import printable
from slimtrace.facts.runs import Difference, Run
from slimtrace.facts.selection import Selection
from slimtrace.observe.container.plan import Plan
from slimtrace.observe.recorder import Outcome
from slimtrace.observe.trial import Measures, trial_plan, try_out
from slimtrace.pipeline.observing import Loading, start_loading
from slimtrace.pipeline.request import Bench, Request
from slimtrace.present.live import Screen
from slimtrace.reason.prove.compare import compare
from slimtrace.reason.prove.diagnosis import Diagnosis, diagnose

SHOWN = 3  # differences and missing pieces in one message
CASES = 4  # runs of a capture that are repeated at most


@dataclass(frozen=True, slots=True)
class Case:
    """A way of running the image that is to come out the same: its plan, and the runs of the fat image."""

    plan: Plan
    fat: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One trial of an image in all cases: what differed, its traces, and the last lines of the first run that
    differed."""

    differences: tuple[Difference, ...]
    traces: tuple[Trace, ...]
    log: tuple[str, ...] = field(default=())


class Trials:
    """Tries images on a bench against the runs of `capture`. `ready` is the recorder for the first trial, whose
    programs may still be loading. `attempts` counts the trials."""

    def __init__(
        self,
        request: Request,
        bench: Bench,
        capture: Capture,
        screen: Screen,
        ready: Loading | None = None,
    ) -> None:
        self.attempts = 0
        self._request = request
        self._bench = bench
        self._capture = capture
        self._screen = screen
        self._ready = ready
        self._cases = cases(request, capture.runs)

    def attempt(self, image: Image, measures: Measures) -> Attempt:
        """All cases with `image` under `measures`."""
        self.attempts += 1
        differences: list[Difference] = []
        traces: list[Trace] = []
        log: tuple[str, ...] = ()
        for case in self._cases:
            outcome = self._run(image, case, measures)
            traces.append(outcome.trace)
            found = compare(case.fat, outcome.run, self._request.tolerance)
            if found and not log:
                log = outcome.run.log
            differences += found
        return Attempt(tuple(dict.fromkeys(differences)), tuple(traces), log)

    def _run(self, image: Image, case: Case, measures: Measures) -> Outcome:
        with ExitStack() as stack:
            with self._screen.phase("load probes"):
                recorder, loading = self._ready or start_loading(stack)
                self._ready = None
                stack.callback(recorder.close)
                loading.result()
            stack.enter_context(self._screen.phase("verify", ours=False))
            self._screen.watch(recorder.tally)
            plan = trial_plan(case.plan, case.fat[0], self._bench.image.id)
            engine, folder = self._bench.engine, self._bench.place.path
            note = self._screen.note
            outcome = try_out(recorder, engine, image, plan, case.fat[0], measures, note, folder)
            self._screen.watch(None)
        return outcome

    def diagnose(self, attempt: Attempt, selection: Selection, measures: Measures) -> Diagnosis:
        """What the attempt was seen to lack: an image that has what `selection` keeps, under `measures`."""
        found = [
            diagnose(
                self._capture,
                selection,
                self._request.rules,
                trace,
                measures.confinement,
                measures.seccomp,
                mediated=bool(measures.apparmor),
            )
            for trace in attempt.traces
        ]
        repairs = Repairs()
        for each in found:
            repairs |= each.repairs
        excluded: Mapping[str, str] = {path: rule for each in found for path, rule in each.excluded.items()}
        return Diagnosis(repairs, tuple(sorted({path for each in found for path in each.suspects})), excluded)


def cases(request: Request, runs: Iterable[Run]) -> tuple[Case, ...]:
    """What is to be repeated: the request's own plan where that was run; of captures what their runs say, as
    far as it may be repeated (host commands, variables, binds and network are those of the request alone)."""
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
            user=start.user,
            workdir=start.workdir,
        )
        plan = replace(request.plan, launch=launch, execs=run.execs, http_probe=run.http_probe)
        kept = replace(run, answers=tuple(each for each in run.answers if not each.target.startswith("host: ")))
        key = repr((start, run.execs, run.http_probe))
        before = found.get(key, Case(plan, ()))
        found[key] = replace(before, fat=(*before.fat, run if request.plan.host_execs else kept))
    return tuple(found.values())[:CASES]


def beside(repairs: Repairs, others: Repairs) -> Repairs:
    """Those that are not among `others`."""
    return Repairs(
        paths=tuple(each for each in repairs.paths if each not in others.paths),
        calls=tuple(each for each in repairs.calls if each not in others.calls),
        arguments=tuple(each for each in repairs.arguments if each not in others.arguments),
        capabilities=tuple(each for each in repairs.capabilities if each not in others.capabilities),
        writable=tuple(each for each in repairs.writable if each not in others.writable),
    )


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
    """The first of the differences in one sentence."""
    return "; ".join(dict.fromkeys(each.text for each in tuple(differences)[:SHOWN]))
