"""The report of what was decided and proven."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from slimtrace import __version__
from slimtrace.facts.events import Doubt
from slimtrace.facts.image import Image
from slimtrace.facts.paths import printable
from slimtrace.pipeline.observing import Seen
from slimtrace.pipeline.proving import Proof
from slimtrace.present.live import Screen
from slimtrace.reason.confine import seccomp
from slimtrace.reason.explain.report import ImageFigures, KeptFile, Report, used_capabilities


def places(folder: Path, files: Iterable[str]) -> dict[str, str]:
    """Where the artifacts `files` and the report will lie, by what they are; of those in a folder, that."""
    named = {name: str(folder / name) for name in ("creport.json", *sorted(files)) if "/" not in name}
    return {**named, "capture": str(folder / "capture")}


def report_of(
    command: str,
    seen: Seen,
    proof: Proof,
    slim: Image,
    kept: tuple[KeptFile, ...],
    doubts: tuple[Doubt, ...],
    where: Mapping[str, str],
    screen: Screen,
) -> Report:
    """All there is to tell of `command`: `slim` is the image that was made, or the fat one again, `kept` are
    its files, `where` are the artifacts."""
    proposal, outcome = proof.proposal, seen.outcome
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
        calls=len(seccomp.who(capture, proposal.repairs)),
        calls_default=seccomp.of_default(proposal.seccomp),
        calls_denied=seccomp.denied(proposal.seccomp),
        capabilities=used_capabilities(trace),
        confinement=proposal.confinement,
        trial=proof.trial,
        processes=tuple(dict.fromkeys(printable(execution.asked) for execution in trace.execs)),
        files=kept,
        doubts=tuple(dict.fromkeys((*proposal.selection.doubts, *doubts, *proof.doubts))),
        artifacts=where,
    )
