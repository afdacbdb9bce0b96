"""The verbs that only answer a question (info, why, diff): one short recipe for each. They start no container
and make no image, and need root only where files or the engine cannot be reached without it.
"""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slimtrace import codec, pipeline, store
from slimtrace.engine import Engine
from slimtrace.errors import SlimtraceError
from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import Repairs
from slimtrace.facts.image import Image
from slimtrace.facts.layers import Layer
from slimtrace.facts.paths import printable
from slimtrace.observe.image import archive_layers, overlay_layers
from slimtrace.reason.explain import repeat_decision, why
from slimtrace.reason.explain.removed_files import RemovedFiles, find_removed, kept_paths
from slimtrace.reason.explain.report import Report
from slimtrace.reason.image import dockerfile, inventory
from slimtrace.reason.keep import rules_file
from slimtrace.reason.keep.packages import Owners, installed
from slimtrace.reason.keep.rules import Rules

SCHEMA = 1  # of the JSON that these verbs print


@dataclass(frozen=True, slots=True)
class WhyAnswer:
    """The answer of `explain`: the explanation, the slim image's name ("" for a capture that no image was built
    from), and the reasons why the explanation may be wrong."""

    explanation: why.Explanation
    slim: str
    cautions: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether the slim image has the path."""
        return self.explanation.verdict is why.Verdict.KEPT

    def to_json(self) -> dict[str, Any]:
        """The answer as plain JSON values, the schema number first; bytes of paths that are not UTF-8 are lone
        surrogates."""
        return {"schema": SCHEMA, "slim": self.slim, "cautions": self.cautions, **asdict(self.explanation)}


def explain(reference: str, path: str, folder: Path | None = None) -> WhyAnswer:
    """Why `path` is in the slim image of `reference`, or why not, from a build's artifacts alone, or from a
    capture's folder. Raises SlimtraceError (BAD_INPUT) where these do not exist or are another image's."""
    folder = folder or pipeline.default_folder(reference)
    recorded = (folder / "capture.json").exists()
    report = None if recorded else read_report(folder, reference)
    capture = store.load(folder if recorded else folder / "capture")
    require_artifacts_of(f"cannot explain {reference}", reference, capture.image, report, folder)
    decision = repeat_decision.decide(capture, rules_in_force(folder), repairs_made(folder).paths)
    explanation = why.explain(capture, decision, path, package_lookup(capture))
    slim = report.slim.reference if report else ""
    return WhyAnswer(explanation, slim, tuple(cautions(decision, report, explanation.path)))


@dataclass(frozen=True, slots=True)
class Description:
    """The answer of `describe`: the image's configuration by the engine, its Dockerfile as far as it can be
    reconstructed, the name of its base image ("" where the engine does not have it), and the inventory of its
    files (None: they were not read)."""

    image: Image
    dockerfile: str
    base: str
    inventory: inventory.Inventory | None

    def to_json(self) -> dict[str, Any]:
        """The description as plain JSON values, the schema number first."""
        found: dict[str, Any] = {"schema": SCHEMA, **asdict(self)}
        if self.inventory:
            found["inventory"]["hidden"] = self.inventory.hidden
        return found


def describe(
    reference: str, pull: bool = False, files: bool = True, progress: Callable[[int], None] = lambda _: None
) -> Description:
    """Describe the image, without reading its files unless `files` is set. `progress` is called with the
    number of bytes read so far."""
    with Engine.connect() as engine:
        image = engine.pull(reference) if pull else engine.image(reference)
        base = dockerfile.find_base(image, engine.ancestors(image))
        found = inventory.take_inventory(layers_of(engine, image, progress)) if files else None
    return Description(image, dockerfile.reconstruct(image, base), base.reference if base else "", found)


def layers_of(engine: Engine, image: Image, progress: Callable[[int], None]) -> tuple[Layer, ...]:
    """The image's layers: from the engine's own directories if this process may read them, else from the
    archive that the engine sends."""
    if len(image.lower_dirs) == len(image.layers):
        with suppress(OSError, SlimtraceError, overlay_layers.RedirectedContent):
            return overlay_layers.layers_of_directories(image.lower_dirs[::-1], progress)
    return archive_layers.layers_of_archive(engine.save(image.id), image.layers, progress)


def diff(reference: str, folder: Path | None = None) -> RemovedFiles:
    """The files of the image `reference` that its slim image lacks, from the artifacts of its build alone.
    Raises SlimtraceError (BAD_INPUT) where these do not exist, are broken, or are another image's."""
    folder = folder or pipeline.default_folder(reference)
    report = read_report(folder, reference)
    capture = store.load(folder / "capture")
    require_artifacts_of(f"cannot compare {reference}", reference, capture.image, report, folder)
    kept, cut = kept_paths(capture, {file.path: file.size for file in report.files})
    return find_removed(capture, report.slim.reference, kept, cut)


