"""What the thread that reads the kernel's records hands to the thread that drives the container."""

import queue
import time
from collections.abc import Callable

from slimtrace.facts import wire
from slimtrace.facts.events import Listen


class LiveEvents:
    """What the reading thread hands to the thread that drives the container: in the queue `events` each port
    that listens and the end of the first process. `socket_directories` gives the directories in which the
    container has bound UNIX sockets so far."""

    def __init__(self, socket_directories: Callable[[], set[str]]) -> None:
        self.events: queue.SimpleQueue[Listen | wire.Exit] = queue.SimpleQueue()
        self.socket_directories = socket_directories
        self._last_new = time.monotonic()

    def touch(self) -> None:
        """Note that something was seen that had not been seen before."""
        self._last_new = time.monotonic()

    def quiet_seconds(self) -> float:
        """The seconds since `touch` was called last."""
        return time.monotonic() - self._last_new
