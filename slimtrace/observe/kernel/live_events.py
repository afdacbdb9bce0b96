"""What the thread that reads the kernel's records tells the one that drives the container."""

import queue
import time
from collections.abc import Callable

from slimtrace.facts import wire
from slimtrace.facts.events import Listen


class News:
    """What the reading thread tells the thread that drives the container. `bound` gives the directories in
    which the container has bound UNIX sockets so far."""

    def __init__(self, bound: Callable[[], set[str]]) -> None:
        self.signals: queue.SimpleQueue[Listen | wire.Exit] = queue.SimpleQueue()
        self.bound = bound
        self._last = time.monotonic()

    def touch(self) -> None:
        """Something was seen that had not been seen before."""
        self._last = time.monotonic()

    def quiet_seconds(self) -> float:
        """Since then."""
        return time.monotonic() - self._last
