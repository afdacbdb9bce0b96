"""The story: one short recipe per verb, no logic."""

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

from slimtrace import __version__, signals, store
from slimtrace.assemble import archive, artifacts
from slimtrace.assemble.layer import Layer, Source, file_bytes, write_layer
from slimtrace.assemble.replaced import replaced
from slimtrace.engine import Engine, EngineInfo
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.capture import Answers, Capture, Contents
from slimtrace.facts.feature import FeatureResult
from slimtrace.facts.image import Image
from slimtrace.facts.paths import printable
from slimtrace.facts.selection import Selection
from slimtrace.facts.tree import Entry, FileTree, Kind
from slimtrace.observe import attach as attachment
from slimtrace.observe import doctor as examination
from slimtrace.observe import kernel, programs, workplace
from slimtrace.observe.plan import Plan, Until
from slimtrace.observe.recorder import Outcome, Recorder
from slimtrace.observe.rootfs import ImageContents, Rootfs
from slimtrace.present.live import Screen
from slimtrace.reason import apparmor, dockerfile, growth, permissions, rulesfile, seccomp
from slimtrace.reason import merge as merging
from slimtrace.reason.imageconfig import Edits, image_config, is_reference, slim_reference, tagged
from slimtrace.reason.packages import Owners, database, installed
from slimtrace.reason.report import ImageFigures, Report, kept_files, to_text, used_capabilities
from slimtrace.reason.rules import Rules
from slimtrace.reason.select import select

ARTIFACTS = Path("slimtrace-artifacts")


@dataclass(frozen=True, slots=True)
class Request:
    """What a build is asked to do. `tag` is the slim image's name, by default the image's with ``.slim``;
    `artifacts` the folder for the artifacts, by default ``slimtrace-artifacts/IMAGE`` here. With `captures`
    nothing is run; `reference` may then be empty."""

    reference: str
    tag: str = ""
    plan: Plan = field(default_factory=Plan)
    rules: Rules = field(default_factory=Rules)
    edits: Edits = field(default_factory=Edits)
    artifacts: Path | None = None
    keep_artifacts: bool = True
    pull: bool = False
    captures: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Bench:
    """What a recipe works with: the engine, the image and its files, and a place for what is temporary."""

    engine: Engine
    image: Image
    place: workplace.Workplace
    rootfs: Rootfs
    tree: FileTree


def build(request: Request, screen: Screen) -> Report:
    """Trace the image (or take captures of it), slim it, load the slim image, write the artifacts."""
    with signals.deferred(), ExitStack() as stack:
        with signals.admitted():
            check(request)
            if request.captures:
                screen.plan("prepare", "read files", "decide", "describe", "assemble")
                bench, outcome = recall(request, stack, screen)
            else:
                screen.plan("prepare", "read files", "load probes", "run", "decide", "describe", "assemble")
                bench, outcome = observe(request, stack, screen)
            signals.admit()
            with screen.phase("decide"):
                contents = ImageContents(bench.rootfs)
                capture = Capture(bench.image, bench.tree, outcome.trace, contents, outcome.runs)
                selection = select(growth.grow(capture, request.rules), capture, request.rules)
                owners = Owners(installed(capture, selection.kept))
                cuts = database.cuts(capture, selection, owners, request.rules)
            own = slim_reference(bench.image.reference, bench.image.tags)
            tag = tagged(request.tag) if request.tag else own
            with screen.phase("describe"):
                files = describe(request, capture, selection, owners, tag)
            signals.admit()
            with screen.phase("assemble"):
                stack.enter_context(bench.engine.keeping(tag))
                source, tree = replaced(bench.rootfs, bench.tree, cuts)
                layer, slim = assemble(request, replace(bench, tree=tree), source, selection, tag)
                screen.kept(layer.file_bytes, layer.entries)
        selection = replace(selection, doubts=selection.doubts + layer.doubts)
        report = write(request, capture, selection, tree, outcome, slim, files, screen)
        signals.forget()  # it is done: what arrived meanwhile came too late
        return report


def record(request: Request, output: Path, screen: Screen, stop: Event | None = None) -> Capture:
    """Run and drive the image as build does, and keep the capture in the folder `output`. `stop` ends the
    recording early."""
    with signals.deferred(), ExitStack() as stack, signals.admitted():
        screen.plan("prepare", "read files", "load probes", "run", "write")
        bench, outcome = observe(request, stack, screen, stop)
        return keep(bench.image, bench.tree, outcome, ImageContents(bench.rootfs), output, screen)


