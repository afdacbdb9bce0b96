"""What a signal has broken off ends while the program is still there."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from slimtrace import signals
from slimtrace.errors import Interrupted


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in signals.ENDING}
    yield
    signals.let_go()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_context_that_was_left_half_entered_ends_when_what_was_raised_is_let_go() -> None:
    ended = []

    @contextmanager
    def held() -> Iterator[None]:
        try:
            yield
        finally:
            ended.append("held")

    def broken_off() -> None:
        manager = held()
        manager.__enter__()  # and before the block begins:
        signals.raise_once(Interrupted)(signal.SIGTERM, None)

    with suppress(Interrupted):
        broken_off()
    assert isinstance(signals.raised(), Interrupted)
    assert ended == []
    signals.let_go()
    assert (ended, signals.raised()) == (["held"], None)


def test_after_it_no_signal_has_an_effect() -> None:
    signals.let_go()
    for number in signals.ENDING:
        signal.raise_signal(number)
