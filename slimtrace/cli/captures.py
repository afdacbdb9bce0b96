"""The verbs of captures: record and merge."""

from pathlib import Path
from typing import Annotated

import typer

from slimtrace.cli import options
from slimtrace.cli.app import app
from slimtrace.cli.entry import stopped_by_interrupt
from slimtrace.cli.option_values import launch, plan
from slimtrace.errors import Exit, SlimtraceError


@app.command()
def record(
    image: Annotated[str, typer.Argument(metavar="[IMAGE]", help="Image to run and record.")] = "",
    container: Annotated[
        str, typer.Option(metavar="ID", help="Watch this container, which runs already and is left running.")
    ] = "",
    cgroup: Annotated[
        str, typer.Option(metavar="PATH", help="Watch what runs in this cgroup, of whichever runtime.")
    ] = "",
    output: options.OutputFolder = Path("slimtrace-capture"),
    continue_after: Annotated[
        str,
        typer.Option(
            metavar="WHEN",
            help="As for build. [default: probe for an image, else until Ctrl-C or its end]",
        ),
    ] = "",
    http_probe: options.HttpProbe = True,
    host_exec: options.HostExec = None,
    exec_: options.Exec = None,
    ready_timeout: options.ReadyTimeout = 60,
    stop_timeout: options.StopTimeout = 10,
    entrypoint: options.Entrypoint = None,
    cmd: options.Cmd = None,
    env: options.Env = None,
    user: options.User = "",
    workdir: options.Workdir = "",
    volume: options.Volume = None,
    network: options.Network = "",
    pull: options.Pull = False,
) -> None:
    """Record what a container does, into a capture for `build --from` and `merge`. Ctrl-C ends and keeps it."""
    from slimtrace import pipeline
    from slimtrace.observe.container.plan import Until
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
            launched = launch(entrypoint, cmd, env, user, workdir, volume, network)
            driven = plan(
                continue_after or "probe", http_probe, host_exec, exec_, ready_timeout, stop_timeout, launched
            )
            request = pipeline.Request(reference=image, plan=driven, pull=pull)
            capture = pipeline.record(request, output, screen, stop)
    summary.captured(capture, output)


@app.command()
def merge(
    captures: Annotated[list[Path], typer.Argument(metavar="CAPTURE...", help="Captures of one image.")],
    output: options.OutputFolder = Path("slimtrace-capture"),
) -> None:
    """Make one capture of several: what any of them saw."""
    from slimtrace import pipeline
    from slimtrace.present import summary

    summary.captured(pipeline.merge(captures, output), output)
