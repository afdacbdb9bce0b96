"""How far a recording has come: what the live view shows while it goes on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tally:
    """A snapshot of a recording. `events` records received, `lost` records that the kernel could not hand
    over, `files` distinct paths seen, `calls` distinct system calls of the program, `processes` processes
    seen, `ports` listening so far, `newest` the latest paths, newest last (at most ten)."""

    events: int = 0
    lost: int = 0
    files: int = 0
    calls: int = 0
    processes: int = 0
    ports: tuple[int, ...] = ()
    newest: tuple[str, ...] = ()
