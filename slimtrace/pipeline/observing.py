"""How a recipe comes by what was seen: a run, a container that runs already, captures."""

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
from slimtrace.observe.image.rootfs import ImageContents, Rootfs
from slimtrace.observe.kernel import running_kernel
from slimtrace.observe.recorder import Outcome, Recorder
from slimtrace.pipeline.request import Bench, Request
from slimtrace.present.live import Screen
from slimtrace.reason import merge as merging
from slimtrace.reason.keep import graph_builder, path_permissions

Loading = tuple[Recorder, "Future[None]"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A bench, and what was seen on it: the outcome of the run (of captures: their trace alone) and what came
    of the runs, one or as many as the captures have."""

    bench: Bench
    outcome: Outcome
    runs: tuple[Run, ...]

    def capture(self) -> Capture:
        """All of it, the image's files read as they are asked for."""
        bench = self.bench
        return Capture(bench.image, bench.tree, self.outcome.trace, ImageContents(bench.rootfs), self.runs)


def record(request: Request, output: Path, screen: Screen, stop: Event | None = None) -> Capture:
    """Run and drive the image as build does, and keep the capture in the folder `output`. `stop` ends the
    recording early."""
    with signals.deferred(), ExitStack() as stack, signals.admitted():
        screen.plan("prepare", "read files", "load probes", "run", "write")
        seen = observe(request, stack, screen, stop)
        bench = seen.bench
        return keep(bench.image, bench.tree, seen.outcome, ImageContents(bench.rootfs), output, screen)


def attach(container: str, until: Until, output: Path, screen: Screen, stop: Event) -> Capture:
    """Watch a container that runs; it is left running."""
    with signals.deferred(), ExitStack() as stack, signals.admitted():
        screen.plan("prepare", "read files", "load probes", "watch", "write")
        with screen.phase("prepare"):
            running_kernel.require_root()
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
            running_kernel.require_root()
            target = attachment.of_path(path)
        outcome = watch(target, until, stack, screen, stop)
        image = Image(id="", reference=path, architecture=running_kernel.architecture())
        return keep(image, FileTree({"/": Entry("/", Kind.DIR, 0o755)}), outcome, Answers(), output, screen)


def merge(folders: Sequence[Path], output: Path) -> Capture:
    """Several captures of one image as one, in the folder `output`."""
    capture = merging.merge([store.load(folder) for folder in folders])
    artifacts.write(output, store.pack(capture))
    return capture


def prepare(reference: str, pull: bool, stack: ExitStack, screen: Screen) -> tuple[Engine, Image]:
    """The engine, swept, and the image. Raises SlimtraceError for what a trace cannot be made with."""
    running_kernel.require_root()
    engine = stack.enter_context(Engine.connect())
    sweep(engine, screen)
    require_cgroup2(engine.info())
    return engine, engine.pull(reference) if pull else engine.image(reference)


def observe(request: Request, stack: ExitStack, screen: Screen, stop: Event | None = None) -> Seen:
    """Run the image's container and watch it. The programs are compiled while the files are read, and gone when
    it is over."""
    with screen.phase("prepare"):
        engine, image = prepare(request.reference, request.pull, stack, screen)
        watching = stack.enter_context(ExitStack())
        recorder, loading = start_loading(watching)
    bench = open_image(engine, image, stack, screen)
    path_permissions.changes(bench.tree, request.rules.path_perms)  # a path that is not there ends it now
    with screen.phase("load probes"):
        loading.result()
    with screen.phase("run", ours=False):
        screen.watch(recorder.tally)
        outcome = recorder.record(engine, image, request.plan, screen.note, stop)
        screen.watch(None)
    with signals.deferred():
        watching.close()
    return Seen(bench, outcome, outcome.runs)


def recall(request: Request, stack: ExitStack, screen: Screen) -> Seen:
    """What captures tell, in place of a run; only the image's files are looked at."""
    with screen.phase("prepare"):
        running_kernel.require_root()
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
    path_permissions.changes(bench.tree, request.rules.path_perms)
    return Seen(bench, Outcome(capture.trace, runs=capture.runs), capture.runs)


def referenced(request: Request, seen: Seen, stack: ExitStack, screen: Screen) -> Seen:
    """Captures of a container that was only watched say nothing of what it answers: the image is run once, to
    have what the slim one's trial can be compared with."""
    with screen.phase("run", ours=False), ExitStack() as watching:
        recorder, loading = start_loading(watching)
        loading.result()
        bench = seen.bench
        try:
            outcome = recorder.record(bench.engine, bench.image, request.plan, screen.note)
        except SlimtraceError as problem:
            raise SlimtraceError(
                f"cannot try the slim image, since the captures hold no run to compare it with, and the image "
                f"itself does not run: {problem.message}",
                "say how it is run (--env, --volume, --cmd, …), or --no-verify",
                problem.exit_code,
                problem.log,
            ) from problem
    return replace(seen, runs=outcome.runs)


def see(
    request: Request, before: tuple[str, ...], after: tuple[str, ...], stack: ExitStack, screen: Screen
) -> Seen:
    """Watch the image's container, or take captures; where it is to be verified, with runs to compare with. The
    screen is told of the phases `before` and `after` the trial."""
    last = (*before, *(("load probes", "verify") if request.verify else ()), *after)
    if not request.captures:
        screen.plan("prepare", "read files", "load probes", "run", *last)
        return observe(request, stack, screen)
    screen.plan("prepare", "read files", *last)
    seen = recall(request, stack, screen)
    if not request.verify:
        return seen
    for name in unrepeated(request, seen.runs):
        screen.warn(f"the capture does not hold the value of --env {name}: without it the trial may differ")
    return seen if seen.runs else referenced(request, seen, stack, screen)


def unrepeated(request: Request, runs: Iterable[Run]) -> tuple[str, ...]:
    """The variables with which captures were recorded and that the request does not set."""
    return tuple(sorted({name for run in runs for name in run.start.env} - set(request.plan.launch.env)))


def open_image(engine: Engine, image: Image, stack: ExitStack, screen: Screen) -> Bench:
    """The image's files, readable."""
    with screen.phase("read files") as step:
        with signals.deferred():
            place = stack.enter_context(workplace.Workplace())
        rootfs = stack.enter_context(Rootfs(image, engine, place.path))
        tree = rootfs.scan()
        step.detail = f"{len(tree)} files"
    return Bench(engine, image, place, rootfs, tree)


def start_loading(stack: ExitStack) -> Loading:
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
        graph_builder.grow(capture)
        artifacts.write(output, store.pack(capture))
    return capture


def sweep(engine: Engine, screen: Screen) -> None:
    """Take away what a killed run has left."""
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
