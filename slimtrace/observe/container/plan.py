"""How a container is to be run and driven, and when that is enough."""

from dataclasses import dataclass, field

from slimtrace.engine import Launch
from slimtrace.errors import Exit, SlimtraceError

READY_SECONDS = 60.0  # for the first port to listen, where one is expected
STOP_SECONDS = 10
COMMAND_SECONDS = 600.0  # for a command of the user's


@dataclass(frozen=True, slots=True)
class Until:
    """When the recording is over: `mode` is "probe" (all ports were visited and there are no new events, or the
    container ended), "exit" (it ended), "enter" (the user pressed Enter) or "seconds"."""

    mode: str = "probe"
    seconds: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Until":
        """The value of a command line option: probe, exit, enter, or a number of seconds. Raises SlimtraceError
        (USAGE)."""
        if text in ("probe", "exit", "enter"):
            return cls(text)
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds < 1e6:
            raise SlimtraceError(
                f"cannot continue after {text!r}", "say probe, exit, enter, or a number of seconds", Exit.USAGE
            )
        return cls("seconds", seconds)


@dataclass(frozen=True, slots=True)
class Plan:
    """How the container is to be run and driven. `ready_seconds` bounds the wait for a port or an end,
    `command_seconds` that for the end of a command. `ports` are awaited beside those that the image exposes.

    For the trial of a slim image: with `tolerant` a failure is recorded in the Run instead of being raised.
    `sidecar_image` is the image that has the programs which the `execs` need: each then runs in a sidecar
    container of that image."""

    launch: Launch = field(default_factory=Launch)
    until: Until = field(default_factory=Until)
    http_probe: bool = True
    host_execs: tuple[str, ...] = ()
    execs: tuple[str, ...] = ()
    ready_seconds: float = READY_SECONDS
    stop_seconds: int = STOP_SECONDS
    command_seconds: float = COMMAND_SECONDS
    ports: tuple[int, ...] = ()
    tolerant: bool = False
    sidecar_image: str = ""
