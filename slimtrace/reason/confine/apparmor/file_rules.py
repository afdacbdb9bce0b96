"""File rules: for the files that were used, and for those that are kept without a recorded use, each with the
letters that its use takes.

security/apparmor/file.c and lsm.c: stat is never refused; symlinks are resolved before the check, so that rules
name real paths; a directory's name ends with a slash; a program is also mapped (m) and read; a rename takes r
and w of the old name; the letters of a new hard link must be among those of the file.
"""

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import Confinement, Repairs
from slimtrace.facts.events import FileUse, Use
from slimtrace.facts.selection import Selection, Why
from slimtrace.facts.tree import Entry, FileTree, Kind
from slimtrace.reason.confine.apparmor.pathnames import kernel_path_glob, literal, permissions, volatile_glob
from slimtrace.reason.confine.apparmor.write_globs import WritableDirectories, writable_directories
from slimtrace.reason.keep.evidence import NOFOLLOW_CALLS, exec_session_test

# Reasons that come of a recorded use; the others keep files without one.
_LETTERS_BY_REASON = {
    Why.EXECUTED: "rmx",
    Why.INTERPRETER: "rmx",
    Why.NEEDED: "rm",
    Why.OPENED: "r",
    Why.LOOKED_AT: "r",  # its content is in the image too: the next run may read it
    Why.CHANGED: "r",  # the change itself is among the file uses
}
_LISTING_REASONS = frozenset(
    (Why.OPENED, Why.LISTED, Why.ENTERED, Why.CHANGED, Why.CONFIGURED, Why.RULE, Why.REPAIR)
)
# Kept, but not for use by the container: the package database for scanners, mount points for the runtime.
_REASONS_WITHOUT_USE = frozenset((Why.METADATA, Why.PARENT, Why.RUNTIME))
_LETTERS_BY_USE = {
    Use.READ: "r",
    Use.MAP: "rm",
    Use.EXEC: "rmx",
    Use.LIST: "r",
    Use.WRITE: "rwk",  # the trace does not tell O_RDWR from O_WRONLY
    Use.CHANGE: "w",
}
_SOCKET_CALLS = ("bind", "connect", "sendto", "sendmsg", "sendmmsg")
_RENAME_CALLS = ("rename", "renameat", "renameat2")
_LINK_CALLS = ("link", "linkat")
_DIRECTORY_CALLS = ("mkdir", "mkdirat", "rmdir")
# Errors that come before the profile is consulted, or that the profile may as well answer.
_IRRELEVANT_ERRORS = frozenset(
    (errno.ENOENT, errno.EPERM, errno.EACCES, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EROFS,
     errno.EEXIST, errno.EFAULT, errno.EBADF, errno.EINVAL, errno.ENOSYS)
)  # fmt: skip
_LIBRARY = re.compile(r"\.so(\.[0-9.]+)?\Z")
# Their files are reached by /proc/self/fd/N: they have no path, and need no rule.
_PATHLESS_FILE_SYSTEMS = ("pipefs", "sockfs", "anon_inodefs", "nsfs")


@dataclass(slots=True)
class FileRules:
    """The rules as they are collected: letters by pattern, which is to be put in quotes (pathnames.literal)."""

    tree: FileTree
    writable: WritableDirectories
    letters_by_pattern: dict[str, set[str]] = field(default_factory=dict)

    def allow(self, path: str, letters: str, foreign: bool = False) -> None:
        """Allow `letters` on `path`, which ends with a slash for a directory."""
        wanted = set(letters)
        if not wanted or not path.startswith("/"):
            return
        place = self.writable.containing(path.rstrip("/") or "/")
        if place and place != path:
            if path.rstrip("/") not in self.tree:
                self._add(subtree_glob(place), wanted)  # a library that is unpacked into a temporary directory
                return
            if wanted <= set("rwkl"):
                return
        elif self.writable.read_only and not foreign and not self._is_special(path):
            wanted -= set("wl")
        self._add(self._pattern(path), wanted)

    def _is_special(self, path: str) -> bool:
        """Whether a read-only file system does not refuse to write to it (fs/namei.c, sb_permission)."""
        entry = self.tree.get(path)
        return entry is not None and entry.kind in (Kind.FIFO, Kind.SOCKET, Kind.CHAR, Kind.BLOCK)

    def _pattern(self, path: str) -> str:
        if path.startswith(("/proc/", "/sys/")):
            return kernel_path_glob(path)
        if path.rstrip("/") in self.tree:
            return literal(path)
        slash = "/" if path.endswith("/") else ""
        path = path.rstrip("/") or "/"
        above = paths.parent(path)
        return f"{literal(above).rstrip('/')}/{volatile_glob(paths.name(path))}{slash}" if path != "/" else "/"

    def _add(self, pattern: str, letters: set[str]) -> None:
        if letters:
            self.letters_by_pattern.setdefault(pattern, set()).update(letters)


def subtree_glob(directory: str) -> str:
    """The pattern for a directory and all below it."""
    return f"{literal(directory)}/{{,**}}"


