"""File rules: what was seen used, and what is kept beside, each with the letters that its use takes.

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
from slimtrace.reason.confine.apparmor import write_globs as placing
from slimtrace.reason.confine.apparmor.pathnames import literal, of_system, permissions, varying
from slimtrace.reason.confine.apparmor.write_globs import Places
from slimtrace.reason.keep.evidence import ON_LINKS, strangers

# Reasons that come of a use; the others keep files that nobody was seen to use.
_BY_REASON = {
    Why.EXECUTED: "rmx",
    Why.INTERPRETER: "rmx",
    Why.NEEDED: "rm",
    Why.OPENED: "r",
    Why.LOOKED_AT: "r",  # its content is in the image too: the next run may read it
    Why.CHANGED: "r",  # what was done with it is among the uses
}
_LISTED = frozenset((Why.OPENED, Why.LISTED, Why.ENTERED, Why.CHANGED, Why.CONFIGURED, Why.RULE, Why.REPAIR))
# What is kept and not used by the container: for scanners the package database, for the runtime mount points.
_UNUSED = frozenset((Why.METADATA, Why.PARENT, Why.RUNTIME))
_BY_USE = {
    Use.READ: "r",
    Use.MAP: "rm",
    Use.EXEC: "rmx",
    Use.LIST: "r",
    Use.WRITE: "rwk",  # the trace does not tell O_RDWR from O_WRONLY
    Use.CHANGE: "w",
}
_SOCKETS = ("bind", "connect", "sendto", "sendmsg", "sendmmsg")
_RENAMES = ("rename", "renameat", "renameat2")
_LINKS = ("link", "linkat")
_FOLDERS = ("mkdir", "mkdirat", "rmdir")
# Errors that come before the profile is asked, or that it may as well answer.
_UNREACHED = frozenset(
    (errno.ENOENT, errno.EPERM, errno.EACCES, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EROFS,
     errno.EEXIST, errno.EFAULT, errno.EBADF, errno.EINVAL, errno.ENOSYS)
)  # fmt: skip
_LIBRARY = re.compile(r"\.so(\.[0-9.]+)?\Z")
_NAMELESS = ("pipefs", "sockfs", "anon_inodefs", "nsfs")  # reached by /proc/self/fd/N; no path, no rule


@dataclass(slots=True)
class Files:
    """The rules as they come: letters by pattern, to be put in quotes (names.literal)."""

    tree: FileTree
    places: Places
    found: dict[str, set[str]] = field(default_factory=dict)

    def allow(self, path: str, letters: str, foreign: bool = False) -> None:
        """Allow `letters` on `path`, which ends with a slash for a directory."""
        wanted = set(letters)
        if not wanted or not path.startswith("/"):
            return
        place = self.places.of(path.rstrip("/") or "/")
        if place and place != path:
            if path.rstrip("/") not in self.tree:
                self._add(everything(place), wanted)  # a library that is unpacked into a temporary directory
                return
            if wanted <= set("rwkl"):
                return
        elif self.places.read_only and not foreign and not self._special(path):
            wanted -= set("wl")
        self._add(self._pattern(path), wanted)

    def _special(self, path: str) -> bool:
        """Whether a read-only file system does not refuse to write to it (fs/namei.c, sb_permission)."""
        entry = self.tree.get(path)
        return entry is not None and entry.kind in (Kind.FIFO, Kind.SOCKET, Kind.CHAR, Kind.BLOCK)

    def _pattern(self, path: str) -> str:
        if path.startswith(("/proc/", "/sys/")):
            return of_system(path)
        if path.rstrip("/") in self.tree:
            return literal(path)
        slash = "/" if path.endswith("/") else ""
        path = path.rstrip("/") or "/"
        above = paths.parent(path)
        return f"{literal(above).rstrip('/')}/{varying(paths.name(path))}{slash}" if path != "/" else "/"

    def _add(self, pattern: str, letters: set[str]) -> None:
        if letters:
            self.found.setdefault(pattern, set()).update(letters)


def everything(directory: str) -> str:
    """The pattern for a directory and all below it."""
    return f"{literal(directory)}/{{,**}}"


def rules(
    capture: Capture, selection: Selection, confinement: Confinement | None, repairs: Repairs
) -> dict[str, str]:
    """The letters of each pattern."""
    tree, trace = capture.tree, capture.trace
    stranger = strangers(trace, capture.image)
    uses = [use for use in trace.uses if _counts(use) and not stranger(use.pid, use.origin)]
    written = ((real(tree, use), use.foreign) for use in uses if use.use in (Use.WRITE, Use.CHANGE))
    free = placing.places(capture.image, tree, (each for each in written if each[0]), confinement, repairs)
    files = Files(tree, free)
    for place in free.free:
        files.found[everything(place)] = set("rwkl")
    locks = "k" if any("flock" in group.calls for group in trace.calls) else ""
    for path, letters in _of_selection(capture, selection, repairs):
        files.allow(path, letters + (locks if letters == "r" and not path.endswith("/") else ""))
    opened = {use.resolved for use in uses if use.use in (Use.READ, Use.WRITE)}
    for use in uses:
        for path, letters in _of_use(tree, use, opened):
            files.allow(path, letters + (locks if use.use is Use.READ else ""), use.foreign)
    for run in trace.execs:
        if not stranger(run.pid, run.origin):
            for name in (tree.resolve(paths.join(run.base, run.asked)).path, run.binary):
                files.allow(name, "rmx", run.foreign)
    return {pattern: permissions(letters) for pattern, letters in files.found.items()}


def _counts(use: FileUse) -> bool:
    return use.error not in _UNREACHED and use.filesystem not in _NAMELESS


def real(tree: FileTree, use: FileUse) -> str:
    """Where a use really went: an opened file's own path; of the rest the asked one, with its links followed as
    far as the image knows them; "" where that is not known."""
    if use.resolved.startswith("/"):
        return paths.clean(use.resolved)
    if use.truncated or not use.asked or not (use.base or use.asked.startswith("/")):
        return ""
    return tree.resolve(paths.join(use.base, use.asked), follow_last=use.call not in ON_LINKS).path


def _of_use(tree: FileTree, use: FileUse, opened: set[str]) -> Iterator[tuple[str, str]]:
    path = real(tree, use)
    letters = _BY_USE.get(use.use, "")
    if use.call in _SOCKETS:
        letters = "rw"  # what kernels that mediate UNIX sockets by their files want
    elif use.call in _RENAMES:
        letters = "rw"
    elif use.call in _LINKS:
        letters = "rwkl"
    if not path or not letters:
        return
    entry = tree.get(path)
    is_folder = use.use is Use.LIST or use.call in _FOLDERS or (entry is not None and entry.kind is Kind.DIR)
    if is_folder:
        yield folder(path), "".join(letter for letter in letters if letter in "rw")
        return
    yield path, letters
    if use.use is Use.CHANGE and entry is None and path not in opened and use.call not in (*_SOCKETS, *_LINKS):
        yield folder(path), letters  # it may have been a directory


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
            if whys & _LISTED:
                yield folder(path), "r"
            continue
        if unseen := whys - _BY_REASON.keys() - _UNUSED:
            yield path, _by_kind(capture, entry)
            if unseen != {Why.CONFIGURED}:
                yield folder(paths.parent(path)), "r"  # who loads it may look for it first
        yield path, "".join(_BY_REASON.get(why, "") for why in whys)
        if Why.OPENED in whys and capture.contents.elf(path):
            yield path, "m"  # a library that was dlopened


def _by_kind(capture: Capture, entry: Entry) -> str:
    """What the use of a file that nobody was seen to use would take."""
    if entry.kind is not Kind.FILE:
        return "r" if entry.kind is Kind.SOCKET else "rw"
    elf = capture.contents.elf(entry.path)
    if (elf is not None and elf.soname) or _LIBRARY.search(entry.path):
        return "rm"
    if entry.mode & 0o111:
        return "rx" if (capture.contents.head(entry.path) or b"").startswith(b"#!") else "rmx"
    return "rm" if elf is not None else "r"


def folder(path: str) -> str:
    """The name of a directory."""
    return path if path.endswith("/") else path + "/"
