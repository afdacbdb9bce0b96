"""The story: one short recipe per verb, no logic."""

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from slimtrace import __version__, store
from slimtrace.assemble import archive, artifacts
from slimtrace.assemble.layer import Layer, write_layer
from slimtrace.engine import Engine
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.capture import Capture
from slimtrace.facts.feature import FeatureResult
from slimtrace.facts.image import Image
from slimtrace.facts.paths import printable
from slimtrace.facts.selection import Selection
from slimtrace.observe import doctor as examination
from slimtrace.observe import kernel, probes, workplace
from slimtrace.observe.plan import Plan
from slimtrace.observe.recorder import Outcome, Recorder
from slimtrace.observe.rootfs import ImageContents, Rootfs
from slimtrace.present.live import Screen
from slimtrace.reason import apparmor, dockerfile, graph, seccomp
from slimtrace.reason.imageconfig import Edits, image_config, slim_reference
from slimtrace.reason.report import ImageFigures, Report, kept_files, to_text
from slimtrace.reason.rules import Rules
from slimtrace.reason.select import select

ARTIFACTS = Path("slimtrace-artifacts")


@dataclass(frozen=True, slots=True)
class Request:
    """What a build is asked to do. `tag` is the slim image's name, by default the image's with ``.slim``;
    `artifacts` the folder for the artifacts, by default ``slimtrace-artifacts/IMAGE`` here."""

    reference: str
    tag: str = ""
    plan: Plan = field(default_factory=Plan)
    rules: Rules = field(default_factory=Rules)
    edits: Edits = field(default_factory=Edits)
    artifacts: Path | None = None
    keep_artifacts: bool = True
    pull: bool = False


def build(request: Request, screen: Screen) -> Report:
    """Trace the image, slim it, load the slim image, write the artifacts."""
    with ExitStack() as stack:
        screen.plan("prepare", "read files", "load probes", "run", "decide", "assemble", "describe")
        with screen.phase("prepare"):
            kernel.require_root()
            engine = stack.enter_context(Engine.connect())
            sweep(engine, screen)
            image = engine.pull(request.reference) if request.pull else engine.image(request.reference)
            require_cgroup2(engine)
            place = stack.enter_context(workplace.Workplace())
            recorder = Recorder()
            stack.callback(recorder.close)
            loading = stack.enter_context(ThreadPoolExecutor(1)).submit(recorder.load)
        with screen.phase("read files") as step:
            rootfs = stack.enter_context(Rootfs(image, engine, place.path))
            tree = rootfs.scan()
            step.detail = f"{len(tree)} files"
        with screen.phase("load probes"):
            loading.result()
        with screen.phase("run", ours=False):
            screen.watch(recorder.tally)
            outcome = recorder.record(engine, image, request.plan, screen.note)
            screen.watch(None)
        with screen.phase("decide"):
            capture = Capture(image, tree, outcome.trace, ImageContents(rootfs))
            selection = select(graph.build(capture, request.rules), capture, request.rules)
        with screen.phase("assemble"):
            layer, slim = assemble(request, engine, capture, selection, rootfs, place)
            screen.kept(layer.file_bytes, layer.entries)
        with screen.phase("describe"):
            files = describe(capture, selection)
        return write(request, capture, selection, outcome, slim, files, screen)


def assemble(
    request: Request,
    engine: Engine,
    capture: Capture,
    selection: Selection,
    rootfs: Rootfs,
    place: workplace.Workplace,
) -> tuple[Layer, Image]:
    """Write the layer, load it with the image's configuration under the slim name."""
    place.need(sum(capture.tree[path].size for path in selection.kept) + (64 << 20))
    file = place.path / "layer.tar"
    layer = write_layer(rootfs, capture.tree, selection.kept, file)
    config = image_config(capture.image, (layer.diff_id,), request.edits)
    tag = request.tag or slim_reference(capture.image.reference, capture.image.tags)
    engine.load(archive.archive(file, layer, config, [tag]))
    return layer, engine.image(tag)


