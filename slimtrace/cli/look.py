"""The verbs that only look: info and doctor."""

import typer

from slimtrace.cli import options
from slimtrace.cli.app import app
from slimtrace.errors import Exit


@app.command()
def info(image: options.ImageName, pull: options.Pull = False) -> None:
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
