"""What options say, as values: the words of the command line become what pipelines take."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from slimtrace.errors import Exit, SlimtraceError
from slimtrace.settings.groups import RunOptions, SelectionOptions
from slimtrace.settings.option import described

if TYPE_CHECKING:
    from slimtrace.engine import Launch
    from slimtrace.observe.container.plan import Plan
    from slimtrace.reason.keep.rules import Rules

LIST_LIMIT = 1 << 24  # bytes of a list of paths


def plan(run: RunOptions) -> "Plan":
    """How the container is to be run and driven. Raises SlimtraceError (USAGE)."""
    from slimtrace.observe.container.plan import Plan, Until

    return Plan(
        launch=launch(run),
        until=Until.parse(run.continue_after or "probe"),
        http_probe=run.http_probe,
        host_execs=run.host_exec,
        execs=commands(run.exec_),
        ready_seconds=run.ready_timeout,
        stop_seconds=run.stop_timeout,
    )


def launch(run: RunOptions) -> "Launch":
    """How the container is to differ from what its image says."""
    from slimtrace.engine import Launch

    return Launch(
        entrypoint=None if run.entrypoint is None else words("--entrypoint", run.entrypoint),
        cmd=None if run.cmd is None else words("--cmd", run.cmd),
        env=dict(variable(item) for item in run.env),
        user=run.user,
        workdir=run.workdir,
        binds=run.volume,
        network=run.network,
    )


def rules(selection: SelectionOptions) -> "Rules":
    """What the user asks for beside what was seen, with the lists of paths read. Raises SlimtraceError."""
    from slimtrace.reason.keep import rules_file

    listed = [line for file in selection.include_path_file for line in lines(file)]
    wanted = tuple(permissions for _, permissions in listed if permissions)
    values = {option.key: getattr(selection, option.name) for option in described(SelectionOptions)}
    values["include-path"] = (*selection.include_path, *(path for path, _ in listed))
    values["path-perms"] = (*wanted, *selection.path_perms)
    return rules_file.rules_from_values(values)


def words(option: str, text: str) -> tuple[str, ...]:
    """A command as words, split as a shell would. Raises SlimtraceError (USAGE) for an open quote."""
    try:
        return tuple(shlex.split(text))
    except ValueError as problem:
        raise SlimtraceError(f"cannot read {option} {text!r}: {problem}", "close it", Exit.USAGE) from problem


def commands(given: tuple[str, ...]) -> tuple[str, ...]:
    """The commands of --exec, if each can be split and has a program. Raises SlimtraceError (USAGE)."""
    for text in given:
        if not words("--exec", text):
            raise SlimtraceError("cannot run an empty --exec", "--exec CMD", Exit.USAGE)
    return given


def measures(given: tuple[str, ...]) -> tuple[str, ...]:
    """What --without names, each once. Raises SlimtraceError (USAGE) for what is none."""
    from slimtrace.facts.confinement import MEASURES

    for name in given:
        if name not in MEASURES:
            raise SlimtraceError(f"cannot leave out {name!r}", f"say {', '.join(MEASURES)}", Exit.USAGE)
    return tuple(dict.fromkeys(given))


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
