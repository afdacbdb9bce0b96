"""Trials of an image: it is run as the fat image was run, compared with it, and diagnosed."""

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
from slimtrace.observe.trial import Measures, run_trial, trial_plan
from slimtrace.pipeline.observation import LoadingRecorder, start_loading
from slimtrace.pipeline.request import OpenedImage, Request
from slimtrace.present.screen import Screen
from slimtrace.reason.prove.compare import compare
from slimtrace.reason.prove.diagnosis import Diagnosis, diagnose

SHOWN = 3  # differences, or repairs, named in one message
MAX_CASES = 4  # different runs of a capture that are repeated


@dataclass(frozen=True, slots=True)
class Case:
    """A way of running the image, whose result is to be the same: its plan, and the runs of the fat image."""

    plan: Plan
    fat_runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One trial of an image in all cases: the differences from the fat image's runs, the traces, and the
    container's last lines in the first run that differed."""

    differences: tuple[Difference, ...]
    traces: tuple[Trace, ...]
    log: tuple[str, ...] = field(default=())


class Trials:
    """Tries images in place of `opened` against the runs of `capture`. `first_recorder` is the recorder for the
    first trial, whose programs may still be loading. `attempts` counts the trials."""

    def __init__(
        self,
        request: Request,
        opened: OpenedImage,
        capture: Capture,
        screen: Screen,
        first_recorder: LoadingRecorder | None = None,
    ) -> None:
        self.attempts = 0
        self._request = request
        self._opened = opened
        self._capture = capture
        self._screen = screen
        self._first_recorder = first_recorder
        self._cases = cases(request, capture.runs)

    def attempt(self, image: Image, measures: Measures) -> Attempt:
        """Run `image` in all cases under `measures`, and compare."""
        self.attempts += 1
        differences: list[Difference] = []
        traces: list[Trace] = []
        log: tuple[str, ...] = ()
        for case in self._cases:
            outcome = self._run(image, case, measures)
            traces.append(outcome.trace)
            found = compare(case.fat_runs, outcome.run, self._request.tolerance)
            if found and not log:
                log = outcome.run.log
            differences += found
        return Attempt(tuple(dict.fromkeys(differences)), tuple(traces), log)

    def _run(self, image: Image, case: Case, measures: Measures) -> Outcome:
        with ExitStack() as stack:
            with self._screen.phase("load probes"):
                recorder, loading = self._first_recorder or start_loading(stack)
                self._first_recorder = None
                stack.callback(recorder.close)
                loading.result()
            stack.enter_context(self._screen.phase("verify", ours=False))
            self._screen.watch(recorder.tally)
            plan = trial_plan(case.plan, case.fat_runs[0], self._opened.image.id)
            engine, folder = self._opened.engine, self._opened.place.path
            note = self._screen.note
            outcome = run_trial(recorder, engine, image, plan, case.fat_runs[0], measures, note, folder)
            self._screen.watch(None)
        return outcome

    def diagnose(self, attempt: Attempt, selection: Selection, measures: Measures) -> Diagnosis:
        """What the image of `attempt` lacked by its traces, where it has what `selection` keeps and ran under
        `measures`."""
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
    """The cases to repeat: the request's own plan where that was run; of captures what their runs say, as far
    as a capture may say it (host commands, variables, binds and network are those of the request alone)."""
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
        found[key] = replace(before, fat_runs=(*before.fat_runs, run if request.plan.host_execs else kept))
    return tuple(found.values())[:MAX_CASES]


def repairs_beyond(repairs: Repairs, others: Repairs) -> Repairs:
    """The repairs that are not among `others`."""
    return Repairs(
        paths=tuple(each for each in repairs.paths if each not in others.paths),
        calls=tuple(each for each in repairs.calls if each not in others.calls),
        arguments=tuple(each for each in repairs.arguments if each not in others.arguments),
        capabilities=tuple(each for each in repairs.capabilities if each not in others.capabilities),
        writable=tuple(each for each in repairs.writable if each not in others.writable),
    )


def describe_repairs(repairs: Repairs) -> tuple[str, ...]:
    """Each thing that `repairs` add, in words."""
    return (
        *(printable(path) for path in repairs.paths),
        *(f"system call {name}" for name in repairs.calls),
        *(f"system call {each.call} with {each.values[0]:#x}" for each in repairs.arguments if each.values),
        *(f"capability {name}" for name in repairs.capabilities),
        *(f"{printable(path)} writable" for path in repairs.writable),
    )


def abridged(words: Iterable[str]) -> str:
    """The first SHOWN of the words, and how many more there are."""
    found = tuple(words)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


def describe_differences(differences: Iterable[Difference]) -> str:
    """The first SHOWN differences in one sentence."""
    return "; ".join(dict.fromkeys(each.text for each in tuple(differences)[:SHOWN]))
