"""The verbs of captures: record and merge."""

from pathlib import Path
from typing import Annotated

import typer

from slimtrace.cli import options
from slimtrace.cli.app import app
from slimtrace.cli.entry import stopped_by_interrupt
from slimtrace.cli.option_values import plan
from slimtrace.cli.spread import spread
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.settings.groups import PullOptions, RecordOptions


@app.command()
@spread
def record(
    *,
    image: Annotated[str, typer.Argument(metavar="[IMAGE]", help="Image to run and record.")] = "",
    container: Annotated[
        str, typer.Option(metavar="ID", help="Watch this container, which runs already and is left running.")
    ] = "",
    cgroup: Annotated[
        str, typer.Option(metavar="PATH", help="Watch what runs in this cgroup, of whichever runtime.")
    ] = "",
    output: options.OutputFolder = Path("slimtrace-capture"),
    run: RecordOptions,
    pulling: PullOptions,
) -> None:
    """Record what a container does, into a capture for `build --from` and `merge`. Ctrl-C ends and keeps it."""
    from slimtrace import pipeline
    from slimtrace.observe.container.plan import Until
    from slimtrace.present import live, summary

    if sum(map(bool, (image, container, cgroup))) != 1:
        raise SlimtraceError(
            "cannot tell what to record", "name one: an IMAGE, --container ID, or --cgroup PATH", Exit.USAGE
        )
    until = Until.parse(run.continue_after or ("probe" if image else "exit"))
    if not image and until.mode == "probe":
        raise SlimtraceError("cannot probe what it did not start", "say exit, enter or SECONDS", Exit.USAGE)
    with live.make_screen() as screen, stopped_by_interrupt() as stop:
        if container:
            capture = pipeline.attach(container, until, output, screen, stop)
        elif cgroup:
            capture = pipeline.watch_cgroup(cgroup, until, output, screen, stop)
        else:
            request = pipeline.Request(reference=image, plan=plan(run), pull=pulling.pull)
            capture = pipeline.record(request, output, screen, stop)
    summary.print_capture(capture, output)


@app.command()
def merge(
    captures: Annotated[list[Path], typer.Argument(metavar="CAPTURE...", help="Captures of one image.")],
    output: options.OutputFolder = Path("slimtrace-capture"),
) -> None:
    """Make one capture of several: what any of them saw."""
    from slimtrace import pipeline
    from slimtrace.present import summary

    summary.print_capture(pipeline.merge(captures, output), output)
