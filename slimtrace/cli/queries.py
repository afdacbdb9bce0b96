"""The verbs that only answer a question: info, why, diff and doctor."""

import json

import typer

from slimtrace.cli import options
from slimtrace.cli.app import app
from slimtrace.cli.spread import spread
from slimtrace.errors import Exit
from slimtrace.settings.groups import PullOptions


@app.command()
@spread
def info(
    *,
    image: options.ImageName,
    pulling: PullOptions,
    files: options.WithFiles = True,
    as_json: options.AnswerJson = False,
) -> None:
    """Tell what IMAGE is: configuration, layers, files, and the Dockerfile it came from. Starts nothing."""
    from slimtrace import queries
    from slimtrace.present import info as view
    from slimtrace.present import progress

    with progress.counting("reading the layers") as count:
        found = queries.describe(image, pulling.pull, files, count)
    if as_json:
        typer.echo(json.dumps(found.to_json()))
    else:
        view.print_image(found.image, found.dockerfile, found.inventory)


@app.command()
def why(
    image: options.BuiltImage,
    path: options.AskedPath,
    artifacts: options.AskedArtifacts = None,
    as_json: options.AnswerJson = False,
) -> None:
    """Tell from a build's artifacts why PATH is in the slim image of IMAGE, or (exit code 14) why not."""
    from slimtrace import queries
    from slimtrace.present import why as view

    answer = queries.explain(image, path, artifacts)
    if as_json:
        typer.echo(json.dumps(answer.to_json()))
    else:
        view.print_explanation(answer.explanation, answer.slim, answer.cautions)
    if not answer.kept:
        raise typer.Exit(Exit.NOT_KEPT)


@app.command()
def diff(
    image: options.BuiltImage,
    artifacts: options.BuiltArtifacts = None,
    files: options.Files = False,
    as_json: options.AnswerJson = False,
) -> None:
    """Tell from a build's artifacts what went from IMAGE, by package and size."""
    from slimtrace import queries
    from slimtrace.present import diff as view

    found = queries.diff(image, artifacts)
    if as_json:
        typer.echo(json.dumps(found.to_json(files)))
    else:
        view.print_removed_files(found, files)


@app.command()
def doctor() -> None:
    """Tell what this machine offers, by trying it, what is lost without, and how to mend it."""
    from slimtrace import pipeline
    from slimtrace.present import summary

    results, able = pipeline.doctor()
    summary.print_doctor(results)
    if not able:
        raise typer.Exit(Exit.KERNEL)