def attach(container: str, until: Until, output: Path, screen: Screen, stop: Event) -> Capture:
    """Watch a container that runs; it is left running."""
    with signals.deferred(), ExitStack() as stack, signals.admitted():
        screen.plan("prepare", "read files", "load probes", "watch", "write")
        with screen.phase("prepare"):
            kernel.require_root()
            engine = stack.enter_context(Engine.connect())
            sweep(engine, screen)
            require_cgroup2(engine.info())
            reference, pid = engine.running(container)
            image, target = engine.image(reference), attachment.of_process(pid, container)
        bench = open_image(engine, image, stack, screen)
        outcome = watch(target, until, stack, screen, stop)
        return keep(image, bench.tree, outcome, ImageContents(bench.rootfs), output, screen)


def watch_cgroup(path: str, until: Until, output: Path, screen: Screen, stop: Event) -> Capture:
    """Watch whatever runs in a cgroup, of any runtime; its image is not known."""
    with signals.deferred(), ExitStack() as stack, signals.admitted():
        screen.plan("prepare", "load probes", "watch", "write")
        with screen.phase("prepare"):
            kernel.require_root()
            target = attachment.of_path(path)
        outcome = watch(target, until, stack, screen, stop)
        image = Image(id="", reference=path, architecture=kernel.architecture())
        return keep(image, FileTree({"/": Entry("/", Kind.DIR, 0o755)}), outcome, Answers(), output, screen)


def merge(folders: Sequence[Path], output: Path) -> Capture:
    """Several captures of one image as one, in the folder `output`."""
    capture = merging.merge([store.load(folder) for folder in folders])
    artifacts.write(output, store.pack(capture))
    return capture


def observe(
    request: Request, stack: ExitStack, screen: Screen, stop: Event | None = None
) -> tuple[Bench, Outcome]:
    """Run the image's container and watch it. The programs are compiled while the files are read."""
    with screen.phase("prepare"):
        kernel.require_root()
        engine = stack.enter_context(Engine.connect())
        sweep(engine, screen)
        require_cgroup2(engine.info())
        image = engine.pull(request.reference) if request.pull else engine.image(request.reference)
        recorder, loading = start_loading(stack)
    bench = open_image(engine, image, stack, screen)
    permissions.changes(bench.tree, request.rules.path_perms)  # a path that is not there ends it now
    with screen.phase("load probes"):
        loading.result()
    with screen.phase("run", ours=False):
        screen.watch(recorder.tally)
        outcome = recorder.record(engine, image, request.plan, screen.note, stop)
        screen.watch(None)
    return bench, outcome


def recall(request: Request, stack: ExitStack, screen: Screen) -> tuple[Bench, Outcome]:
    """What captures tell, in place of a run; only the image's files are looked at."""
    with screen.phase("prepare"):
        kernel.require_root()
        capture = merging.merge([store.load(folder) for folder in request.captures])
        if not capture.image.id:
            raise SlimtraceError(
                f"cannot build from a capture of {capture.image.reference}: its image is not known",
                "record the image, or its container with --container",
            )
        engine = stack.enter_context(Engine.connect())
        sweep(engine, screen)
        image = engine.image(request.reference or capture.image.id)
        if image.id != capture.image.id:
            raise SlimtraceError(
                f"cannot build {image.reference}: the capture is of another image, {capture.image.reference} "
                f"({merging.short(capture)})",
                "record the image as it is now",
            )
        if not request.reference:
            image = replace(image, reference=capture.image.reference)
    bench = open_image(engine, image, stack, screen)
    return bench, Outcome(capture.trace, runs=capture.runs)


def open_image(engine: Engine, image: Image, stack: ExitStack, screen: Screen) -> Bench:
    """The image's files, readable."""
    with screen.phase("read files") as step:
        with signals.deferred():
            place = stack.enter_context(workplace.Workplace())
        rootfs = stack.enter_context(Rootfs(image, engine, place.path))
        tree = rootfs.scan()
        step.detail = f"{len(tree)} files"
    return Bench(engine, image, place, rootfs, tree)


def start_loading(stack: ExitStack) -> tuple[Recorder, "Future[None]"]:
    """A recorder whose programs are being compiled in the background."""
    recorder = Recorder()
    stack.callback(recorder.close)
    return recorder, stack.enter_context(ThreadPoolExecutor(1)).submit(recorder.load)


def watch(target: attachment.Target, until: Until, stack: ExitStack, screen: Screen, stop: Event) -> Outcome:
    """Watch a cgroup that is there already."""
    with screen.phase("load probes"):
        recorder, loading = start_loading(stack)
        loading.result()
    with screen.phase("watch", ours=False):
        screen.watch(recorder.tally)
        outcome = recorder.watch(target, until, stop, screen.note)
        screen.watch(None)
    return outcome