def rules_in_force(folder: Path) -> Rules:
    """The rules of the build whose artifacts are in `folder`; the default rules for a capture, or for artifacts
    without rules.toml."""
    path = folder / "rules.toml"
    return rules_file.rules_from_text(_read_text(path), str(path)) if path.is_file() else Rules()


def repairs_made(folder: Path) -> Repairs:
    """The repairs that the build has made after trials of the slim image; none for a capture. Raises
    SlimtraceError (BAD_INPUT) for a file that cannot be read."""
    path = folder / "repairs.json"
    if not path.is_file():
        return Repairs()
    try:
        return codec.decode(Repairs, json.loads(_read_text(path)))
    except (ValueError, RecursionError) as error:
        said = printable(str(error))[:200]
        raise SlimtraceError(f"cannot read {printable(str(path))}: {said}", "build the image again") from error


def package_lookup(capture: Capture) -> why.PackageOwner:
    """The function that gives the package which a path of the image belongs to ("" for none), as far as the
    capture holds the package databases."""
    owners = Owners(installed(capture))

    def owner(path: str) -> str:
        return next((each.label for each in owners.of(path)), "")

    return owner


def read_report(folder: Path, reference: str) -> Report:
    """The report in a folder of artifacts. Raises SlimtraceError (BAD_INPUT) where the folder has no report, or
    one that cannot be read."""
    path = folder / "creport.json"
    where = printable(str(path))
    if not path.is_file():
        raise SlimtraceError(
            f"cannot find the artifacts of {reference}: there is no file {where}",
            f"slimtrace build {reference} makes them; --artifacts DIR names another place",
        )
    try:
        return codec.decode(Report, json.loads(_read_text(path)))
    except (ValueError, RecursionError) as error:
        said = printable(str(error))[:200]
        raise SlimtraceError(f"cannot read {where}: {said}", "build the image again") from error


def _read_text(path: Path) -> str:
    """The text of a file among artifacts, which may come from anyone: at most store.LIMIT bytes are read.
    Raises SlimtraceError."""
    where = printable(str(path))
    try:
        with path.open("rb") as file:
            data = file.read(store.LIMIT + 1)
    except OSError as error:
        raise SlimtraceError(f"cannot read {where}: {error.strerror}") from error
    if len(data) > store.LIMIT:
        raise SlimtraceError(f"cannot read {where}: it is larger than {store.LIMIT} bytes")
    return data.decode("utf-8", "replace")


def require_artifacts_of(
    failure: str, reference: str, image: Image, report: Report | None, folder: Path
) -> None:
    """Raises SlimtraceError (BAD_INPUT), whose message begins with `failure`, unless the artifacts are those
    of the image that the user names: by a name that it had, by its id, or by the slim image's name or id."""
    names = {image.reference, *image.tags, image.id}
    ids = [image.id.removeprefix("sha256:")]
    if report:
        names |= {report.slim.reference, report.slim.id}
        ids.append(report.slim.id.removeprefix("sha256:"))
    short = reference.removeprefix("sha256:")
    if names & {reference, f"{reference}:latest"} or (
        len(short) >= 4 and any(id.startswith(short) for id in ids)
    ):
        return
    raise SlimtraceError(
        f"{failure}: the artifacts in {printable(str(folder))} are of {printable(image.reference)}",
        "--artifacts DIR names another place",
    )


def cautions(decision: repeat_decision.Decision, report: Report | None, path: str) -> Iterable[str]:
    """The reasons why `decision` may not be the build's own, as sentences. `path` is the one that the user asks
    about."""
    if decision.unanswered:
        first = decision.unanswered[0]
        yield (
            f"the capture has no answer to {len(decision.unanswered)} questions that deciding asks now, "
            f"such as about {first}: what was not asked counts as saying nothing"
        )
    if report:
        built = {file.path for file in report.files}
        now = {printable(path) for path in decision.selection.kept}
        if different := sorted(built ^ now):
            first = printable(path) if printable(path) in different else different[0]
            number = "one path" if len(different) == 1 else f"{len(different)} paths"
            yield (
                f"the build decided otherwise about {number}, such as {first}: "
                "it went by other rules, or was made by another slimtrace"
            )


__all__ = ["Description", "WhyAnswer", "describe", "diff", "explain"]
