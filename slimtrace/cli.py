"""The command line: typer verbs, and the only place that catches SlimtraceError.

Everything heavy is imported inside the verbs, so that ``slimtrace --help`` answers at once.
"""

import json
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from slimtrace import __version__, signals
from slimtrace.errors import Exit, Interrupted, SlimtraceError
from slimtrace.options import (
    Artifacts,
    Cmd,
    ContinueAfter,
    Entrypoint,
    Env,
    ExcludePattern,
    Exec,
    From,
    HostExec,
    HttpProbe,
    ImageName,
    IncludeBin,
    IncludePath,
    IncludeShell,
    Json,
    Network,
    OutputFolder,
    Pull,
    ReadyTimeout,
    RemoveFileArtifacts,
    StopTimeout,
    Strict,
    Tag,
    User,
    Volume,
    Workdir,
)

if TYPE_CHECKING:
    from slimtrace.engine import Launch

app = typer.Typer(
    help="Minimal container images and security profiles, from what the container really does.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"slimtrace {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def build(
    image: Annotated[
        str, typer.Argument(metavar="IMAGE", help="Name or id of an image; may be left out with --from.")
    ] = "",
    tag: Tag = "",
    from_: From = None,
    continue_after: ContinueAfter = "probe",
    http_probe: HttpProbe = True,
    host_exec: HostExec = None,
    exec_: Exec = None,
    ready_timeout: ReadyTimeout = 60,
    stop_timeout: StopTimeout = 10,
    entrypoint: Entrypoint = None,
    cmd: Cmd = None,
    env: Env = None,
    user: User = "",
    workdir: Workdir = "",
    volume: Volume = None,
    network: Network = "",
    include_path: IncludePath = None,
    include_bin: IncludeBin = None,
    include_shell: IncludeShell = False,
    exclude_pattern: ExcludePattern = None,
    artifacts: Artifacts = None,
    remove_file_artifacts: RemoveFileArtifacts = False,
    pull: Pull = False,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Trace IMAGE's container and make a slim image and security profiles of what it needs."""
    with signals.deferred():
        from slimtrace import pipeline
        from slimtrace.observe.plan import Plan, Until
        from slimtrace.present import live, summary
        from slimtrace.reason.rules import Rules

    if not image and not from_:
        raise SlimtraceError("cannot build nothing", "name an image, or captures with --from", Exit.USAGE)
    plan = Plan(
        launch=launch(entrypoint, cmd, env, user, workdir, volume, network),
        until=Until.parse(continue_after),
        http_probe=http_probe,
        host_execs=tuple(host_exec or ()),
        execs=commands(exec_),
        ready_seconds=ready_timeout,
        stop_seconds=stop_timeout,
    )
    rules = Rules(
        include_paths=tuple(include_path or ()),
        include_bins=tuple(include_bin or ()),
        include_shell=include_shell,
        exclude_patterns=tuple(exclude_pattern or ()),
    )
    request = pipeline.Request(
        reference=image,
        tag=tag,
        plan=plan,
        rules=rules,
        artifacts=artifacts,
        keep_artifacts=not remove_file_artifacts,
        pull=pull,
        captures=tuple(from_ or ()),
    )
    with signals.deferred():
        with live.screen(json=as_json) as screen:
            report = pipeline.build(request, screen)
        if as_json:
            typer.echo(json.dumps(report.to_json()))
        else:
            summary.summary(report)
        signals.forget()  # the image is made: what arrived while this was told came too late
    if strict and report.doubts:
        raise SlimtraceError(
            f"cannot vouch for {report.slim.reference}: the result has {len(report.doubts)} doubts",
            "they are in the report; without --strict they are no failure",
            Exit.DOUBTFUL,
        )


@app.command()
def record(
    image: Annotated[str, typer.Argument(metavar="[IMAGE]", help="Image to run and record.")] = "",
    container: Annotated[
        str, typer.Option(metavar="ID", help="Watch this container, which runs already and is left running.")
    ] = "",
    cgroup: Annotated[
        str, typer.Option(metavar="PATH", help="Watch what runs in this cgroup, of whichever runtime.")
    ] = "",
    output: OutputFolder = Path("slimtrace-capture"),
    continue_after: Annotated[
        str,
        typer.Option(
            metavar="WHEN",
            help="As for build. [default: probe for an image, else until Ctrl-C or its end]",
        ),
    ] = "",
    http_probe: HttpProbe = True,
    host_exec: HostExec = None,
    exec_: Exec = None,
    ready_timeout: ReadyTimeout = 60,
    stop_timeout: StopTimeout = 10,
    entrypoint: Entrypoint = None,
    cmd: Cmd = None,
    env: Env = None,
    user: User = "",
    workdir: Workdir = "",
    volume: Volume = None,
    network: Network = "",
    pull: Pull = False,
) -> None:
    """Record what a container does, into a capture for `build --from` and `merge`. Ctrl-C ends and keeps it."""
    from slimtrace import pipeline
    from slimtrace.observe.plan import Plan, Until
    from slimtrace.present import live, summary

    if sum(map(bool, (image, container, cgroup))) != 1:
        raise SlimtraceError(
            "cannot tell what to record", "name one: an IMAGE, --container ID, or --cgroup PATH", Exit.USAGE
        )
    until = Until.parse(continue_after or ("probe" if image else "exit"))
    if not image and until.mode == "probe":
        raise SlimtraceError("cannot probe what it did not start", "say exit, enter or SECONDS", Exit.USAGE)
    with live.screen() as screen, stopped_by_interrupt() as stop:
        if container:
            capture = pipeline.attach(container, until, output, screen, stop)
        elif cgroup:
            capture = pipeline.watch_cgroup(cgroup, until, output, screen, stop)
        else:
            plan = Plan(
                launch=launch(entrypoint, cmd, env, user, workdir, volume, network),
                until=until,
                http_probe=http_probe,
                host_execs=tuple(host_exec or ()),
                execs=commands(exec_),
                ready_seconds=ready_timeout,
                stop_seconds=stop_timeout,
            )
            request = pipeline.Request(reference=image, plan=plan, pull=pull)
            capture = pipeline.record(request, output, screen, stop)
    summary.captured(capture, output)


@app.command()
def merge(
    captures: Annotated[list[Path], typer.Argument(metavar="CAPTURE...", help="Captures of one image.")],
    output: OutputFolder = Path("slimtrace-capture"),
) -> None:
    """Make one capture of several: what any of them saw."""
    from slimtrace import pipeline
    from slimtrace.present import summary

    summary.captured(pipeline.merge(captures, output), output)


@app.command()
def info(image: ImageName, pull: Pull = False) -> None:
    """Tell what IMAGE is: configuration, layers, and the Dockerfile it came from. Starts nothing."""
    from slimtrace import pipeline
    from slimtrace.present import summary

    summary.describe(*pipeline.info(image, pull))


@app.command()
def doctor() -> None:
    """Tell what this machine offers, by trying it, what is lost without, and how to mend it."""
    from slimtrace import pipeline
    from slimtrace.present import summary

    results, able = pipeline.doctor()
    summary.doctor(results)
    if not able:
        raise typer.Exit(Exit.KERNEL)


def launch(
    entrypoint: str | None,
    cmd: str | None,
    env: list[str] | None,
    user: str,
    workdir: str,
    volume: list[str] | None,
    network: str,
) -> "Launch":
    """How the container is to differ from what its image says."""
    from slimtrace.engine import Launch

    return Launch(
        entrypoint=None if entrypoint is None else words("--entrypoint", entrypoint),
        cmd=None if cmd is None else words("--cmd", cmd),
        env=dict(variable(item) for item in env or ()),
        user=user,
        workdir=workdir,
        binds=tuple(volume or ()),
        network=network,
    )


def words(option: str, text: str) -> tuple[str, ...]:
    """A command as words, split as a shell would. Raises SlimtraceError (USAGE) for an open quote."""
    try:
        return tuple(shlex.split(text))
    except ValueError as problem:
        raise SlimtraceError(f"cannot read {option} {text!r}: {problem}", "close it", Exit.USAGE) from problem


def commands(given: list[str] | None) -> tuple[str, ...]:
    """The commands of --exec, if each can be split and has a program. Raises SlimtraceError (USAGE)."""
    for text in given or ():
        if not words("--exec", text):
            raise SlimtraceError("cannot run an empty --exec", "--exec CMD", Exit.USAGE)
    return tuple(given or ())


def variable(item: str) -> tuple[str, str]:
    """NAME=VALUE, or NAME alone for the value it has here. Raises SlimtraceError (USAGE) without a name."""
    import os

    name, equals, value = item.partition("=")
    if not name:
        raise SlimtraceError(f"cannot set the variable {item!r}", "write --env NAME=VALUE", Exit.USAGE)
    return name, value if equals else os.environ.get(name, "")


@contextmanager
def stopped_by_interrupt() -> Iterator[Event]:
    """Ctrl-C sets the event instead of ending the program; a second one ends it."""
    stop = Event()

    def note(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            _interrupt(number, frame)  # never comes back
        stop.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


_interrupt = signals.raise_once(Interrupted)


def run(program: Callable[[], object]) -> int:
    """Run a verb to its exit code; the one catcher of errors."""
    try:
        for number in signals.ENDING:
            signal.signal(number, _interrupt)
        try:
            result = program()
        finally:
            signals.ignore()  # the interpreter's own end is not to be broken into
    except SlimtraceError as problem:
        _tell(problem)
        return problem.exit_code
    except Interrupted as interrupted:
        _tell(interrupted.told())
        return interrupted.exit_code
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone: there is nobody to tell
        return Exit.OK
    except Exception:
        lost = signals.raised()
        if not isinstance(lost, Interrupted):
            raise
        _tell(lost.told())
        return lost.exit_code
    return result if isinstance(result, int) else Exit.OK


def _tell(problem: SlimtraceError) -> None:
    from slimtrace.present import summary

    summary.error(problem)


def main() -> None:
    """Click's own complaints about the command line are exit code 2."""
    # typer's newer releases bring a click of their own, which is reached in no public way but this
    kinds = typer.BadParameter.__mro__
    complaint: type[Exception] = next(kind for kind in kinds if kind.__name__ == "ClickException")

    def program() -> object:
        try:
            return app(standalone_mode=False)
        except complaint as problem:
            said = str(getattr(problem, "format_message", problem.__str__)())
            raise SlimtraceError(
                f"cannot understand the command: {said.rstrip('.')}",
                "`slimtrace --help`, or --help behind a verb, tells how",
                Exit.USAGE,
            ) from problem
        except typer.Abort:
            raise Interrupted("SIGINT") from None

    sys.exit(run(program))
