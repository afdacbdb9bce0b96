"""Where a recipe takes its observation from: a run of the image, a container that already runs, or captures.
The recipes of record and merge."""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

from slimtrace import signals, store
from slimtrace.assemble import artifacts
from slimtrace.engine import Engine, EngineInfo
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.capture import Answers, Capture, Contents
from slimtrace.facts.image import Image
from slimtrace.facts.runs import Run
from slimtrace.facts.tree import Entry, FileTree, Kind
from slimtrace.observe import workplace
from slimtrace.observe.container import apparmor_loader
from slimtrace.observe.container import attach as attachment
from slimtrace.observe.container.plan import Until
from slimtrace.observe.image.contents import ImageContents
from slimtrace.observe.image.rootfs import Rootfs
from slimtrace.observe.kernel import running_kernel
from slimtrace.observe.recorder import Outcome, Recorder
from slimtrace.pipeline.request import OpenedImage, Request
from slimtrace.present.screen import Screen
from slimtrace.reason import merge as merging
from slimtrace.reason.keep import graph_builder, path_permissions

LoadingRecorder = tuple[Recorder, "Future[None]"]  # the future ends when the recorder's programs are loaded


@dataclass(frozen=True, slots=True)
class Observation:
    """An opened image, the outcome of recording it (from captures: their trace alone), and the results of its
    runs: one, or as many as the captures have."""

    opened: OpenedImage
    outcome: Outcome
    runs: tuple[Run, ...]

    def capture(self) -> Capture:
        """The observation as a capture. The contents of the image's files are read when they are asked for."""
        opened = self.opened
        return Capture(opened.image, opened.tree, self.outcome.trace, ImageContents(opened.rootfs), self.runs)


def record(request: Request, output: Path, screen: Screen, stop: Event | None = None) -> Capture:
    """Run and drive the image as build does, and write the capture into the folder `output`. `stop` ends the
    recording early."""
    with signals.deferred(), ExitStack() as stack, signals.delivered():
        screen.plan("prepare", "read files", "load probes", "run", "write")
        observation = observe(request, stack, screen, stop)
        opened = observation.opened
        return write_capture(
            opened.image, opened.tree, observation.outcome, ImageContents(opened.rootfs), output, screen
        )


def attach(container: str, until: Until, output: Path, screen: Screen, stop: Event) -> Capture:
    """Watch a container that already runs, and leave it running."""
    with signals.deferred(), ExitStack() as stack, signals.delivered():
        screen.plan("prepare", "read files", "load probes", "watch", "write")
        with screen.phase("prepare"):
            running_kernel.require_root()
            engine = stack.enter_context(Engine.connect())
            sweep(engine, screen)
            require_cgroup2(engine.info())
            reference, pid = engine.running(container)
            image, target = engine.image(reference), attachment.target_of_process(pid, container)
        opened = open_image(engine, image, stack, screen)
        outcome = watch(target, until, stack, screen, stop)
        return write_capture(image, opened.tree, outcome, ImageContents(opened.rootfs), output, screen)


def watch_cgroup(path: str, until: Until, output: Path, screen: Screen, stop: Event) -> Capture:
    """Watch the processes in a cgroup, whichever runtime started them; their image is not known."""
    with signals.deferred(), ExitStack() as stack, signals.delivered():
        screen.plan("prepare", "load probes", "watch", "write")
        with screen.phase("prepare"):
            running_kernel.require_root()
            target = attachment.target_at_path(path)
        outcome = watch(target, until, stack, screen, stop)
        image = Image(id="", reference=path, architecture=running_kernel.architecture())
        return write_capture(
            image, FileTree({"/": Entry("/", Kind.DIR, 0o755)}), outcome, Answers(), output, screen
        )


def merge(folders: Sequence[Path], output: Path) -> Capture:
    """Merge several captures of one image into one capture, written into the folder `output`."""
    capture = merging.merge_captures([store.load(folder) for folder in folders])
    artifacts.write(output, store.pack(capture))
    return capture


def prepare(reference: str, pull: bool, stack: ExitStack, screen: Screen) -> tuple[Engine, Image]:
    """The engine, without the leftovers of killed runs, and the image. Raises SlimtraceError where no trace
    can be made: without root, or with cgroup v1."""
    running_kernel.require_root()
    engine = stack.enter_context(Engine.connect())
    sweep(engine, screen)
    require_cgroup2(engine.info())
    return engine, engine.pull(reference) if pull else engine.image(reference)


def observe(request: Request, stack: ExitStack, screen: Screen, stop: Event | None = None) -> Observation:
    """Run the image's container and watch it. The BPF programs are compiled while the image's files are read,
    and are unloaded when the run is over."""
    with screen.phase("prepare"):
        engine, image = prepare(request.reference, request.pull, stack, screen)
        recording = stack.enter_context(ExitStack())
        recorder, loading = start_loading(recording)
    opened = open_image(engine, image, stack, screen)
    path_permissions.changes(opened.tree, request.rules.path_perms)  # raises now for a path that is not there
    with screen.phase("load probes"):
        loading.result()
    with screen.phase("run", ours=False):
        screen.watch(recorder.tally)
        outcome = recorder.record(engine, image, request.plan, screen.note, stop)
        screen.watch(None)
    with signals.deferred():
        recording.close()
    return Observation(opened, outcome, outcome.runs)


