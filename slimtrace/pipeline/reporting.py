"""The report of a build or a profile."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from slimtrace import __version__
from slimtrace.facts.events import Doubt
from slimtrace.facts.image import Image
from slimtrace.facts.paths import printable
from slimtrace.pipeline.observation import Observation
from slimtrace.pipeline.proof import Proof
from slimtrace.present.screen import Screen
from slimtrace.reason.confine import seccomp
from slimtrace.reason.explain.report import ImageFigures, KeptFile, Report, used_capabilities


def artifact_paths(folder: Path, files: Iterable[str]) -> dict[str, str]:
    """The paths of the report and of the artifacts `files` in `folder`, by file name; the files in
    ``capture/`` have one entry together, for that folder."""
    named = {name: str(folder / name) for name in ("creport.json", *sorted(files)) if "/" not in name}
    return {**named, "capture": str(folder / "capture")}


def make_report(
    command: str,
    observation: Observation,
    proof: Proof,
    slim: Image,
    kept: tuple[KeptFile, ...],
    doubts: tuple[Doubt, ...],
    where: Mapping[str, str],
    screen: Screen,
) -> Report:
    """The report of the verb `command`: `slim` is the image that was made, or the fat one where none was,
    `kept` are its files, `where` are the paths of the artifacts by name."""
    proposal, outcome = proof.proposal, observation.outcome
    capture, trace = proposal.capture, outcome.trace
    fat = capture.image
    return Report(
        version=__version__,
        command=command,
        fat=ImageFigures(fat.reference, fat.id, fat.size, len(capture.tree)),
        slim=ImageFigures(slim.reference, slim.id, slim.size, len(kept) or len(capture.tree)),
        phases=screen.phases,
        probes=outcome.probes,
        ports=tuple(sorted({listen.port for listen in trace.listens})),
        exit_code=outcome.exit_code,
        stop_code=outcome.stop_code,
        stop_seconds=outcome.stop_seconds,
        events=outcome.events,
        lost=trace.lost,
        calls=len(seccomp.allowed_calls(capture, proposal.repairs)),
        calls_default=seccomp.docker_call_count(proposal.seccomp),
        calls_denied=seccomp.denied_count(proposal.seccomp),
        capabilities=used_capabilities(trace),
        confinement=proposal.confinement,
        trial=proof.trial,
        processes=tuple(dict.fromkeys(printable(execution.asked) for execution in trace.execs)),
        files=kept,
        doubts=tuple(dict.fromkeys((*proposal.selection.doubts, *doubts, *proof.doubts))),
        artifacts=where,
    )
