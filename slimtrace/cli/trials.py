"""The verbs beside build that run an image under its profiles: profile and verify."""

import json
from pathlib import Path
from typing import Annotated

import typer

from slimtrace import signals
from slimtrace.cli import options
from slimtrace.cli.app import app
from slimtrace.cli.option_values import action, launch, measures, plan
from slimtrace.errors import Exit, SlimtraceError


@app.command()
def profile(
    image: Annotated[
        str, typer.Argument(metavar="[IMAGE]", help="Name or id of an image; may be left out with --from.")
    ] = "",
    from_: options.From = None,
    continue_after: options.ContinueAfter = "probe",
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
    verify: Annotated[bool, typer.Option(help="Run the image under its profiles, and repair them.")] = True,
    rounds: options.Rounds = 3,
    tolerance: options.Tolerance = 0.0,
    without: options.Without = None,
    seccomp_action: options.SeccompAction = "errno",
    artifacts: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for the artifacts. [default: slimtrace-artifacts/IMAGE.profiles]"
        ),
    ] = None,
    pull: options.Pull = False,
    as_json: options.Json = False,
) -> None:
    """Make the security profiles alone, and try them on IMAGE itself; no image is made."""
    with signals.deferred():
        from slimtrace import pipeline
        from slimtrace.present import live
        from slimtrace.present import verify as view

    if not image and not from_:
        raise SlimtraceError("cannot profile nothing", "name an image, or captures with --from", Exit.USAGE)
    launched = launch(entrypoint, cmd, env, user, workdir, volume, network)
    driven = plan(continue_after, http_probe, host_exec, exec_, ready_timeout, stop_timeout, launched)
    request = pipeline.Request(
        reference=image,
        plan=driven,
        artifacts=artifacts,
        pull=pull,
        captures=tuple(from_ or ()),
        verify=verify,
        rounds=rounds,
        tolerance=tolerance,
        without=measures(without),
        seccomp_action=action(seccomp_action),
    )
    with signals.deferred():
        with live.screen(json=as_json) as screen:
            report = pipeline.profile(request, screen)
        if as_json:
            typer.echo(json.dumps(report.to_json()))
        else:
            view.profiled(report)
        signals.forget()


@app.command()
def verify(
    image: options.ImageName,
    slim: Annotated[str, typer.Argument(metavar="SLIM", help="The image that is to come out as IMAGE does.")],
    continue_after: options.ContinueAfter = "probe",
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
    tolerance: options.Tolerance = 0.0,
    without: options.Without = None,
    artifacts: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of a build's artifacts, by whose profiles SLIM is confined. "
            "[default: slimtrace-artifacts/IMAGE, if there]",
        ),
    ] = None,
    pull: options.Pull = False,
    as_json: options.AnswerJson = False,
) -> None:
    """Run IMAGE and SLIM, this under its profiles, and tell what differs. Exit code 15 if anything does."""
    with signals.deferred():
        from slimtrace import pipeline
        from slimtrace.present import live
        from slimtrace.present import verify as view

    launched = launch(entrypoint, cmd, env, user, workdir, volume, network)
    driven = plan(continue_after, http_probe, host_exec, exec_, ready_timeout, stop_timeout, launched)
    request = pipeline.Request(
        reference=image,
        plan=driven,
        artifacts=artifacts,
        pull=pull,
        tolerance=tolerance,
        without=measures(without),
    )
    with signals.deferred():
        with live.screen(json=as_json) as screen:
            found = pipeline.verify(request, slim, screen)
        if as_json:
            typer.echo(json.dumps(found.to_json()))
        else:
            view.compared(found)
        signals.forget()
    if not found.same:
        raise typer.Exit(Exit.UNVERIFIED)
