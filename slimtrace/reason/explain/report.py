"""The report of a build: the one structure behind the screen, ``--json`` and ``creport.json``."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from slimtrace.facts import paths
from slimtrace.facts.confinement import Confinement, Repairs
from slimtrace.facts.events import Doubt, Origin, Phase, Trace
from slimtrace.facts.runs import Difference, Probe
from slimtrace.facts.selection import Selection
from slimtrace.facts.tree import FileTree, Kind

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class PhaseTime:
    """One step of the build and the seconds of wall time it took. `ours` distinguishes slimtrace's own work
    from waiting for the application (its start, the exercise, its end)."""

    name: str
    seconds: float
    ours: bool = True


@dataclass(frozen=True, slots=True)
class ImageFigures:
    """An image's name, id, size in bytes of its files, and number of entries."""

    reference: str
    id: str
    size: int
    files: int


@dataclass(frozen=True, slots=True)
class KeptFile:
    """One line of the list of kept files; `path` is printable, `size` bytes (0 for what is no file)."""

    path: str
    kind: str
    size: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """How the slim image was tried: `attempts` runs of it (and of the fat one, where they differed), `rounds`
    of repair, the `measures` that confined it (facts.confinement.MEASURES), and all `repairs`."""

    attempts: int
    rounds: int
    measures: tuple[str, ...]
    repairs: Repairs = field(default_factory=Repairs)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a build reports. `calls` is the number of system calls in the profile, `calls_default`
    how many Docker's default profile allows on this architecture, and `calls_denied` how many of those it
    denies. `artifacts` maps the kind of each written file to its path."""

    version: str
    command: str
    fat: ImageFigures
    slim: ImageFigures
    phases: tuple[PhaseTime, ...]
    probes: tuple[Probe, ...] = ()
    ports: tuple[int, ...] = ()
    exit_code: int | None = None  # of the traced container; None when slimtrace stopped it
    stop_code: int | None = None  # the exit code with which it then ended, after `stop_seconds`
    stop_seconds: float = 0.0
    events: int = 0
    lost: int = 0
    calls: int = 0
    calls_default: int = 0
    calls_denied: int = 0
    capabilities: tuple[str, ...] = ()
    confinement: Confinement | None = None
    trial: Trial | None = None  # None: the slim image was not tried
    processes: tuple[str, ...] = ()
    files: tuple[KeptFile, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    artifacts: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Wall time of the whole build."""
        return sum(phase.seconds for phase in self.phases)

    @property
    def own_seconds(self) -> float:
        """Wall time less what the application and the exercise took."""
        return sum(phase.seconds for phase in self.phases if phase.ours)

    @property
    def ratio(self) -> float:
        """How many times smaller the slim image is."""
        return self.fat.size / self.slim.size if self.slim.size else 0.0

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values, the schema number first."""
        body = asdict(self)
        totals = {
            "seconds": round(self.seconds, 3),
            "own_seconds": round(self.own_seconds, 3),
            "ratio": round(self.ratio, 2),
        }
        return {"schema": SCHEMA, **body, **totals}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome of comparing the image `slim` with `fat`: the `differences`; what the trial was seen to lack
    (`missing`, in words), and `suspects`, paths that only a listing could have shown to be absent; `unsteady`
    are differences in what the fat image itself does not repeat. `profiles` are the files by which the slim
    image was confined, none where it ran as the engine runs any image."""

    fat: str
    slim: str
    attempts: int
    differences: tuple[Difference, ...] = ()
    missing: tuple[str, ...] = ()
    suspects: tuple[str, ...] = ()
    unsteady: tuple[Difference, ...] = ()
    profiles: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether there was no difference."""
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain JSON values, the schema number first."""
        return {"schema": SCHEMA, "same": self.same, **asdict(self)}


def used_capabilities(trace: Trace) -> tuple[str, ...]:
    """The capabilities that the container's own program asked for and was granted, sorted."""
    return tuple(
        sorted(
            {
                name
                for group in trace.capabilities
                if group.phase is Phase.APP and group.origin is Origin.CONTAINER
                for name in group.granted
            }
        )
    )


def to_text(report: Report) -> str:
    """The report as the text of a JSON file."""
    return json.dumps(report.to_json(), indent=1) + "\n"


def kept_files(selection: Selection, tree: FileTree) -> tuple[KeptFile, ...]:
    """A line for every kept path, sorted by path; the bytes of a file with several names are counted at the
    first."""
    seen: set[int] = set()
    found = []
    for path in sorted(selection.kept):
        entry = tree.get(path)
        if entry is None:
            continue
        counted = entry.kind is Kind.FILE and not (entry.inode and entry.inode in seen)
        seen.add(entry.inode)
        reasons = tuple(paths.printable(f"{why.why} {why.of}".strip()) for why in selection.kept[path])
        found.append(KeptFile(paths.printable(path), str(entry.kind), entry.size if counted else 0, reasons))
    return tuple(found)
