"""A run's work directory: all temporary files of the run are below it, and it is removed at the end."""

import os
import re
import shutil
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from slimtrace import owner
from slimtrace.errors import Exit, SlimtraceError

DEFAULT_STATE = Path("/var/lib/slimtrace")
_NAME = re.compile(r"(\d+)-(\d+)(?:-\d+)?")


def state_folder() -> Path:
    """The directory for slimtrace's work directories: SLIMTRACE_STATE, else /var/lib/slimtrace."""
    return Path(os.environ.get("SLIMTRACE_STATE") or DEFAULT_STATE).absolute()


class Workplace:
    """A private directory (mode 0700) below ``state_folder()/run``, named after this process (slimtrace.owner),
    so that `sweep` knows when the process is gone. A context manager; `path` is valid in its block."""

    def __init__(self) -> None:
        self.path = Path()

    def __enter__(self) -> Self:
        runs = _runs_folder()
        name = owner.current().replace(":", "-")
        for turn in range(100):
            self.path = runs / (f"{name}-{turn}" if turn else name)
            try:
                self.path.mkdir(mode=0o700)
            except FileExistsError:
                continue
            except OSError as error:
                raise _error_for("make the work directory", self.path, error) from error
            return self
        raise SlimtraceError(
            f"cannot make the work directory {self.path}: too many of them", exit_code=Exit.INTERNAL
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def require_space(self, size: int, engine: str = "", hint: str = "") -> None:
        """Raise SlimtraceError (NO_SPACE) unless `size` more bytes fit on the work directory's file system, and
        as many on that of the directory `engine`, where the engine keeps its images (which may not be on this
        machine). `hint` is a further remedy for the message."""
        hint = f"{hint}, or " if hint else ""
        engine_store = Path(engine) if engine and Path(engine).is_dir() else None
        shared = engine_store is not None and engine_store.stat().st_dev == self.path.stat().st_dev
        places = [(self.path.parent, 2 * size if shared else size, "point SLIMTRACE_STATE at a larger disk")]
        if engine_store and not shared:
            places.append((engine_store, size, "see docker system df"))
        for place, wanted, remedy in places:
            room = shutil.disk_usage(place).free
            if room < wanted:
                raise SlimtraceError(
                    f"cannot work in {place}: {wanted >> 20} MiB are needed, {room >> 20} MiB are free",
                    f"{hint}make room, or {remedy}",
                    Exit.NO_SPACE,
                )


def sweep() -> int:
    """Remove the work directories of processes that are gone; the number of directories removed."""
    removed = 0
    runs = state_folder() / "run"
    try:
        found = list(os.scandir(runs))
    except OSError:
        return 0
    for entry in found:
        match = _NAME.fullmatch(entry.name)
        if match and entry.is_dir(follow_symlinks=False) and not owner.alive(f"{match[1]}:{match[2]}"):
            shutil.rmtree(entry.path, ignore_errors=True)
            removed += 1
    return removed


def _runs_folder() -> Path:
    """``state_folder()/run``, made if need be. Raises SlimtraceError where another user could replace it."""
    runs = state_folder() / "run"
    try:
        runs.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = runs.lstat()
        if found.st_uid == 0 != os.geteuid():
            raise PermissionError
    except OSError as error:
        raise _error_for("make the work directory", runs, error) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise SlimtraceError(
            f"cannot work in {runs}: it is not a directory that only its owner can change",
            "remove it, or point SLIMTRACE_STATE elsewhere",
        )
    return runs


def _error_for(doing: str, path: Path, error: OSError) -> SlimtraceError:
    if isinstance(error, PermissionError):
        return SlimtraceError(
            f"cannot {doing} {path}: permission denied", "run slimtrace with sudo", Exit.NOT_ROOT
        )
    code = Exit.NO_SPACE if error.errno in (28, 122) else Exit.BAD_INPUT
    return SlimtraceError(
        f"cannot {doing} {path}: {error.strerror}", "SLIMTRACE_STATE names another place", code
    )