def describe(capture: Capture, selection: Selection) -> dict[str, bytes | str]:
    """The artifacts beside the report, by file name."""
    return {
        **profiles(capture, selection),
        "Dockerfile.fat": dockerfile.reverse(capture.image),
        **{f"capture/{name}": content for name, content in store.pack(capture).items()},
    }


def write(
    request: Request,
    capture: Capture,
    selection: Selection,
    outcome: Outcome,
    slim: Image,
    files: Mapping[str, bytes | str],
    screen: Screen,
) -> Report:
    """The report, and with it the folder of artifacts."""
    folder = request.artifacts or ARTIFACTS / folder_name(request.reference)
    kept = kept_files(selection, capture.tree)
    trace = outcome.trace
    where = {name: str(folder / name) for name in ("creport.json", *sorted(files)) if "/" not in name}
    report = Report(
        version=__version__,
        command="build",
        fat=ImageFigures(capture.image.reference, capture.image.id, capture.image.size, len(capture.tree)),
        slim=ImageFigures(slim.tags[0] if slim.tags else slim.id, slim.id, slim.size, len(kept)),
        phases=screen.phases,
        probes=outcome.probes,
        ports=tuple(sorted({listen.port for listen in trace.listens})),
        exit_code=outcome.exit_code,
        stop_code=outcome.stop_code,
        stop_seconds=outcome.stop_seconds,
        events=outcome.events,
        lost=trace.lost,
        calls=len(seccomp.who(trace.calls, bool(capture.image.healthcheck))),
        calls_default=len(seccomp.DEFAULT),
        processes=tuple(dict.fromkeys(printable(execution.asked) for execution in trace.execs)),
        files=kept,
        doubts=selection.doubts,
        artifacts={**where, "capture": str(folder / "capture")} if request.keep_artifacts else {},
    )
    if request.keep_artifacts:
        artifacts.write(folder, {"creport.json": to_text(report), **files})
    return report


def profiles(capture: Capture, selection: Selection) -> dict[str, str]:
    """The profiles of a capture, by file name."""
    image, calls = capture.image, capture.trace.calls
    healthy = bool(image.healthcheck)
    return {
        "seccomp.json": seccomp.to_text(seccomp.profile(calls, image.architecture, healthy)),
        "seccomp-reasons.txt": seccomp.reasons_text(seccomp.who(calls, healthy)),
        "apparmor.profile": apparmor.profile(apparmor.profile_name(image), capture, selection),
    }


def info(reference: str, pull: bool = False) -> tuple[Image, str]:
    """The image, and its Dockerfile as far as it can be known. Nothing is started; no root is needed where
    the engine can be reached without."""
    with Engine.connect() as engine:
        image = engine.pull(reference) if pull else engine.image(reference)
        return image, dockerfile.reverse(image)


def doctor() -> tuple[tuple[FeatureResult, ...], bool]:
    """What this machine offers, each by trying, and whether build can run."""

    def engine_info() -> Mapping[str, object]:
        with Engine.connect() as engine:
            return engine.raw_info()

    results = examination.examine(probes.try_program, engine_info)
    return results, examination.can_build(results)


def sweep(engine: Engine, screen: Screen) -> None:
    """Take away what a killed run has left."""
    containers, places = engine.sweep(), workplace.sweep()
    if containers or places:
        screen.note(f"removed what a killed run had left: containers {containers}, work directories {places}")


def require_cgroup2(engine: Engine) -> None:
    """Raises SlimtraceError (KERNEL) where the engine puts containers into v1 cgroups."""
    if engine.info().cgroup_version != "2":
        raise SlimtraceError(
            "cannot trace: the container engine uses cgroup v1",
            "boot with systemd.unified_cgroup_hierarchy=1, or start the engine as docs/hybrid-cgroups.md says",
            Exit.KERNEL,
        )


def folder_name(reference: str) -> str:
    """An image's name as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", reference).strip("-.") or "image"
