"""The story of the verbs that only answer a question: one short recipe each. Nothing is started, no image is
made, and no root is needed where files and engine can be reached without.
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
from slimtrace.reason.explain.removed_files import Difference, difference, kept_in
from slimtrace.reason.explain.report import Report
from slimtrace.reason.image import dockerfile, inventory
from slimtrace.reason.keep import rules_file
from slimtrace.reason.keep.packages import Owners, installed
from slimtrace.reason.keep.rules import Rules

SCHEMA = 1  # of the answers' JSON


@dataclass(frozen=True, slots=True)
class Answer:
    """What `explain` found: the account, the slim image's name ("" for a capture that nothing was built from),
    and what makes it less than certain."""

    account: why.Account
    slim: str
    cautions: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether the slim image has the path."""
        return self.account.verdict is why.Verdict.KEPT

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, the schema number first; paths that are not UTF-8 as escaped surrogates."""
        return {"schema": SCHEMA, "slim": self.slim, "cautions": self.cautions, **asdict(self.account)}


def explain(reference: str, path: str, folder: Path | None = None) -> Answer:
    """Why `path` is in the slim image of `reference`, or why not, from a build's artifacts alone, or from a
    capture's folder. Raises SlimtraceError (BAD_INPUT) where these are not there or are another image's."""
    folder = folder or pipeline.default_folder(reference)
    recorded = (folder / "capture.json").exists()
    report = None if recorded else read_report(folder, reference)
    capture = store.load(folder if recorded else folder / "capture")
    require_same(f"cannot explain {reference}", reference, capture.image, report, folder)
    decision = repeat_decision.decide(capture, rules_in_force(folder), repairs_made(folder).paths)
    account = why.explain(capture, decision, path, owner_of(capture))
    return Answer(
        account, report.slim.reference if report else "", tuple(cautions(decision, report, account.path))
    )


@dataclass(frozen=True, slots=True)
class Description:
    """What there is to know of an image: what the engine says of it, its Dockerfile as far as it can be
    known, the name of its base ("" where that is not here), and what its files come to, unless they were left
    alone."""

    image: Image
    dockerfile: str
    base: str
    inventory: inventory.Inventory | None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, the schema number first."""
        found: dict[str, Any] = {"schema": SCHEMA, **asdict(self)}
        if self.inventory:
            found["inventory"]["hidden"] = self.inventory.hidden
        return found


def describe(
    reference: str, pull: bool = False, files: bool = True, progress: Callable[[int], None] = lambda _: None
) -> Description:
    """The image; without `files` at once. `progress` is told the bytes read so far."""
    with Engine.connect() as engine:
        image = engine.pull(reference) if pull else engine.image(reference)
        base = dockerfile.base_of(image, engine.ancestors(image))
        found = inventory.take(layers_of(engine, image, progress)) if files else None
    return Description(image, dockerfile.reverse(image, base), base.reference if base else "", found)


def layers_of(engine: Engine, image: Image, progress: Callable[[int], None]) -> tuple[Layer, ...]:
    """The image's layers: from where the engine keeps them if we may read there, else as it hands them over."""
    if len(image.lower_dirs) == len(image.layers):
        with suppress(OSError, SlimtraceError, overlay_layers.Elsewhere):
            return overlay_layers.of_directories(image.lower_dirs[::-1], progress)
    return archive_layers.of_archive(engine.save(image.id), image.layers, progress)


def diff(reference: str, folder: Path | None = None) -> Difference:
    """What went from the image `reference`, by the artifacts of its build alone. Raises SlimtraceError
    (BAD_INPUT) where these are not there, are broken, or are another image's."""
    folder = folder or pipeline.default_folder(reference)
    told = read_report(folder, reference)
    capture = store.load(folder / "capture")
    require_same(f"cannot compare {reference}", reference, capture.image, told, folder)
    kept, cut = kept_in(capture, {file.path: file.size for file in told.files})
    return difference(capture, told.slim.reference, kept, cut)


def rules_in_force(folder: Path) -> Rules:
    """The rules that the build went by whose artifacts are in `folder`; the default ones for a capture, or for
    artifacts that do not tell."""
    path = folder / "rules.toml"
    return rules_file.rules_from_text(_text(path), str(path)) if path.is_file() else Rules()


def repairs_made(folder: Path) -> Repairs:
    """What the build has added after trials of the slim image; nothing for a capture. Raises SlimtraceError
    (BAD_INPUT) for a file that cannot be read."""
    path = folder / "repairs.json"
    if not path.is_file():
        return Repairs()
    try:
        return codec.decode(Repairs, json.loads(_text(path)))
    except (ValueError, RecursionError) as error:
        said = printable(str(error))[:200]
        raise SlimtraceError(f"cannot read {printable(str(path))}: {said}", "build the image again") from error


def owner_of(capture: Capture) -> why.Owner:
    """Which package a path of the image belongs to, as far as the capture has asked for packages."""
    owners = Owners(installed(capture))

    def owner(path: str) -> str:
        return next((each.label for each in owners.of(path)), "")

    return owner


def read_report(folder: Path, reference: str) -> Report:
    """The report in a folder of artifacts. Raises SlimtraceError (BAD_INPUT) where there is none, or for one
    that cannot be read."""
    path = folder / "creport.json"
    where = printable(str(path))
    if not path.is_file():
        raise SlimtraceError(
            f"cannot find the artifacts of {reference}: there is no file {where}",
            f"slimtrace build {reference} makes them; --artifacts DIR names another place",
        )
    try:
        return codec.decode(Report, json.loads(_text(path)))
    except (ValueError, RecursionError) as error:
        said = printable(str(error))[:200]
        raise SlimtraceError(f"cannot read {where}: {said}", "build the image again") from error


def _text(path: Path) -> str:
    """A file among artifacts, which may come from anyone."""
    where = printable(str(path))
    try:
        with path.open("rb") as file:
            data = file.read(store.LIMIT + 1)
    except OSError as error:
        raise SlimtraceError(f"cannot read {where}: {error.strerror}") from error
    if len(data) > store.LIMIT:
        raise SlimtraceError(f"cannot read {where}: it is larger than {store.LIMIT} bytes")
    return data.decode("utf-8", "replace")


def require_same(cannot: str, reference: str, image: Image, report: Report | None, folder: Path) -> None:
    """Raises SlimtraceError (BAD_INPUT), which begins with `cannot`, unless the artifacts are those of the
    image that the user names: by a name that it had, by its id, or by the slim image's name or id."""
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
        f"{cannot}: the artifacts in {printable(str(folder))} are of {printable(image.reference)}",
        "--artifacts DIR names another place",
    )


def cautions(decision: repeat_decision.Decision, report: Report | None, path: str) -> Iterable[str]:
    """What speaks against taking the decision for the build's own: sentences."""
    if decision.unasked:
        first = decision.unasked[0]
        yield (
            f"the capture has no answer to {len(decision.unasked)} questions that deciding asks now, "
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


__all__ = ["Answer", "Description", "describe", "diff", "explain"]
