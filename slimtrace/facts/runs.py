"""A run as the users of the container see it: how it was started and driven, and what it answered.

Verifying compares two such runs, of the fat and of the slim image (reason/prove/compare.py).
"""

from dataclasses import dataclass, field

BODY_KEPT = 1 << 16  # bytes of an answer's body that are kept: the first ones
LOG_KEPT = 200  # lines of a container's output that are kept: the last ones
# From this port on the kernel chooses (net.ipv4.ip_local_port_range): a program does not get the same one
# twice.
FIRST_EPHEMERAL_PORT = 32768


@dataclass(frozen=True, slots=True)
class Start:
    """How the container's configuration differed from the image's, as far as anyone may repeat it: without what
    the host gave (binds, a network). None keeps the image's own value. Of the variables that were set only the
    names are known, sorted: their values may be secrets, and a capture is for anyone to read."""

    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """One attempt to drive the container: what was asked (`target`), and the outcome. `status` is the HTTP
    status, 0 where the answer was not HTTP; `detail` a short sentence."""

    target: str
    ok: bool
    status: int = 0
    bytes: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one probe. `target` names the probe the same in every run ("GET http port 80 /"); `size` is
    the whole body's bytes, `body` its first BODY_KEPT as latin-1, without any content coding; `again` the body
    that came when the same was asked a second time, "" where it was the same: what differs between the two
    varies by itself. `status` is HTTP's, or 0; of a command it is the exit code, and its output the body."""

    target: str
    ok: bool
    status: int = 0
    content_type: str = ""
    size: int = 0
    body: str = ""
    again: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a container. `execs` and `host_execs` are the commands that drove it, `ports` the TCP ports on
    which its own program listened, `answers` the answers in the order of asking. `exit_code` is the container's
    when it ended by itself, else `stop_code` is the one with which it ended `stop_seconds` after the request to
    stop.
    `ready_seconds` passed from its start to the last port, `seconds` to the end of the exercise. `log` are its
    last lines of output. `names` are the words by which this container alone is known (its host name and IP
    address), which may turn up in answers. `failure` is the runtime's reason where it could not be started."""

    start: Start = field(default_factory=Start)
    execs: tuple[str, ...] = ()
    host_execs: tuple[str, ...] = ()
    http_probe: bool = True
    ports: tuple[int, ...] = ()
    answers: tuple[Answer, ...] = ()
    exit_code: int | None = None
    stop_code: int | None = None
    stop_seconds: float = 0.0
    ready_seconds: float = 0.0
    seconds: float = 0.0
    log: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a run differs from the run that it is compared with: a stable `code` (start, exit, port,
    status, content-type, body, answer, command, health, log, stop-code, stop-time), a sentence, and as `target`
    what differs (a probe's target, a port)."""

    code: str
    text: str
    target: str = ""
