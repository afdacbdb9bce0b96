"""The folder of artifacts: it appears all at once, belongs to the user who called sudo, and replaces nothing
but an earlier folder of artifacts.

The folder may be in a directory that its user can write to, while slimtrace is root: every access goes through
directory descriptors, and no symlink at the target is followed.
"""

import ctypes
import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from slimtrace import signals
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.paths import printable
from slimtrace.owner import alive, current

SUMS = "SHA256SUMS"  # names the files that slimtrace wrote; a folder without it is not one of ours
_RENAME_EXCHANGE = 2

_libc = ctypes.CDLL(None, use_errno=True)


def write(folder: Path, files: Mapping[str, bytes | str]) -> None:
    """Write `files` (by name; a name may begin with one folder: ``capture/tree.jsonl.gz``) as `folder`, with
    their checksums in SHA256SUMS (sha256sum(1) reads it). Raises SlimtraceError if `folder` is a symlink, is
    no directory, or holds files that an earlier call did not write; NO_SPACE for a full disk."""
    folder = folder.absolute()
    content = {name: data.encode() if isinstance(data, str) else data for name, data in files.items()}
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(content.items())]
    content[SUMS] = "".join(lines).encode()
    owner = _sudo_user()
    with signals.deferred(), _parent(folder, owner) as parent:
        exists = _refuse_foreign_files(folder, parent)
        _sweep(folder, parent)
        temporary = _temporary(folder)
        try:
            _make_folder(parent, temporary, content, owner)
            if exists:
                _exchange(parent, temporary, folder.name)
            else:
                os.rename(temporary, folder.name, src_dir_fd=parent, dst_dir_fd=parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True, dir_fd=parent)


def check(folder: Path) -> None:
    """Raise SlimtraceError where `write` would, as far as that can be known before there are files to write;
    and remove the unfinished folder that a killed `write` has left."""
    folder = folder.absolute()
    if folder.name in ("", ".."):
        raise SlimtraceError(
            f"cannot write the artifacts {printable(str(folder))}: it is not a folder of its own",
            "choose another folder with --artifacts",
        )
    nearest = next(above for above in folder.parents if os.path.lexists(above))
    attempt = nearest / _temporary(folder)
    with signals.deferred(), _as_slimtrace_error(folder):
        attempt.mkdir()
        attempt.rmdir()
    if nearest == folder.parent:
        with _parent(folder, None) as parent:
            _refuse_foreign_files(folder, parent)
            _sweep(folder, parent)


def remove(folder: Path) -> None:
    """Remove a folder that `write` has made; nothing happens if there is no such folder."""
    folder = folder.absolute()
    if not folder.parent.is_dir():
        return
    with _parent(folder, None) as parent:
        if _refuse_foreign_files(folder, parent):
            shutil.rmtree(folder.name, dir_fd=parent)


def _temporary(folder: Path) -> str:
    """The name of the folder while it is being made, which has the name of this process (slimtrace.owner)."""
    return f".{folder.name}.{current().replace(':', '-')}"


def _sweep(folder: Path, parent: int) -> None:
    """Remove the unfinished folders of processes that are gone."""
    pattern = re.compile(rf"\.{re.escape(folder.name)}\.(\d+)-(\d+)(\.old)?")
    for name in os.listdir(parent):
        match = pattern.fullmatch(name)
        if match and not alive(f"{match[1]}:{match[2]}"):
            shutil.rmtree(name, ignore_errors=True, dir_fd=parent)


def _sudo_user() -> tuple[int, int] | None:
    """The uid and gid of the user who called sudo; None where this process is not root by way of sudo."""
    uid, gid = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    return (int(uid), int(gid)) if os.geteuid() == 0 and uid.isdecimal() and gid.isdecimal() else None


@contextmanager
def _parent(folder: Path, owner: tuple[int, int] | None) -> Iterator[int]:
    """A descriptor of the directory above `folder`, which is made if need be; an OSError in the block becomes a
    SlimtraceError."""
    with _as_slimtrace_error(folder):
        missing = [above for above in folder.absolute().parents if not above.exists()]
        for above in reversed(missing):
            above.mkdir(exist_ok=True)
            made = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            _set_mode_and_owner(made, 0o755, owner)
            os.close(made)
        parent = os.open(folder.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield parent
        finally:
            os.close(parent)


@contextmanager
def _as_slimtrace_error(folder: Path) -> Iterator[None]:
    """An OSError in the block becomes the SlimtraceError that `folder` cannot be written."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise SlimtraceError(
            f"cannot write the artifacts {printable(str(folder))}: {error.strerror}",
            "choose another place with --artifacts",
            Exit.NO_SPACE if full else Exit.BAD_INPUT,
        ) from error


def _refuse_foreign_files(folder: Path, parent: int) -> bool:
    """Whether `folder` exists. Raises SlimtraceError if it holds files that an earlier `write` did not make."""
    shown = printable(str(folder))
    hint = "choose another folder with --artifacts"
    try:
        status = os.stat(folder.name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        kind = "a symlink" if stat.S_ISLNK(status.st_mode) else "not a folder"
        raise SlimtraceError(f"cannot write the artifacts {shown}: it is {kind}", hint)
    here = os.open(folder.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        written = {name.partition("/")[0] for name in _names_in_sums(here)}
        foreign = sorted(set(os.listdir(here)) - written)
    finally:
        os.close(here)
    if foreign:
        raise SlimtraceError(
            f"cannot write the artifacts {shown}: it holds other files ({printable(foreign[0])})", hint
        )
    return True


def _names_in_sums(here: int) -> set[str]:
    """The names in the folder's SHA256SUMS, and that file itself."""
    try:
        sums = os.open(SUMS, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here)
    except OSError:
        return set()
    with os.fdopen(sums, "rb") as file:
        text = file.read(1 << 20).decode("utf-8", "surrogateescape")
    return {line.partition("  ")[2] for line in text.splitlines()} | {SUMS}


def _make_folder(parent: int, name: str, content: Mapping[str, bytes], owner: tuple[int, int] | None) -> None:
    """Make the folder `name` with its files. Each directory is given to `owner` after everything in it is
    made."""
    os.mkdir(name, 0o700, dir_fd=parent)
    here = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    opened = {"": here}
    try:
        for path, data in content.items():
            above, _, base = path.rpartition("/")
            if above not in opened:
                os.mkdir(above, 0o700, dir_fd=here)
                opened[above] = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(base, flags, 0o600, dir_fd=opened[above]), "wb") as file:
                file.write(data)
                _set_mode_and_owner(file.fileno(), 0o644, owner)
        for directory in reversed(opened.values()):
            _set_mode_and_owner(directory, 0o755, owner)
    finally:
        for directory in opened.values():
            os.close(directory)


def _set_mode_and_owner(descriptor: int, mode: int, owner: tuple[int, int] | None) -> None:
    os.fchmod(descriptor, mode)
    if owner:
        os.fchown(descriptor, *owner)


def _exchange(parent: int, new: str, old: str) -> None:
    """Swap the two names atomically (renameat2(2)); where the file system cannot, rename one after the
    other."""
    names = os.fsencode(new), os.fsencode(old)
    if _libc.renameat2(parent, names[0], parent, names[1], _RENAME_EXCHANGE) == 0:
        return
    with suppress(FileNotFoundError):
        os.rename(old, f"{new}.old", src_dir_fd=parent, dst_dir_fd=parent)
    os.rename(new, old, src_dir_fd=parent, dst_dir_fd=parent)
    shutil.rmtree(f"{new}.old", ignore_errors=True, dir_fd=parent)
