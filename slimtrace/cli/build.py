"""The verb that slims: build."""

import json
from typing import Annotated

import typer

from slimtrace import signals
from slimtrace.cli import options
from slimtrace.cli.app import app
from slimtrace.cli.config import Configured
from slimtrace.cli.option_values import action, measures, plan, rules
from slimtrace.cli.spread import spread
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.settings.groups import NamingOptions, OutputOptions, RunOptions, SelectionOptions, TrialOptions


@app.command(cls=Configured)
@spread
def build(
    *,
    image: Annotated[
        str, typer.Argument(metavar="IMAGE", help="Name or id of an image; may be left out with --from.")
    ] = "",
    naming: NamingOptions,
    from_: options.From = None,
    run: RunOptions,
    selection: SelectionOptions,
    trial: TrialOptions,
    config: options.Config = None,
    output: OutputOptions,
    as_json: options.Json = False,
) -> None:
    """Trace IMAGE's container, make a slim image and security profiles of what it needs, and try them."""
    with signals.deferred():
        from slimtrace import pipeline
        from slimtrace.present import live, summary

    if not image and not from_:
        raise SlimtraceError("cannot build nothing", "name an image, or captures with --from", Exit.USAGE)
    request = pipeline.Request(
        reference=image,
        tag=naming.tag,
        plan=plan(run),
        rules=rules(selection),
        artifacts=output.artifacts,
        keep_artifacts=not output.remove_file_artifacts,
        pull=output.pulling.pull,
        captures=tuple(from_ or ()),
        verify=trial.verify,
        rounds=trial.rounds,
        tolerance=trial.comparison.tolerance,
        without=measures(trial.comparison.without),
        seccomp_action=action(trial.seccomp_action),
    )
    with signals.deferred():
        with live.make_screen(json=as_json) as screen:
            report = pipeline.build(request, screen)
        if as_json:
            typer.echo(json.dumps(report.to_json()))
        else:
            summary.print_build(report)
        signals.discard_pending()  # the image is made: a signal that arrived meanwhile came too late
    if output.strict and report.doubts:
        raise SlimtraceError(
            f"cannot vouch for {report.slim.reference}: the result has {len(report.doubts)} doubts",
            "they are in the report; without --strict they are no failure",
            Exit.DOUBTFUL,
        )
