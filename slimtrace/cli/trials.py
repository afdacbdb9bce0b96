"""The verbs beside build that run an image under its profiles: profile and verify."""

import json
from pathlib import Path
from typing import Annotated

import typer

from slimtrace import signals
from slimtrace.cli import options
from slimtrace.cli.app import app
from slimtrace.cli.option_values import action, measures, plan
from slimtrace.cli.spread import spread
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.settings.groups import ComparisonOptions, ProfileTrialOptions, PullOptions, RunOptions


@app.command()
@spread
def profile(
    *,
    image: Annotated[
        str, typer.Argument(metavar="[IMAGE]", help="Name or id of an image; may be left out with --from.")
    ] = "",
    from_: options.From = None,
    run: RunOptions,
    trial: ProfileTrialOptions,
    artifacts: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for the artifacts. [default: slimtrace-artifacts/IMAGE.profiles]"
        ),
    ] = None,
    pulling: PullOptions,
    as_json: options.Json = False,
) -> None:
    """Make the security profiles alone, and try them on IMAGE itself; no image is made."""
    with signals.deferred():
        from slimtrace import pipeline
        from slimtrace.present import live
        from slimtrace.present import verify as view

    if not image and not from_:
        raise SlimtraceError("cannot profile nothing", "name an image, or captures with --from", Exit.USAGE)
    request = pipeline.Request(
        reference=image,
        plan=plan(run),
        artifacts=artifacts,
        pull=pulling.pull,
        captures=tuple(from_ or ()),
        verify=trial.verify,
        rounds=trial.rounds,
        tolerance=trial.comparison.tolerance,
        without=measures(trial.comparison.without),
        seccomp_action=action(trial.seccomp_action),
    )
    with signals.deferred():
        with live.make_screen(json=as_json) as screen:
            report = pipeline.profile(request, screen)
        if as_json:
            typer.echo(json.dumps(report.to_json()))
        else:
            view.print_profiles(report)
        signals.discard_pending()


@app.command()
@spread
def verify(
    *,
    image: options.ImageName,
    slim: Annotated[str, typer.Argument(metavar="SLIM", help="The image that is to come out as IMAGE does.")],
    run: RunOptions,
    comparison: ComparisonOptions,
    artifacts: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of a build's artifacts, by whose profiles SLIM is confined. "
            "[default: slimtrace-artifacts/IMAGE, if there]",
        ),
    ] = None,
    pulling: PullOptions,
    as_json: options.AnswerJson = False,
) -> None:
    """Run IMAGE and SLIM, this under its profiles, and tell what differs. Exit code 15 if anything does."""
    with signals.deferred():
        from slimtrace import pipeline
        from slimtrace.present import live
        from slimtrace.present import verify as view

    request = pipeline.Request(
        reference=image,
        plan=plan(run),
        artifacts=artifacts,
        pull=pulling.pull,
        tolerance=comparison.tolerance,
        without=measures(comparison.without),
    )
    with signals.deferred():
        with live.make_screen(json=as_json) as screen:
            found = pipeline.verify(request, slim, screen)
        if as_json:
            typer.echo(json.dumps(found.to_json()))
        else:
            view.print_comparison(found)
        signals.discard_pending()
    if not found.same:
        raise typer.Exit(Exit.UNVERIFIED)
