"""The trial of a slim image: a run under the confinement that is proposed for it, driven as the run of the fat
image was, and traced too."""

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

# A trial may take three times as long as the run of the fat image, and this many seconds more, since other
# processes may load the machine.
TIME_FACTOR, SLACK_SECONDS = 3, 5.0
LONGEST_WATCH = 30.0  # seconds of a trial of a run that its user ended


@dataclass(frozen=True, slots=True)
class Measures:
    """The measures that confine the container: a `confinement`, a seccomp profile in Docker's form, the text of
    an AppArmor profile whose name is `apparmor_loader.trial_name()`. None and "" leave a measure at the
    engine's default."""

    confinement: Confinement | None = None
    seccomp: Mapping[str, Any] | None = None
    apparmor: str = ""


def confined_launch(base: Launch, measures: Measures, file: Path | None = None) -> Launch:
    """`base` with the options of `measures`. With `file` the seccomp profile is written to that file, for
    podman, whose API takes the path of a profile on its host; Docker's API takes the profile itself."""
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


def trial_plan(plan: Plan, fat: Run, sidecar_image: str) -> Plan:
    """The plan of the run `fat`, changed for a trial: failures are recorded instead of raised, commands run in
    a sidecar of the image `sidecar_image`, and no wait is much longer than it was in `fat`."""
    until = plan.until
    if until.mode in ("enter", "seconds"):
        until = Until("seconds", min(max(fat.seconds, 1.0), LONGEST_WATCH))
    # A container that ended by itself may have listened on no port all that time.
    ready = fat.ready_seconds if fat.exit_code is None else fat.seconds
    return replace(
        plan,
        until=until,
        tolerant=True,
        sidecar_image=sidecar_image,
        ports=fat.ports,
        ready_seconds=min(plan.ready_seconds, trial_seconds(ready)),
        command_seconds=min(plan.command_seconds, trial_seconds(fat.seconds)),
    )


def trial_seconds(seconds: float) -> float:
    """The seconds that a step may take in a trial if it took `seconds` in the run of the fat image."""
    return TIME_FACTOR * seconds + SLACK_SECONDS


def run_trial(
    recorder: Recorder,
    engine: Engine,
    image: Image,
    plan: Plan,
    fat: Run,
    measures: Measures,
    note: Callable[[str], None],
    folder: Path,
) -> Outcome:
    """Run `image` by `plan` (of `trial_plan`, made from the run `fat`) under `measures`. `folder` is for
    temporary files. Raises SlimtraceError for failures that are not the container's."""
    file = folder / "seccomp.json" if engine.info().podman else None
    stop = Event()
    deadline = Timer(plan.ready_seconds + trial_seconds(fat.seconds), stop.set)
    deadline.daemon = True
    deadline.start()
    try:
        with (
            apparmor_loader.loaded(apparmor_loader.trial_name(), measures.apparmor)
            if measures.apparmor
            else nullcontext()
        ):
            confined = replace(plan, launch=confined_launch(plan.launch, measures, file))
            return recorder.record(engine, image, confined, note, stop)
    finally:
        deadline.cancel()


__all__ = ["Measures", "confined_launch", "run_trial", "trial_plan", "trial_seconds"]
