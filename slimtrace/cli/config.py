"""slimtrace.toml: what it says stands before the words of the command line. So a list grows by what follows,
and of a single value the last counts."""

import os
import stat
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from slimtrace.errors import SlimtraceError
from slimtrace.settings import TABLES, Form, read

DEFAULT = Path("slimtrace.toml")
LIMIT = 1 << 20  # bytes
_FORMS = {key: option.form for keys in TABLES.values() for key, option in keys.items()}


class Configured(TyperCommand):
    """A verb whose options may also stand in a file: the one that --config names, else ./slimtrace.toml."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        said, *_ = self.make_parser(ctx).parse_args(args=list(args))
        if said.get("help"):
            return super().parse_args(ctx, args)
        chosen = said.get("config")
        file = Path(chosen) if chosen is not None else DEFAULT if os.path.lexists(DEFAULT) else None
        words = [] if file is None else options(load(file, trusted=chosen is not None), file.parent)
        return super().parse_args(ctx, [*words, *args])


def load(file: Path, trusted: bool) -> dict[str, Any]:
    """The settings in `file`, by key. Its commands are run as root: a file that others can write is refused,
    and one of another user's unless it is `trusted`, since the user named it. Raises SlimtraceError."""
    try:
        # Nothing to wait for at a fifo that was not named.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | (0 if trusted else os.O_NONBLOCK))
        with os.fdopen(descriptor, "rb") as stream:
            _refuse_strange(file, os.fstat(stream.fileno()), trusted)
            content = stream.read(LIMIT + 1)
        if len(content) > LIMIT:
            raise SlimtraceError(f"cannot read {file}: it is larger than {LIMIT} bytes")
        return read(content.decode(), str(file))
    except OSError as problem:
        raise SlimtraceError(f"cannot read {file}: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise SlimtraceError(f"cannot read {file}: it is not UTF-8") from problem


def _refuse_strange(file: Path, status: os.stat_result, trusted: bool) -> None:
    if not trusted and not stat.S_ISREG(status.st_mode):
        raise SlimtraceError(f"cannot read {file}: it is no regular file")
    if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IWOTH:
        raise SlimtraceError(
            f"cannot trust {file}: anyone may write it, and its commands would run as root",
            f"chmod o-w {file}",
        )
    sudo = os.environ.get("SUDO_UID", "")
    own = {0, os.getuid(), os.geteuid(), *([int(sudo)] if sudo.isdecimal() else ())}
    if not trusted and status.st_uid not in own:
        raise SlimtraceError(
            f"cannot trust {file}: it belongs to user {status.st_uid}, and its commands would run as root",
            f"if you do, say so: --config {file}",
        )


def options(values: dict[str, Any], folder: Path) -> list[str]:
    """The settings as words of the command line. Paths of this machine are relative to `folder`."""
    words: list[str] = []
    for key, value in values.items():
        form = _FORMS[key]
        if form in (Form.FLAG, Form.SWITCH):
            words += [f"--{key}"] if value else [f"--no-{key}"] if form is Form.SWITCH else []
        else:
            each = value if isinstance(value, list) else [value]
            if form in (Form.PLACE, Form.PLACES):
                each = [folder / place for place in each]
            words += [f"--{key}={item}" for item in each]
    return words
