"""What a recipe is asked to do, and the opened image that it works with."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from slimtrace.assemble import artifacts
from slimtrace.engine import Engine
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.image import Image
from slimtrace.facts.tree import FileTree
from slimtrace.observe import workplace
from slimtrace.observe.container.plan import Plan
from slimtrace.observe.image.rootfs import Rootfs
from slimtrace.observe.kernel import running_kernel
from slimtrace.reason.image.image_config import Edits, is_reference
from slimtrace.reason.keep.rules import Rules

ARTIFACTS = Path("slimtrace-artifacts")
ROUNDS = 3  # of repairs, by default


@dataclass(frozen=True, slots=True)
class Request:
    """What a build is asked to do. `tag` is the slim image's name, by default the image's with ``.slim``;
    `artifacts` the folder for the artifacts, by default ``slimtrace-artifacts/IMAGE`` here. With `captures`
    the image is not run to be recorded; `reference` may then be empty.

    `verify` says whether the slim image is tried, and repaired at most `rounds` times; `tolerance` is the
    share (0 to 1) of an answer that may differ; `without` are the measures (facts.confinement.MEASURES) that
    are not applied; `seccomp_action` is what the profile does with a refused call: errno, kill or log."""

    reference: str
    tag: str = ""
    plan: Plan = field(default_factory=Plan)
    rules: Rules = field(default_factory=Rules)
    edits: Edits = field(default_factory=Edits)
    artifacts: Path | None = None
    keep_artifacts: bool = True
    pull: bool = False
    captures: tuple[Path, ...] = ()
    verify: bool = True
    rounds: int = ROUNDS
    tolerance: float = 0.0
    without: tuple[str, ...] = ()
    seccomp_action: str = "errno"


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """An image with its files readable, the engine that has it, and `place` for temporary files."""

    engine: Engine
    image: Image
    place: workplace.Workplace
    rootfs: Rootfs
    tree: FileTree


def check(request: Request) -> None:
    """Raise SlimtraceError now for what would otherwise fail only at the end of a build: no root, a bad name
    for the slim image, a folder that artifacts cannot be written into."""
    running_kernel.require_root()
    if request.tag and not is_reference(request.tag):
        raise SlimtraceError(
            f"cannot name the slim image {request.tag!r}: that is no image name", "--tag NAME:TAG", Exit.USAGE
        )
    if request.keep_artifacts and (request.artifacts or request.reference):
        artifacts.check(request.artifacts or default_folder(request.reference))


def default_folder(reference: str) -> Path:
    """The folder for the artifacts of an image, named after it."""
    return ARTIFACTS / (re.sub(r"[^A-Za-z0-9._-]+", "-", reference).strip("-.") or "image")
