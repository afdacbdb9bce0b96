"""The command line: typer verbs, and the only place that catches SlimtraceError.

Everything heavy is imported inside the verbs, so that ``slimtrace --help`` answers at once.
"""

import json
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from slimtrace import __version__
from slimtrace.errors import Exit, Interrupted, SlimtraceError

if TYPE_CHECKING:
    from slimtrace.pipeline import Request

app = typer.Typer(
    help="Minimal container images and security profiles, from what the container really does.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

ImageName = Annotated[str, typer.Argument(metavar="IMAGE", help="Name or id of an image of the local engine.")]
Pull = Annotated[bool, typer.Option("--pull", help="Pull the image first.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print the report as JSON on stdout, and nothing else there.")
]


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
    image: ImageName,
    tag: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the slim image. [default: IMAGE.slim]")
    ] = "",
    continue_after: Annotated[
        str,
        typer.Option(
            metavar="WHEN",
            help="When the container has shown enough: probe (every port was visited and nothing new happens, "
            "or it ended), exit, enter, or a number of seconds.",
        ),
    ] = "probe",
    http_probe: Annotated[bool, typer.Option(help="Ask GET / of every TCP port as soon as it listens.")] = True,
    host_exec: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CMD",
            help="Shell command to run on this host against the container, which is described in "
            "SLIMTRACE_ADDRESS, SLIMTRACE_PORT, SLIMTRACE_PORTS, SLIMTRACE_PID and SLIMTRACE_CONTAINER. "
            "May be repeated.",
        ),
    ] = None,
    exec_: Annotated[
        list[str] | None,
        typer.Option(
            "--exec",
            metavar="CMD",
            help="Command to run inside the container; what it needs itself stays out of the slim image. "
            "May be repeated.",
        ),
    ] = None,
    ready_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="How long to wait for a port or an end.")
    ] = 60,
    stop_timeout: Annotated[
        int, typer.Option(metavar="SECONDS", min=1, help="How long the container may take to stop.")
    ] = 10,
    entrypoint: Annotated[
        str | None, typer.Option(metavar="CMD", help="Run it with another entrypoint while tracing.")
    ] = None,
    cmd: Annotated[
        str | None, typer.Option(metavar="ARGS", help="Run it with other arguments while tracing.")
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env", "-e", metavar="NAME=VALUE", help="Set a variable while tracing. May be repeated."
        ),
    ] = None,
    user: Annotated[str, typer.Option("--user", "-u", metavar="USER", help="Run it as another user.")] = "",
    workdir: Annotated[
        str, typer.Option("--workdir", "-w", metavar="DIR", help="Run it in another directory.")
    ] = "",
    volume: Annotated[
        list[str] | None,
        typer.Option("--volume", "-v", metavar="SOURCE:PATH", help="Mount a volume. May be repeated."),
    ] = None,
    network: Annotated[str, typer.Option(metavar="NAME", help="Connect it to this network.")] = "",
    include_path: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Keep this file or directory with all below. May be repeated."),
    ] = None,
    include_bin: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Keep this program with all it needs. May be repeated."),
    ] = None,
    include_shell: Annotated[bool, typer.Option("--include-shell", help="Keep the image's shell.")] = False,
    exclude_pattern: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Drop what matches, ** crossing directories. May be repeated."),
    ] = None,
    artifacts: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the artifacts. [default: slimtrace-artifacts/IMAGE]"),
    ] = None,
    remove_file_artifacts: Annotated[
        bool, typer.Option("--remove-file-artifacts", help="Write no artifacts, only the image.")
    ] = False,
    pull: Pull = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 13 when the result has doubts.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Trace IMAGE's container and make a slim image and security profiles of what it needs."""
    from slimtrace import pipeline
    from slimtrace.engine import Launch
    from slimtrace.observe.plan import Plan, Until
    from slimtrace.present import live, summary
    from slimtrace.reason.rules import Rules

    launch = Launch(
        entrypoint=None if entrypoint is None else words("--entrypoint", entrypoint),
        cmd=None if cmd is None else words("--cmd", cmd),
        env=dict(variable(item) for item in env or ()),
        user=user,
        workdir=workdir,
        binds=tuple(volume or ()),
        network=network,
    )
    plan = Plan(
        launch=launch,
        until=Until.parse(continue_after),
        http_probe=http_probe,
        host_execs=tuple(host_exec or ()),
        execs=tuple(exec_ or ()),
        ready_seconds=ready_timeout,
        stop_seconds=stop_timeout,
    )
    rules = Rules(
        include_paths=tuple(include_path or ()),
        include_bins=tuple(include_bin or ()),
        include_shell=include_shell,
        exclude_patterns=tuple(exclude_pattern or ()),
    )
    request: Request = pipeline.Request(
        reference=image,
        tag=tag,
        plan=plan,
        rules=rules,
        artifacts=artifacts,
        keep_artifacts=not remove_file_artifacts,
        pull=pull,
    )
    with live.screen(json=as_json) as screen:
        report = pipeline.build(request, screen)
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        summary.summary(report)
    if strict and report.doubts:
        raise SlimtraceError(
            f"cannot vouch for {report.slim.reference}: the result has {len(report.doubts)} doubts",
            "they are in the report; without --strict they are no failure",
            Exit.DOUBTFUL,
        )


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


def words(option: str, text: str) -> tuple[str, ...]:
    """A command as words, split as a shell would. Raises SlimtraceError (USAGE) for an open quote."""
    try:
        return tuple(shlex.split(text))
    except ValueError as problem:
        raise SlimtraceError(f"cannot read {option} {text!r}: {problem}", "close it", Exit.USAGE) from problem


def variable(item: str) -> tuple[str, str]:
    """NAME=VALUE, or NAME alone for the value it has here. Raises SlimtraceError (USAGE) without a name."""
    import os

    name, equals, value = item.partition("=")
    if not name:
        raise SlimtraceError(f"cannot set the variable {item!r}", "write --env NAME=VALUE", Exit.USAGE)
    return name, value if equals else os.environ.get(name, "")


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise Interrupted(signal.Signals(number).name)


def run(program: Callable[[], object]) -> int:
    """Run a verb to its exit code; the one catcher of errors."""
    from slimtrace.present import summary

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupt)
        result = program()
    except SlimtraceError as problem:
        summary.error(problem)
        return problem.exit_code
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone: there is nobody to tell
        return Exit.OK
    return result if isinstance(result, int) else Exit.OK


def main() -> None:
    """The entry point. Click's own complaints about the command line are exit code 2."""
    import click

    def program() -> object:
        try:
            return app(standalone_mode=False)
        except click.exceptions.ClickException as problem:
            raise SlimtraceError(
                f"cannot understand the command: {problem.format_message().rstrip('.')}",
                "`slimtrace --help`, or --help behind a verb, tells how",
                Exit.USAGE,
            ) from problem
        except click.exceptions.Abort:
            raise Interrupted("SIGINT") from None

    sys.exit(run(program))


if __name__ == "__main__":
    main()
