"""The user's own commands and the image's HEALTHCHECK: run, with their outcomes as Exchanges."""

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

from slimtrace.engine import Engine
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.paths import printable
from slimtrace.facts.runs import BODY_KEPT, Answer
from slimtrace.observe.container.exchange import Exchange

OUTPUT_SHOWN = 400  # characters of a failed command's output that are shown, the last ones


def run_on_host(command: str, variables: Mapping[str, str], seconds: float) -> Exchange:
    """Run a shell command of the user on this host, with `variables` in its environment. Raises SlimtraceError
    (EXERCISE_FAILED) when the command has not ended after `seconds`."""
    # In a session of its own, so that the processes that it has started can be killed with it.
    child = subprocess.Popen(
        ["/bin/sh", "-c", command],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as late:
        raise SlimtraceError(
            f"cannot wait longer for --host-exec {command!r}: {seconds:g} s are over",
            "give the command an end",
            Exit.EXERCISE_FAILED,
        ) from late
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    return Exchange(_answer(f"host: {printable(command)}", child.returncode, output))


def run_in_container(engine: Engine, container: str, command: str, seconds: float) -> tuple[Exchange, int]:
    """Run a command of the user inside the container; the exchange, and the command's host pid (0 if unknown).
    Raises SlimtraceError (EXERCISE_FAILED) when the command has not ended after `seconds`."""
    result = engine.exec(container, shlex.split(command), timeout=seconds)
    return exec_exchange(command, result.exit_code, result.output), result.pid


def exec_exchange(command: str, code: int, output: bytes) -> Exchange:
    """The exchange of an ``--exec`` command, which ran in the container or in a sidecar."""
    return Exchange(_answer(f"exec: {printable(command)}", code, output))


def run_healthcheck(engine: Engine, container: str, words: Sequence[str], seconds: float) -> Exchange:
    """Run the image's HEALTHCHECK, as the engine would run it."""
    result = engine.exec(container, words, timeout=seconds)
    answer = _answer("healthcheck", result.exit_code, result.output)
    return Exchange(answer, f"healthcheck: {printable(' '.join(words))}")


def _answer(target: str, code: int, output: bytes) -> Answer:
    shown = printable(output.decode("utf-8", "replace").strip()[-OUTPUT_SHOWN:])
    return Answer(
        target,
        ok=code == 0,
        status=code,
        size=len(output),
        body=output[:BODY_KEPT].decode("latin-1"),
        detail=(f"it said: {shown}" if shown else "it said nothing") if code else "",
    )


def must_succeed(option: str, command: str, exchange: Exchange) -> None:
    """Raise SlimtraceError (EXERCISE_FAILED) for a command of the user that failed."""
    if not exchange.answer.ok:
        raise SlimtraceError(
            f"cannot drive the container: {option} {command!r} ended with {exchange.answer.status}",
            exchange.answer.detail,
            Exit.EXERCISE_FAILED,
        )
