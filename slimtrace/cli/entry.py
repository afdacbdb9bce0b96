"""How a verb is run: errors and signals become messages and exit codes, here alone."""

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

    code = run(program)
    signals.let_go()
    sys.exit(code)