def keep(
    image: Image, tree: FileTree, outcome: Outcome, contents: Contents, output: Path, screen: Screen
) -> Capture:
    """Write a capture; what the decisions will ask of the files' content is asked now."""
    with screen.phase("write"):
        capture = Capture(image, tree, outcome.trace, contents, outcome.runs)
        growth.grow(capture)
        artifacts.write(output, store.pack(capture))
    return capture


def assemble(
    request: Request, bench: Bench, source: Source, selection: Selection, tag: str
) -> tuple[Layer, Image]:
    """Write the layer, load it with the image's configuration under the slim name."""
    image = bench.image
    tree = permissions.apply(bench.tree, request.rules.path_perms)
    size, largest = file_bytes(tree, selection.kept)
    name = f"the largest file is {printable(largest.path)}: --exclude-pattern leaves it out" if largest else ""
    bench.place.need(size + (64 << 20), bench.engine.info().root_dir, name)
    file = bench.place.path / "layer.tar"
    layer = write_layer(source, tree, selection.kept, file)
    config = image_config(image, (layer.diff_id,), request.edits)
    bench.engine.load(archive.archive(file, layer, config, [tag]))
    return layer, bench.engine.image(tag)


def describe(
    request: Request, capture: Capture, selection: Selection, owners: Owners, tag: str
) -> dict[str, bytes | str]:
    """The artifacts beside the report, by file name."""
    with signals.deferred():  # a signal in the middle of an import gets lost
        from slimtrace.reason.sbom import sbom  # its library takes 0.1 s to load, which no other verb needs

    return {
        **profiles(capture, selection),
        "rules.toml": rulesfile.to_text(request.rules),
        "Dockerfile.fat": dockerfile.reverse(capture.image),
        "sbom.cdx.json": sbom(capture, tag, owners.owning(selection.kept)),
        **{f"capture/{name}": content for name, content in store.pack(capture).items()},
    }


def write(
    request: Request,
    capture: Capture,
    selection: Selection,
    tree: FileTree,
    outcome: Outcome,
    slim: Image,
    files: Mapping[str, bytes | str],
    screen: Screen,
) -> Report:
    """The report, and with it the folder of artifacts. `tree` has the files as they are in the slim image."""
    folder = request.artifacts or default_folder(capture.image.reference)
    kept = kept_files(selection, tree)
    trace = outcome.trace
    where = {name: str(folder / name) for name in ("creport.json", *sorted(files)) if "/" not in name}
    report = Report(
        version=__version__,
        command="build",
        fat=ImageFigures(capture.image.reference, capture.image.id, capture.image.size, len(capture.tree)),
        slim=ImageFigures(slim.reference, slim.id, slim.size, len(kept)),
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
        capabilities=used_capabilities(trace),
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


def doctor() -> tuple[tuple[FeatureResult, ...], bool]:
    """What this machine offers, each by trying, and whether build can run."""

    def engine_info() -> Mapping[str, object]:
        with Engine.connect() as engine:
            return engine.raw_info()

    results = examination.examine(programs.try_program, engine_info)
    return results, examination.can_build(results)


def sweep(engine: Engine, screen: Screen) -> None:
    """Take away what a killed run has left."""
    containers, places = engine.sweep(), workplace.sweep()
    if containers or places:
        screen.note(f"removed what a killed run had left: containers {containers}, work directories {places}")


def require_cgroup2(info: EngineInfo) -> None:
    """Raises SlimtraceError (KERNEL) where the engine puts containers into v1 cgroups."""
    if info.cgroup_version != "2":
        raise SlimtraceError(
            "cannot trace: the container engine uses cgroup v1",
            "boot with systemd.unified_cgroup_hierarchy=1, or start the engine with cgroup2 at /sys/fs/cgroup",
            Exit.KERNEL,
        )


def check(request: Request) -> None:
    """Raise now what would otherwise be found wrong only at the end."""
    kernel.require_root()
    if request.tag and not is_reference(request.tag):
        raise SlimtraceError(
            f"cannot name the slim image {request.tag!r}: that is no image name", "--tag NAME:TAG", Exit.USAGE
        )
    if request.keep_artifacts and (request.artifacts or request.reference):
        artifacts.check(request.artifacts or default_folder(request.reference))


def default_folder(reference: str) -> Path:
    """Where the artifacts of an image go: its name as the name of a folder."""
    return ARTIFACTS / (re.sub(r"[^A-Za-z0-9._-]+", "-", reference).strip("-.") or "image")
