"""A run of the slim image under what is to confine it, driven as the fat one was, and traced too."""

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from threading import Event, Timer
from typing import Any

from slimtrace.engine import Engine, Launch
from slimtrace.facts.confinement import Confinement
from slimtrace.facts.image import Image
from slimtrace.facts.runs import Run
from slimtrace.observe.plan import Plan, Until
from slimtrace.observe.recorder import Outcome, Recorder
from slimtrace.reason.runline import tmpfs_options

READY_SECONDS = 3.0  # for a port of the slim image, at least
LONGEST_WATCH = 30.0  # seconds of a trial of a run that its user ended


@dataclass(frozen=True, slots=True)
class Measures:
    """What is put on the container: a `confinement`, a seccomp profile in Docker's form, the name of an
    AppArmor profile that is loaded. None and "" leave to the engine what it does by itself."""

    confinement: Confinement | None = None
    seccomp: Mapping[str, Any] | None = None
    apparmor: str = ""


def launch(base: Launch, measures: Measures) -> Launch:
    """`base` under `measures`, but for the tmpfs."""
    options = list(base.security_opt)
    if measures.seccomp is not None:
        options.append(f"seccomp={json.dumps(measures.seccomp)}")
    if measures.apparmor:
        options.append(f"apparmor={measures.apparmor}")
    confinement = measures.confinement
    if confinement is None:
        return replace(base, security_opt=tuple(options))
    if confinement.no_new_privileges:
        options.append("no-new-privileges")
    return replace(
        base,
        security_opt=tuple(options),
        cap_drop=("ALL",),
        cap_add=confinement.cap_add,
        read_only=confinement.read_only,
        user=base.user or confinement.user,
        volumes=(*base.volumes, *(place.path for place in confinement.writable if place.volume)),
    )


def trial_plan(plan: Plan, fat: Run, aside: str) -> Plan:
    """The plan by which `fat` was run, for a trial: findings are no failures, commands run beside the container
    in the image `aside`, and nothing is waited for much longer than it took then."""
    ready = max(READY_SECONDS, 3 * fat.ready_seconds + 2)
    until = plan.until
    if until.mode in ("enter", "seconds"):
        until = Until("seconds", min(max(fat.seconds, 1.0), LONGEST_WATCH))
    return replace(
        plan,
        until=until,
        tolerant=True,
        aside=aside,
        ports=fat.ports,
        ready_seconds=min(plan.ready_seconds, ready),
    )


def try_out(
    recorder: Recorder,
    engine: Engine,
    image: Image,
    plan: Plan,
    fat: Run,
    measures: Measures,
    note: Callable[[str], None],
) -> Outcome:
    """Run `image` by `plan` (of `trial_plan`) under `measures`. It is given three times as long as the run
    `fat` took, and some seconds. Raises SlimtraceError for what is not the container's doing."""
    with ExitStack() as stack:
        start = launch(plan.launch, measures)
        places = {
            place.path: tmpfs_options(place)
            for place in (measures.confinement.writable if measures.confinement else ())
            if not place.volume
        }
        if plan.execs and plan.aside:  # what runs beside it has its sockets and files in view
            start = replace(start, binds=(*start.binds, *stack.enter_context(engine.memory(places))))
        else:
            start = replace(start, tmpfs=places)
        stop = Event()
        late = Timer(plan.ready_seconds + 3 * fat.seconds + 10, stop.set)
        late.daemon = True
        late.start()
        stack.callback(late.cancel)
        return recorder.record(engine, image, replace(plan, launch=start), note, stop)


__all__ = ["Measures", "launch", "trial_plan", "try_out"]
