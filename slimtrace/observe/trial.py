"""A run of the slim image under what is to confine it, driven as the fat one was, and traced too."""

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Timer
from typing import Any

from slimtrace.engine import Engine, Launch
from slimtrace.facts.confinement import Confinement
from slimtrace.facts.image import Image
from slimtrace.facts.runs import Run
from slimtrace.observe.container import apparmor_loader
from slimtrace.observe.container.plan import Plan, Until
from slimtrace.observe.recorder import Outcome, Recorder
from slimtrace.reason.confine.docker_run import tmpfs_options

# A trial may take three times as long as the run of the fat image, and this many seconds: they are not alone on
# the machine.
LONGER, SLACK_SECONDS = 3, 5.0
LONGEST_WATCH = 30.0  # seconds of a trial of a run that its user ended


@dataclass(frozen=True, slots=True)
class Measures:
    """What is put on the container: a `confinement`, a seccomp profile in Docker's form, an AppArmor profile's
    text, which has the name of `apparmor_loader.trial_name`. None and "" leave to the engine what it does by
    itself."""

    confinement: Confinement | None = None
    seccomp: Mapping[str, Any] | None = None
    apparmor: str = ""


def launch(base: Launch, measures: Measures, file: Path | None = None) -> Launch:
    """`base` under `measures`. `file` is for podman, whose API takes a seccomp profile as a file of its host,
    which is then written; Docker's takes the profile itself."""
    options = list(base.security_opt)
    if measures.seccomp is not None:
        text = json.dumps(measures.seccomp)
        if file:
            file.write_text(text)
        options.append(f"seccomp={file or text}")
    if measures.apparmor:
        options.append(f"apparmor={apparmor_loader.trial_name()}")
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
        tmpfs={place.path: tmpfs_options(place) for place in confinement.writable if not place.volume},
    )


def trial_plan(plan: Plan, fat: Run, aside: str) -> Plan:
    """The plan by which `fat` was run, for a trial: findings are no failures, commands run beside the container
    in the image `aside`, and nothing is waited for much longer than it took then."""
    until = plan.until
    if until.mode in ("enter", "seconds"):
        until = Until("seconds", min(max(fat.seconds, 1.0), LONGEST_WATCH))
    # one that ended by itself may have listened on nothing all that time
    ready = fat.ready_seconds if fat.exit_code is None else fat.seconds
    return replace(
        plan,
        until=until,
        tolerant=True,
        aside=aside,
        ports=fat.ports,
        ready_seconds=min(plan.ready_seconds, longer(ready)),
        command_seconds=min(plan.command_seconds, longer(fat.seconds)),
    )


def longer(seconds: float) -> float:
    """How long that may take in a trial which took so many seconds in the fat run."""
    return LONGER * seconds + SLACK_SECONDS


def try_out(
    recorder: Recorder,
    engine: Engine,
    image: Image,
    plan: Plan,
    fat: Run,
    measures: Measures,
    note: Callable[[str], None],
    folder: Path,
) -> Outcome:
    """Run `image` by `plan` (of `trial_plan`, made of the run `fat`) under `measures`. `folder` is for what is
    temporary. Raises SlimtraceError for what is not the container's doing."""
    file = folder / "seccomp.json" if engine.info().podman else None
    stop = Event()
    late = Timer(plan.ready_seconds + longer(fat.seconds), stop.set)
    late.daemon = True
    late.start()
    try:
        with (
            apparmor_loader.loaded(apparmor_loader.trial_name(), measures.apparmor)
            if measures.apparmor
            else nullcontext()
        ):
            confined = replace(plan, launch=launch(plan.launch, measures, file))
            return recorder.record(engine, image, confined, note, stop)
    finally:
        late.cancel()


__all__ = ["Measures", "launch", "longer", "trial_plan", "try_out"]
