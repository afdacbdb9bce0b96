"""The user's own commands, and the image's HEALTHCHECK: run, and told as answers."""

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
from slimtrace.observe.container.exchange import Asked

SAID = 400  # characters of a failed command's output that are shown, the last ones


def on_host(command: str, facts: Mapping[str, str], seconds: float) -> Asked:
    """A shell command of the user's on this host, with `facts` in its environment. Raises SlimtraceError
    (EXERCISE_FAILED) when it has not ended after `seconds`."""
    # In a session of its own, so that what it has started goes with it when we are interrupted.
    child = subprocess.Popen(
        ["/bin/sh", "-c", command],
        env={**os.environ, **facts},
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
    return Asked(_answer(f"host: {printable(command)}", child.returncode, output))


def in_container(engine: Engine, container: str, command: str, seconds: float) -> tuple[Asked, int]:
    """A command of the user's inside the container, and its host pid (0 if unknown). Raises SlimtraceError
    (EXERCISE_FAILED) when it has not ended after `seconds`."""
    result = engine.exec(container, shlex.split(command), timeout=seconds)
    return executed(command, result.exit_code, result.output), result.pid


def executed(command: str, code: int, output: bytes) -> Asked:
    """What came of an --exec, wherever it ran."""
    return Asked(_answer(f"exec: {printable(command)}", code, output))


def health(engine: Engine, container: str, words: Sequence[str], seconds: float) -> Asked:
    """The image's HEALTHCHECK, as the engine would run it."""
    result = engine.exec(container, words, timeout=seconds)
    answer = _answer("healthcheck", result.exit_code, result.output)
    return Asked(answer, f"healthcheck: {printable(' '.join(words))}")


def _answer(target: str, code: int, output: bytes) -> Answer:
    said = printable(output.decode("utf-8", "replace").strip()[-SAID:])
    return Answer(
        target,
        ok=code == 0,
        status=code,
        size=len(output),
        body=output[:BODY_KEPT].decode("latin-1"),
        detail=(f"it said: {said}" if said else "it said nothing") if code else "",
    )


def must_succeed(option: str, command: str, asked: Asked) -> None:
    """Raises SlimtraceError (EXERCISE_FAILED) for a command of the user's that failed."""
    if not asked.answer.ok:
        raise SlimtraceError(
            f"cannot drive the container: {option} {command!r} ended with {asked.answer.status}",
            asked.answer.detail,
            Exit.EXERCISE_FAILED,
        )
