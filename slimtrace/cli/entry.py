"""How a verb is run: errors and signals become messages and exit codes here, and nowhere else."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType

import typer

from slimtrace import signals
from slimtrace.cli.app import app
from slimtrace.errors import Exit, Interrupted, SlimtraceError


@contextmanager
def stopped_by_interrupt() -> Iterator[Event]:
    """Inside, Ctrl-C sets the event instead of ending the program; a second Ctrl-C ends it."""
    stop = Event()

    def set_stop(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            _interrupt(number, frame)  # always raises
        stop.set()

    before = signal.signal(signal.SIGINT, set_stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


_interrupt = signals.raise_once(Interrupted)


def run(program: Callable[[], object]) -> int:
    """Run a verb and return its exit code. This is the one place that catches errors."""
    try:
        for number in signals.TERMINATION_SIGNALS:
            signal.signal(number, _interrupt)
        try:
            result = program()
        finally:
            signals.ignore()  # a signal must not interrupt the interpreter's own shutdown
    except SlimtraceError as problem:
        _print_error(problem)
        return problem.exit_code
    except Interrupted as interrupted:
        _print_error(interrupted.as_error())
        return interrupted.exit_code
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has closed the pipe: nobody reads a message
        return Exit.OK
    except Exception:
        lost = signals.raised()
        if not isinstance(lost, Interrupted):
            raise
        _print_error(lost.as_error())
        return lost.exit_code
    return result if isinstance(result, int) else Exit.OK


def _print_error(problem: SlimtraceError) -> None:
    from slimtrace.present import summary

    summary.print_error(problem)


def main() -> None:
    """Run the command line and exit. An error that click raises about the arguments gives exit code 2
    (USAGE)."""
    # Newer releases of typer vendor click; this is the only public way to its ClickException.
    bases = typer.BadParameter.__mro__
    click_exception: type[Exception] = next(base for base in bases if base.__name__ == "ClickException")

    def program() -> object:
        try:
            return app(standalone_mode=False)
        except click_exception as problem:
            said = str(getattr(problem, "format_message", problem.__str__)())
            raise SlimtraceError(
                f"cannot understand the command: {said.rstrip('.')}",
                "`slimtrace --help`, or --help behind a verb, tells how",
                Exit.USAGE,
            ) from problem
        except typer.Abort:
            raise Interrupted("SIGINT") from None

    code = run(program)
    signals.release_raised()
    sys.exit(code)