def rules(
    capture: Capture, selection: Selection, confinement: Confinement | None, repairs: Repairs
) -> dict[str, str]:
    """The permissions of each pattern."""
    tree, trace = capture.tree, capture.trace
    in_exec_session = exec_session_test(trace, capture.image)
    uses = [use for use in trace.uses if _is_mediated(use) and not in_exec_session(use.pid, use.origin)]
    written = ((real_path(tree, use), use.foreign) for use in uses if use.use in (Use.WRITE, Use.CHANGE))
    writable = writable_directories(
        capture.image, tree, (each for each in written if each[0]), confinement, repairs
    )
    files = FileRules(tree, writable)
    for directory in writable.directories:
        files.letters_by_pattern[subtree_glob(directory)] = set("rwkl")
    locks = "k" if any("flock" in group.calls for group in trace.calls) else ""
    for path, letters in _of_selection(capture, selection, repairs):
        files.allow(path, letters + (locks if letters == "r" and not path.endswith("/") else ""))
    opened = {use.resolved for use in uses if use.use in (Use.READ, Use.WRITE)}
    for use in uses:
        for path, letters in _of_use(tree, use, opened):
            files.allow(path, letters + (locks if use.use is Use.READ else ""), use.foreign)
    for run in trace.execs:
        if not in_exec_session(run.pid, run.origin):
            for name in (tree.resolve(paths.join(run.base, run.asked)).path, run.binary):
                files.allow(name, "rmx", run.foreign)
    return {pattern: permissions(letters) for pattern, letters in files.letters_by_pattern.items()}


def _is_mediated(use: FileUse) -> bool:
    return use.error not in _IRRELEVANT_ERRORS and use.filesystem not in _PATHLESS_FILE_SYSTEMS


def real_path(tree: FileTree, use: FileUse) -> str:
    """The real path of a use: the resolved one of an opened file, else the asked one with its symlinks followed
    as far as the image has them; "" where it is not known."""
    if use.resolved.startswith("/"):
        return paths.clean(use.resolved)
    if use.truncated or not use.asked or not (use.base or use.asked.startswith("/")):
        return ""
    return tree.resolve(paths.join(use.base, use.asked), follow_last=use.call not in NOFOLLOW_CALLS).path


def _of_use(tree: FileTree, use: FileUse, opened: set[str]) -> Iterator[tuple[str, str]]:
    path = real_path(tree, use)
    letters = _LETTERS_BY_USE.get(use.use, "")
    if use.call in _SOCKET_CALLS:
        letters = "rw"  # kernels that mediate UNIX sockets by their files want both
    elif use.call in _RENAME_CALLS:
        letters = "rw"
    elif use.call in _LINK_CALLS:
        letters = "rwkl"
    if not path or not letters:
        return
    entry = tree.get(path)
    is_directory = (
        use.use is Use.LIST or use.call in _DIRECTORY_CALLS or (entry is not None and entry.kind is Kind.DIR)
    )
    if is_directory:
        yield directory_name(path), "".join(letter for letter in letters if letter in "rw")
        return
    yield path, letters
    if (
        use.use is Use.CHANGE
        and entry is None
        and path not in opened
        and use.call not in (*_SOCKET_CALLS, *_LINK_CALLS)
    ):
        yield directory_name(path), letters  # it may have been a directory


def _of_selection(capture: Capture, selection: Selection, repairs: Repairs) -> Iterator[tuple[str, str]]:
    tree = capture.tree
    kept = {path: {reason.why for reason in reasons} for path, reasons in selection.kept.items()}
    for path in repairs.paths:
        kept.setdefault(tree.resolve(path).path, set()).add(Why.REPAIR)
    for path, whys in kept.items():
        entry = tree.get(path)
        if entry is None or entry.kind is Kind.LINK:
            continue
        if entry.kind is Kind.DIR:
            if whys & _LISTING_REASONS:
                yield directory_name(path), "r"
            continue
        if not_from_use := whys - _LETTERS_BY_REASON.keys() - _REASONS_WITHOUT_USE:
            yield path, _letters_by_kind(capture, entry)
            if not_from_use != {Why.CONFIGURED}:
                # The program that loads the file may list its directory first.
                yield directory_name(paths.parent(path)), "r"
        yield path, "".join(_LETTERS_BY_REASON.get(why, "") for why in whys)
        if Why.OPENED in whys and capture.contents.elf(path):
            yield path, "m"  # a library that was dlopened


def _letters_by_kind(capture: Capture, entry: Entry) -> str:
    """The letters for a file without a recorded use, by what kind of file it is."""
    if entry.kind is not Kind.FILE:
        return "r" if entry.kind is Kind.SOCKET else "rw"
    elf = capture.contents.elf(entry.path)
    if (elf is not None and elf.soname) or _LIBRARY.search(entry.path):
        return "rm"
    if entry.mode & 0o111:
        return "rx" if (capture.contents.head(entry.path) or b"").startswith(b"#!") else "rmx"
    return "rm" if elf is not None else "r"


def directory_name(path: str) -> str:
    """The path of a directory as a rule has it, with a slash at the end."""
    return path if path.endswith("/") else path + "/"
