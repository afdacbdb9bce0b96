"""A context that a signal has interrupted is exited while the program still runs."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from slimtrace import signals
from slimtrace.errors import Interrupted


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in signals.TERMINATION_SIGNALS}
    yield
    signals.release_raised()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_context_that_was_left_half_entered_ends_when_the_exception_is_released() -> None:
    ended = []

    @contextmanager
    def held() -> Iterator[None]:
        try:
            yield
        finally:
            ended.append("held")

    def interrupted() -> None:
        manager = held()
        manager.__enter__()  # and before the block begins:
        signals.raise_once(Interrupted)(signal.SIGTERM, None)

    with suppress(Interrupted):
        interrupted()
    assert isinstance(signals.raised(), Interrupted)
    assert ended == []
    signals.release_raised()
    assert (ended, signals.raised()) == (["held"], None)


def test_after_the_release_no_signal_has_an_effect() -> None:
    signals.release_raised()
    for number in signals.TERMINATION_SIGNALS:
        signal.raise_signal(number)