def load_captures(request: Request, stack: ExitStack, screen: Screen) -> Observation:
    """The observation that the request's captures hold, in place of a run; the image's files are read."""
    with screen.phase("prepare"):
        running_kernel.require_root()
        capture = merging.merge_captures([store.load(folder) for folder in request.captures])
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
                f"({merging.short_id(capture)})",
                "record the image as it is now",
            )
        if not request.reference:
            image = replace(image, reference=capture.image.reference)
    opened = open_image(engine, image, stack, screen)
    path_permissions.changes(opened.tree, request.rules.path_perms)
    return Observation(opened, Outcome(capture.trace, runs=capture.runs), capture.runs)


def with_reference_runs(
    request: Request, observation: Observation, stack: ExitStack, screen: Screen
) -> Observation:
    """The observation with a run of the image. Captures of a container that was only watched have no answers of
    the container: the image is run once, so that the slim image's trial can be compared with that run."""
    with screen.phase("run", ours=False), ExitStack() as recording:
        recorder, loading = start_loading(recording)
        loading.result()
        opened = observation.opened
        try:
            outcome = recorder.record(opened.engine, opened.image, request.plan, screen.note)
        except SlimtraceError as problem:
            raise SlimtraceError(
                f"cannot try the slim image, since the captures hold no run to compare it with, and the image "
                f"itself does not run: {problem.message}",
                "say how it is run (--env, --volume, --cmd, …), or --no-verify",
                problem.exit_code,
                problem.log,
            ) from problem
    return replace(observation, runs=outcome.runs)


def observe_or_load(
    request: Request, before: tuple[str, ...], after: tuple[str, ...], stack: ExitStack, screen: Screen
) -> Observation:
    """Watch the image's container, or load captures; where the slim image is to be verified, with runs to
    compare it with. `before` and `after` are the phases around the trial that the screen is to plan."""
    last = (*before, *(("load probes", "verify") if request.verify else ()), *after)
    if not request.captures:
        screen.plan("prepare", "read files", "load probes", "run", *last)
        return observe(request, stack, screen)
    screen.plan("prepare", "read files", *last)
    observation = load_captures(request, stack, screen)
    if not request.verify:
        return observation
    for name in variables_without_value(request, observation.runs):
        screen.warn(f"the capture does not hold the value of --env {name}: without it the trial may differ")
    return observation if observation.runs else with_reference_runs(request, observation, stack, screen)


def variables_without_value(request: Request, runs: Iterable[Run]) -> tuple[str, ...]:
    """The names of the environment variables that the captured runs had and the request does not set. (A
    capture holds names alone.)"""
    return tuple(sorted({name for run in runs for name in run.start.env} - set(request.plan.launch.env)))


def open_image(engine: Engine, image: Image, stack: ExitStack, screen: Screen) -> OpenedImage:
    """The image with its files readable, until `stack` is closed."""
    with screen.phase("read files") as step:
        with signals.deferred():
            place = stack.enter_context(workplace.Workplace())
        rootfs = stack.enter_context(Rootfs(image, engine, place.path))
        tree = rootfs.scan()
        step.detail = f"{len(tree)} files"
    return OpenedImage(engine, image, place, rootfs, tree)


def start_loading(stack: ExitStack) -> LoadingRecorder:
    """A recorder whose BPF programs are being compiled in another thread."""
    recorder = Recorder()
    stack.callback(recorder.close)
    return recorder, stack.enter_context(ThreadPoolExecutor(1)).submit(recorder.load)


def watch(target: attachment.Target, until: Until, stack: ExitStack, screen: Screen, stop: Event) -> Outcome:
    """Watch a cgroup that already exists."""
    with screen.phase("load probes"):
        recorder, loading = start_loading(stack)
        loading.result()
    with screen.phase("watch", ours=False):
        screen.watch(recorder.tally)
        outcome = recorder.watch(target, until, stop, screen.note)
        screen.watch(None)
    return outcome


def write_capture(
    image: Image, tree: FileTree, outcome: Outcome, contents: Contents, output: Path, screen: Screen
) -> Capture:
    """Write a capture. Building the graph once asks for all file contents that later decisions need, which puts
    them into the capture."""
    with screen.phase("write"):
        capture = Capture(image, tree, outcome.trace, contents, outcome.runs)
        graph_builder.build_graph(capture)
        artifacts.write(output, store.pack(capture))
    return capture


def sweep(engine: Engine, screen: Screen) -> None:
    """Remove the containers, work directories and AppArmor profiles that killed runs have left."""
    containers, places = engine.sweep(), workplace.sweep()
    apparmor_loader.sweep()
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
