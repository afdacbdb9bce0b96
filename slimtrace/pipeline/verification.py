"""The recipe of verify: another image is run as the fat image is, and compared with it."""

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from slimtrace import codec, signals
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.confinement import DOCKER_CAPABILITIES, Confinement
from slimtrace.facts.paths import printable
from slimtrace.facts.selection import Reason, Selection, Why
from slimtrace.observe.image.rootfs import Rootfs
from slimtrace.observe.trial import Measures
from slimtrace.pipeline.observation import observe, start_loading
from slimtrace.pipeline.proof import steady_differences
from slimtrace.pipeline.request import Request, default_folder
from slimtrace.pipeline.trials import Trials, describe_repairs
from slimtrace.present.screen import Screen
from slimtrace.reason.explain.report import Comparison

LIMIT = 1 << 22  # bytes of a profile


def verify(request: Request, slim: str, screen: Screen) -> Comparison:
    """Run the request's image, and the image `slim` under the profiles among the artifacts (in
    `request.artifacts`, by default those of the image's build), and compare. Raises SlimtraceError (BAD_INPUT)
    for artifacts that were named and cannot be read."""
    with signals.deferred(), ExitStack() as stack, signals.delivered():
        screen.plan("prepare", "read files", "load probes", "run", "read files", "load probes", "verify")
        measures, files = read_measures(request)
        observation = observe(request, stack, screen)
        first_recorder = start_loading(stack)
        engine, capture = observation.opened.engine, observation.capture()
        image = engine.image(slim)
        with screen.phase("read files"):
            place = observation.opened.place.path / "other"
            place.mkdir()
            tree = stack.enter_context(Rootfs(image, engine, place)).scan()
        selection = Selection({entry.path: (Reason(Why.RULE, "it is there"),) for entry in tree})
        trials = Trials(request, observation.opened, capture, screen, first_recorder)
        attempt = trials.attempt(image, measures)
        if attempt.differences:
            attempt = trials.attempt(image, measures)
        diagnosis = trials.diagnose(attempt, selection, measures)
        found = Comparison(observation.opened.image.reference, slim, trials.attempts, profiles=files)
        if not attempt.differences:
            return found
        own = trials.attempt(observation.opened.image, Measures()).differences
        left = steady_differences(attempt.differences, own)
        return replace(
            found,
            attempts=trials.attempts,
            differences=left,
            missing=describe_repairs(diagnosis.repairs) if left else (),
            suspects=tuple(map(printable, diagnosis.suspects)) if left else (),
            unsteady=tuple(each for each in attempt.differences if each not in left),
        )


def read_measures(request: Request) -> tuple[Measures, tuple[str, ...]]:
    """The measures in the folder of artifacts, and the files that they were read from; no measures where the
    request names no folder and the default one does not exist."""
    folder = request.artifacts or default_folder(request.reference)
    if not folder.is_dir() and request.artifacts is None:
        return Measures(), ()
    names = ("confinement.json", "seccomp.json")
    confinement, profile = (_read(folder / name) for name in names)
    try:
        read = codec.decode(Confinement, confinement)
    except codec.Malformed as error:
        raise _unreadable(folder / names[0], str(error)) from error
    if not isinstance(profile, dict):
        raise _unreadable(folder / names[1], "it is no profile")
    without = request.without
    measures = Measures(
        replace(
            read,
            cap_add=DOCKER_CAPABILITIES if "capabilities" in without else read.cap_add,
            no_new_privileges=read.no_new_privileges and "no-new-privileges" not in without,
            read_only=read.read_only and "read-only" not in without,
        ),
        None if "seccomp" in without else profile,
    )
    return measures, tuple(str(folder / name) for name in names)


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT + 1)
        return json.loads(data[:LIMIT])
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, str(error)[:200]) from error


def _unreadable(path: Path, why: str) -> SlimtraceError:
    return SlimtraceError(
        f"cannot read {printable(str(path))}: {printable(why)}",
        "build the image again, or name its artifacts with --artifacts",
        Exit.BAD_INPUT,
    )
