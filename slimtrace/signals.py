"""Ctrl-C and SIGTERM: where they may break in, and where they wait.

Python runs a signal's handler between any two steps of the main thread: also between the making of a directory
and the note that it is to be removed, also in the midst of the removal. So a recipe that makes things lets
signals wait, except where nothing is half made:

    with signals.deferred(), ExitStack() as stack, signals.admitted(): ...

A handler that raises should do so once (as `raise_once` makes it): what was raised then finds its way out
undisturbed, whoever presses Ctrl-C again. Should it get lost on that way (Python only prints what is raised
in a __del__ or in a callback from C, and makes a RuntimeError of anything in __set_name__, thus in imports),
`admit` raises it again, and `raised` knows.
"""

import gc
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM)


class _Gate:
    """Shut, it keeps the signals that arrive; opened, it lets the first of them through."""

    def __init__(self) -> None:
        self.depth = 0  # how many `deferred` are around us
        self.waiting: list[int] = []
        self.raised: BaseException | None = None
        self._handlers: dict[int, Any] = {}

    def shut(self) -> None:
        for number in ENDING:
            self._handlers[number] = signal.signal(number, self._keep)

    def open(self) -> None:
        while self._handlers:
            number, handler = self._handlers.popitem()
            with suppress(TypeError):  # None: a handler that was not installed from Python
                signal.signal(number, handler)
        if self.waiting:
            first = self.waiting[0]
            self.waiting.clear()
            signal.raise_signal(first)

    def _keep(self, number: int, _frame: FrameType | None) -> None:
        self.waiting.append(number)


_gate = _Gate()


def raise_once(error: Callable[[str], BaseException]) -> Callable[[int, FrameType | None], None]:
    """A handler that raises what `error` makes of the signal's name, and from then on ignores the signals."""

    def handler(number: int, _frame: FrameType | None) -> None:
        ignore()
        _gate.raised = error(signal.Signals(number).name)
        raise _gate.raised

    return handler


def raised() -> BaseException | None:
    """What a handler of `raise_once` has raised."""
    return _gate.raised


def ignore() -> None:
    """From now on they have no effect."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def deferred() -> Iterator[None]:
    """Inside, the signals wait, for the end or for `admitted`. In a thread other than the main one, where
    Python runs no handlers, nothing needs to wait."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _gate.depth += 1
    try:
        if _gate.depth == 1:
            _gate.shut()
        yield
    finally:
        _gate.depth -= 1
        if _gate.depth == 0:
            _gate.open()


@contextmanager
def admitted() -> Iterator[None]:
    """Inside, they have their effect again, however many `deferred` are around; one that waits has it now."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    depth, _gate.depth = _gate.depth, 0
    try:
        if depth:
            _gate.open()
        yield
    finally:
        _gate.depth = depth
        if depth:
            _gate.shut()


def admit() -> None:
    """A moment at which one that waits has its effect, and one that has been lost has it again."""
    with admitted():
        if _gate.raised is not None:
            raise _gate.raised


def forget() -> None:
    """Those that wait have come too late."""
    _gate.waiting.clear()


def let_go() -> None:
    """Free what was raised and, with it, what the frames that it came through hold: a context that a signal has
    left half entered ends now, while everything that it wants at its end is still there."""
    _gate.raised = None
    _gate.waiting.clear()
    gc.collect()
    ignore()  # it may have been one that gives the signals their effect back
