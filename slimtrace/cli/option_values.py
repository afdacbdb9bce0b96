"""What options say, as values: the words of the command line become what pipelines take."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from slimtrace.errors import Exit, SlimtraceError

if TYPE_CHECKING:
    from slimtrace.engine import Launch
    from slimtrace.observe.container.plan import Plan

LIST_LIMIT = 1 << 24  # bytes of a list of paths


def plan(
    continue_after: str,
    http_probe: bool,
    host_exec: list[str] | None,
    exec_: list[str] | None,
    ready_timeout: float,
    stop_timeout: int,
    launch: "Launch",
) -> "Plan":
    """How the container is to be run and driven. Raises SlimtraceError (USAGE)."""
    from slimtrace.observe.container.plan import Plan, Until

    return Plan(
        launch=launch,
        until=Until.parse(continue_after),
        http_probe=http_probe,
        host_execs=tuple(host_exec or ()),
        execs=commands(exec_),
        ready_seconds=ready_timeout,
        stop_seconds=stop_timeout,
    )


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


def measures(given: list[str] | None) -> tuple[str, ...]:
    """What --without names, each once. Raises SlimtraceError (USAGE) for what is none."""
    from slimtrace.facts.confinement import MEASURES

    for name in given or ():
        if name not in MEASURES:
            raise SlimtraceError(f"cannot leave out {name!r}", f"say {', '.join(MEASURES)}", Exit.USAGE)
    return tuple(dict.fromkeys(given or ()))


def action(name: str) -> str:
    """What --seccomp-action names. Raises SlimtraceError (USAGE) for what is none."""
    from slimtrace.reason.confine.seccomp import ACTIONS

    if name not in ACTIONS:
        raise SlimtraceError(
            f"cannot answer refused calls by {name!r}", f"say {', '.join(ACTIONS)}", Exit.USAGE
        )
    return name


def variable(item: str) -> tuple[str, str]:
    """NAME=VALUE, or NAME alone for the value it has here. Raises SlimtraceError (USAGE) without a name."""
    name, equals, value = item.partition("=")
    if not name:
        raise SlimtraceError(f"cannot set the variable {item!r}", "write --env NAME=VALUE", Exit.USAGE)
    return name, value if equals else os.environ.get(name, "")


def lines(file: Path) -> list[tuple[str, str]]:
    """The lines of a list of paths, without blank ones and comments: each path, and the permissions that follow
    it or "". Raises SlimtraceError for a file that cannot be read, or a line that does not begin with /."""
    from slimtrace.facts import paths
    from slimtrace.reason.keep.path_permissions import parse_path_line

    try:
        with file.open("rb") as stream:
            text = paths.decode(stream.read(LIST_LIMIT + 1))
    except OSError as problem:
        raise SlimtraceError(f"cannot read {file}: {problem.strerror}") from problem
    if len(text) > LIST_LIMIT:
        raise SlimtraceError(f"cannot read {file}: it is larger than {LIST_LIMIT} bytes")
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip(" \t\r")
        if line and not line.startswith("#"):
            if not line.startswith("/"):
                raise SlimtraceError(
                    f"cannot read {file}: line {number} is no path in the image, which begins with /"
                )
            path, wanted = parse_path_line(line)
            found.append((path, str(wanted) if wanted else ""))
    return found
