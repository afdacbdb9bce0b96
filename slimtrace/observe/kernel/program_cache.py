"""The BPF programs as the compiler made them, kept in files from one run to the next.

The cache is a help, never a need: where anything is wrong with it the programs are compiled again.
"""

import base64
import hashlib
import json
import os
import platform
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slimtrace import data

DEFAULT_CACHE = Path("/var/cache/slimtrace")
FILES = 8  # for kernels, and variants of the programs on each
MAX_BYTES = 4 << 20  # of one file; the programs take 80 KiB
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Compiled:
    """Programs by name, as instructions that have an index into `maps`, their names, where a map is meant."""

    maps: tuple[str, ...]
    programs: dict[str, bytes]


def cache_folder() -> Path:
    """Where programs are kept: SLIMTRACE_CACHE, else /var/cache/slimtrace."""
    return Path(os.environ.get("SLIMTRACE_CACHE") or DEFAULT_CACHE).absolute()


def key(text: str, flags: Sequence[str], compiler: str) -> str:
    """The file name for what this text compiles to with these flags, on this kernel."""
    shim = sorted(path for path in (data.folder("bpf") / "include").rglob("*") if path.is_file())
    parts = [str(_FORMAT), compiler, platform.machine(), platform.release(), platform.version(), text, *flags]
    return hashlib.sha256(json.dumps([*parts, *(path.read_text() for path in shim)]).encode()).hexdigest()


def store(name: str, compiled: Compiled) -> None:
    """Store the programs as `name`, in place of what is stored there; where that is impossible do nothing."""
    programs = {each: base64.b64encode(code).decode() for each, code in compiled.programs.items()}
    text = json.dumps({"maps": compiled.maps, "programs": programs})
    with suppress(OSError):
        folder = cache_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = _own(folder)
        try:
            # The file has no name until it is whole: a process that is killed here leaves nothing behind.
            file = os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o600, dir_fd=directory)
            with os.fdopen(file, "w") as out:
                out.write(text)
                out.flush()
                _make_room(directory, name)
                os.link(f"/proc/self/fd/{file}", name, dst_dir_fd=directory, follow_symlinks=True)
        finally:
            os.close(directory)


def load(name: str) -> Compiled | None:
    """The programs that are stored as `name`; None where there are none, or none that `store` has written."""
    try:
        directory = _own(cache_folder())
        try:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        finally:
            os.close(directory)
        with os.fdopen(file, "rb") as source:
            found = json.loads(source.read(MAX_BYTES))
        programs = {name: base64.b64decode(code, validate=True) for name, code in found["programs"].items()}
        return Compiled(tuple(map(str, found["maps"])), programs)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None


def _own(folder: Path) -> int:
    """A descriptor of the folder. Raises PermissionError where somebody else may write there: the kernel runs
    what is stored there."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    state = os.fstat(directory)
    if state.st_uid != os.geteuid() or stat.S_IMODE(state.st_mode) & 0o022:
        os.close(directory)
        raise PermissionError(f"{folder} is not ours alone")
    return directory


def _make_room(directory: int, name: str) -> None:
    """Remove `name` if it is there, and the oldest of the other files where there are too many."""
    with os.scandir(directory) as entries:
        others = [(entry.stat(follow_symlinks=False).st_mtime_ns, entry.name) for entry in entries]
    others = sorted(other for other in others if other[1] != name)
    for gone in (name, *(other for _, other in others[: max(0, len(others) - FILES + 1)])):
        with suppress(FileNotFoundError):
            os.unlink(gone, dir_fd=directory)
