"""Owner and mode that the user wants a path to have in the slim image, as ``PATH:MODE#UID#GID``."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts import paths
from slimtrace.facts.events import Doubt
from slimtrace.facts.tree import Entry, FileTree

_FORM = re.compile(r"(?s:(.*)):([0-7]{1,4})?(?:#([0-9]{1,10})?(?:#([0-9]{1,10})?)?)?")
_MAX_ID = (1 << 32) - 2  # chown(2): the last number, (uid_t) -1, means "leave it"


@dataclass(frozen=True, slots=True)
class Permissions:
    """What `path` is to have: `mode`, the 12 permission bits, the uid and the gid; None leaves what the image
    has."""

    path: str
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None

    def __str__(self) -> str:
        """The form that `parse` reads."""
        mode = "" if self.mode is None else f"{self.mode:04o}"
        ids = "".join("#" if number is None else f"#{number}" for number in (self.uid, self.gid))
        return f"{self.path}:{mode}{ids.rstrip('#') if self.gid is None else ids}"


def parse(text: str) -> Permissions:
    """Permissions from ``PATH:MODE#UID#GID``: the mode in octal; each of the three may be left out, but not
    all. Raises SlimtraceError (USAGE)."""
    found = _FORM.fullmatch(text)
    mode, *ids = found.groups()[1:] if found else (None, None, None)
    numbers = [None if number is None else int(number) for number in ids]
    if found is None or not found[1] or (mode, *ids) == (None,) * 3 or any((n or 0) > _MAX_ID for n in numbers):
        raise SlimtraceError(
            f"cannot set permissions by {paths.printable(text)!r}",
            "write PATH:MODE#UID#GID with an octal mode and numbers, such as /data:0750#1000#1000",
            Exit.USAGE,
        )
    return Permissions(found[1], None if mode is None else int(mode, 8), *numbers)


def parse_path_line(line: str) -> tuple[str, Permissions | None]:
    """A line of a list of paths: the path, and its permissions if ``:MODE#UID…`` follows. A colon without a
    ``#`` after it is part of the path."""
    found = _FORM.fullmatch(line)
    if found is None or not found[1] or "#" not in line[found.end(1) :]:
        return line, None
    requested = parse(line)
    return requested.path, requested


def changes(tree: FileTree, requested: tuple[Permissions, ...]) -> Mapping[str, Entry]:
    """The entries of `tree` that get other permissions, with these. Links on the way are followed, as chmod(1)
    does; all names of a hardlinked file change. Where one path is requested more than once, the last counts.
    Raises SlimtraceError for a path that the image does not have."""
    found: dict[str, Entry] = {}
    for change in requested:
        end = tree.resolve(change.path)
        if end.entry is None:
            raise SlimtraceError(
                f"cannot set the permissions of {paths.printable(change.path)}: the image does not have it",
                "`slimtrace info` and `docker run` show what it has",
            )
        for name in tree.hardlinks(end.path):
            entry = found.get(name, tree[name])
            mode = entry.mode if change.mode is None else change.mode
            uid = entry.uid if change.uid is None else change.uid
            gid = entry.gid if change.gid is None else change.gid
            found[name] = replace(entry, mode=mode, uid=uid, gid=gid)
    return found


def apply(tree: FileTree, requested: tuple[Permissions, ...]) -> FileTree:
    """`tree` with the permissions that are `requested`; the mode is the requested one, or else the image's,
    also where chown(2) would clear its setuid bit. Raises SlimtraceError as `changes`."""
    return tree.changed(changes(tree, requested))


def unkept(tree: FileTree, kept: Mapping[str, object], requested: tuple[Permissions, ...]) -> Iterator[Doubt]:
    """A doubt for each path whose permissions are `requested` and that is not kept."""
    for change in requested:
        if tree.resolve(change.path).path not in kept:
            text = f"{paths.printable(change.path)} is to have other permissions, but nothing keeps it"
            yield Doubt("unkept-path", text, change.path)


__all__ = ["Permissions", "apply", "changes", "parse", "parse_path_line", "unkept"]
