"""Ctrl-C and SIGTERM: where they may interrupt the program, and where they are deferred.

Python runs a signal's handler between any two steps of the main thread: also between the making of a directory
and the registration of its removal, also in the middle of the removal. So a recipe that creates things defers
the signals, except where nothing is half made:

    with signals.deferred(), ExitStack() as stack, signals.delivered(): ...

A handler that raises should do so once (as `raise_once` makes it): its exception then propagates undisturbed,
even if the user presses Ctrl-C again. Should the exception get lost (Python only prints what is raised in a
__del__ or in a callback from C, and makes a RuntimeError of anything in __set_name__, thus in imports),
`deliver_pending` raises it again, and `raised` gives it.
"""

import gc
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

TERMINATION_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Deferral:
    """Between `hold` and `release`, signals that arrive are pending; `release` delivers the first one."""

    def __init__(self) -> None:
        self.depth = 0  # how many `deferred` contexts are open
        self.pending: list[int] = []
        self.raised: BaseException | None = None
        self._handlers: dict[int, Any] = {}

    def hold(self) -> None:
        for number in TERMINATION_SIGNALS:
            self._handlers[number] = signal.signal(number, self._record)

    def release(self) -> None:
        while self._handlers:
            number, handler = self._handlers.popitem()
            with suppress(TypeError):  # None: a handler that was not installed from Python
                signal.signal(number, handler)
        if self.pending:
            first = self.pending[0]
            self.pending.clear()
            signal.raise_signal(first)

    def _record(self, number: int, _frame: FrameType | None) -> None:
        self.pending.append(number)


_deferral = _Deferral()


def raise_once(error: Callable[[str], BaseException]) -> Callable[[int, FrameType | None], None]:
    """A handler that raises what `error` makes of the signal's name, and from then on ignores the signals."""

    def handler(number: int, _frame: FrameType | None) -> None:
        ignore()
        _deferral.raised = error(signal.Signals(number).name)
        raise _deferral.raised

    return handler


def raised() -> BaseException | None:
    """The exception that a handler of `raise_once` has raised."""
    return _deferral.raised


def ignore() -> None:
    """From now on the termination signals have no effect."""
    for number in TERMINATION_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def deferred() -> Iterator[None]:
    """Inside, signals are pending until the end or until `delivered`. In a thread other than the main one,
    where Python runs no handlers, nothing is deferred."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _deferral.depth += 1
    try:
        if _deferral.depth == 1:
            _deferral.hold()
        yield
    finally:
        _deferral.depth -= 1
        if _deferral.depth == 0:
            _deferral.release()


@contextmanager
def delivered() -> Iterator[None]:
    """Inside, signals have their effect again, in however many `deferred`; a pending one is delivered now."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    depth, _deferral.depth = _deferral.depth, 0
    try:
        if depth:
            _deferral.release()
        yield
    finally:
        _deferral.depth = depth
        if depth:
            _deferral.hold()


def deliver_pending() -> None:
    """Deliver a pending signal now, and raise the exception of an earlier one again if it got lost."""
    with delivered():
        if _deferral.raised is not None:
            raise _deferral.raised


def discard_pending() -> None:
    """Drop the pending signals: they have come too late."""
    _deferral.pending.clear()


def release_raised() -> None:
    """Free the exception that was raised and, with it, the objects in the frames of its traceback: a context
    that a signal has left half entered ends now, while everything that its exit needs is still there."""
    _deferral.raised = None
    _deferral.pending.clear()
    gc.collect()
    ignore()  # the context that ended may have restored the signals' handlers
