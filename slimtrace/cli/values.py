"""What options say, as values: the words of the command line become what pipelines take."""

import os
import shlex
from typing import TYPE_CHECKING

from slimtrace.errors import Exit, SlimtraceError

if TYPE_CHECKING:
    from slimtrace.engine import Launch


def launch(
    entrypoint: str | None,
    cmd: str | None,
    env: list[str] | None,
    user: str,
    workdir: str,
    volume: list[str] | None,
    network: str,
) -> "Launch":
    """How the container is to differ from what its image says."""
    from slimtrace.engine import Launch

    return Launch(
        entrypoint=None if entrypoint is None else words("--entrypoint", entrypoint),
        cmd=None if cmd is None else words("--cmd", cmd),
        env=dict(variable(item) for item in env or ()),
        user=user,
        workdir=workdir,
        binds=tuple(volume or ()),
        network=network,
    )


def words(option: str, text: str) -> tuple[str, ...]:
    """A command as words, split as a shell would. Raises SlimtraceError (USAGE) for an open quote."""
    try:
        return tuple(shlex.split(text))
    except ValueError as problem:
        raise SlimtraceError(f"cannot read {option} {text!r}: {problem}", "close it", Exit.USAGE) from problem


def commands(given: list[str] | None) -> tuple[str, ...]:
    """The commands of --exec, if each can be split and has a program. Raises SlimtraceError (USAGE)."""
    for text in given or ():
        if not words("--exec", text):
            raise SlimtraceError("cannot run an empty --exec", "--exec CMD", Exit.USAGE)
    return tuple(given or ())


def variable(item: str) -> tuple[str, str]:
    """NAME=VALUE, or NAME alone for the value it has here. Raises SlimtraceError (USAGE) without a name."""
    name, equals, value = item.partition("=")
    if not name:
        raise SlimtraceError(f"cannot set the variable {item!r}", "write --env NAME=VALUE", Exit.USAGE)
    return name, value if equals else os.environ.get(name, "")
