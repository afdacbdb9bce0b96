"""Where a container writes, and which directories must stay writable when its root is read-only.

A directory is needed where something in it was created, removed, renamed, opened for writing or given other
metadata, with success, by the container's own programs, on the root's own file system: what lies on a volume or
another mount is writable anyway. What a read-only file system does not refuse (fs/namei.c, sb_permission:
devices, fifos and sockets that are there) is no need.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import Writable
from slimtrace.facts.events import FileUse, Use
from slimtrace.facts.selection import Selection, Why
from slimtrace.facts.tree import FileTree, Kind
from slimtrace.reason.confine.volatile_names import masked
from slimtrace.reason.keep.evidence import ON_LINKS, strangers

MAX_PLACES = 32  # directories; a container that writes in more is not confined by a list of them
# Writable, these would give away what a read-only root is for: programs, libraries, the system's configuration.
_BROAD = """
/ /bin /boot /etc /home /lib /lib32 /lib64 /libx32 /media /mnt /opt /sbin /srv /usr /usr/bin
/usr/lib /usr/lib32 /usr/lib64 /usr/libexec /usr/libx32 /usr/local /usr/local/bin /usr/local/lib
/usr/local/sbin /usr/sbin /usr/share /var /var/lib
"""
BROAD = frozenset(_BROAD.split())
# What does not outlast a restart, by hier(7), and directories that are named so.
_PASSING = ("/run", "/tmp", "/var/cache", "/var/lock", "/var/run", "/var/tmp")
_PASSING_NAMES = frozenset((".cache", "cache", "lock", "run", "sessions", "temp", "tmp"))
# Mounted by every runtime (OCI runtime-spec config-linux.md, and the engine's three files).
_ENGINES = ("/dev", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/proc", "/sys")
_TO_SOCKETS = frozenset(("connect", "sendto", "sendmsg"))
# Calls that change what names a directory has, not what a file is like.
_NAMES = """
bind mkdir mkdirat mknod mknodat rmdir unlink unlinkat symlink symlinkat link linkat rename renameat renameat2
"""
_NAMING = frozenset(_NAMES.split())
_MAKES_DIRECTORY = frozenset(("mkdir", "mkdirat"))
_TAKES_AWAY = frozenset(("rename", "renameat", "renameat2", "rmdir", "unlink", "unlinkat"))
_BYTECODE = "__pycache__"  # which Python does without (docs.python.org, PYTHONDONTWRITEBYTECODE)
_OWN_REASONS = frozenset((Why.PARENT, Why.RUNTIME, Why.LOOKED_AT))  # of a directory, that an empty place meets


@dataclass(frozen=True, slots=True)
class Places:
    """Whether the root can be read-only, why, where it must be writable then, and what is to be noted."""

    read_only: bool
    reason: str
    writable: tuple[Writable, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Seen:
    """What is collected: the directories that are needed with the paths written there, the paths that cannot be
    made writable, directories that were made, names that were taken away, and whether bytecode was written."""

    needed: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    unfit: dict[str, str] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    bytecode: str = ""


def places(
    capture: Capture,
    selection: Selection,
    owner: tuple[int | None, int | None],
    more: Iterable[str] = (),
) -> Places:
    """Where the run wrote, and `more` directories that a trial could not write in. A directory that the image
    does not have belongs to `owner`, the user and group that the container starts as."""
    tree = capture.tree
    elsewhere = _mounted(capture)
    seen = _Seen()
    written = sorted({(path, use.call, use.use, use.program) for path, use in _written(capture, elsewhere)})
    for path, call, _, _ in written:
        if call in _MAKES_DIRECTORY:
            seen.made.add(path)
        if call in _TAKES_AWAY:
            seen.taken.add(path)
    for path, call, _, program in written:
        _need(tree, path, call, program, seen)
    for path in more:
        _repair(tree, paths.clean(path), elsewhere, seen)
    for path in seen.made & BROAD - tree.entries.keys():
        if not any(paths.below(place, path) for place in seen.needed):
            seen.unfit[path] = "nothing below it can be made writable in its stead"
    for path in [path for path in seen.needed if not _mountable(path)]:
        seen.unfit[path] = "its name cannot be written in an option of docker run"
    notes = list(_notes(capture, seen))
    if not seen.unfit and len(seen.needed) > MAX_PLACES:
        seen.unfit[min(seen.needed)] = f"it is one of {len(seen.needed)} directories that are written in"
    if seen.unfit:
        path = min(seen.unfit)
        text = f"{paths.printable(path)} is written, and {seen.unfit[path]}"
        hint = "write below /tmp or /run, or below a directory of its own, which can be made writable alone"
        return Places(False, text, (), (*notes, f"a read-only root is not possible: {text}; {hint}"))
    writable = tuple(_chosen(capture, selection, seen, owner, elsewhere))
    if writable:
        reason = f"{len(writable)} {'directory is' if len(writable) == 1 else 'directories are'} written in"
    else:
        reason = "nothing was written outside of volumes and what the engine mounts"
    if capture.image.volumes:
        reason += (
            f"; volumes of the image stay writable: {', '.join(map(paths.printable, capture.image.volumes))}"
        )
    return Places(True, reason, writable, tuple(notes))


def _mounted(capture: Capture) -> tuple[str, ...]:
    """Where something else than the image's files is mounted."""
    mounts = (mount.path for mount in capture.trace.mounts if mount.path != "/")
    return tuple(sorted({*_ENGINES, *mounts, *_volumes(capture)}))


def _volumes(capture: Capture) -> Iterator[str]:
    """Where the image's volumes are mounted: the engine follows links on the way there."""
    return (capture.tree.resolve(volume).path for volume in capture.image.volumes)


def _written(capture: Capture, elsewhere: Collection[str]) -> Iterator[tuple[str, FileUse]]:
    """What the container's own programs wrote on the root's file system, and how."""
    tree = capture.tree
    stranger = strangers(capture.trace, capture.image)
    for use in capture.trace.uses:
        if use.use not in (Use.WRITE, Use.CHANGE) or use.error or use.foreign or use.call in _TO_SOCKETS:
            continue
        path = _real(tree, use)
        if not path or _within(path, elsewhere) or stranger(use.pid, use.origin):
            continue
        entry = tree.get(path)
        special = entry is not None and entry.kind in (Kind.FIFO, Kind.CHAR, Kind.BLOCK)
        if not (special and use.use is Use.WRITE):
            yield path, use


def _real(tree: FileTree, use: FileUse) -> str:
    if use.resolved.startswith("/") and use.resolved != "/":
        return use.resolved
    if use.truncated or not use.asked or not (use.base or use.asked.startswith("/")):
        return use.resolved
    return tree.resolve(paths.join(use.base, use.asked), follow_last=use.call not in ON_LINKS).path


def _within(path: str, directories: Iterable[str]) -> bool:
    return any(paths.below(path, directory) for directory in directories)


def _need(tree: FileTree, path: str, call: str, program: str, seen: _Seen) -> None:
    """Note the directory that must be writable for `call` on `path`."""
    if paths.name(paths.parent(path)) == _BYTECODE or paths.name(path) == _BYTECODE:
        seen.bytecode = seen.bytecode or path
        return
    itself = call not in _NAMING and (entry := tree.get(path)) is not None and entry.kind is Kind.DIR
    directory = path if itself else paths.parent(path)
    anchor = _existing(tree, directory)
    if anchor in BROAD:
        # Of what the program makes in such a place the topmost directory can be there before: mkdir -p and its
        # like are content with EEXIST, which comes before EROFS (fs/namei.c, filename_create).
        way = (*reversed(tuple(paths.parents(path))), path)
        top = next((each for each in way if each not in BROAD), path)
        if path in BROAD and path in seen.made and path not in seen.taken:
            return  # a directory on the way to what is made in it
        if itself or top in BROAD or top in seen.taken or (top == path and top not in seen.made):
            seen.unfit.setdefault(path, f"{anchor} holds what must not be written")
            return
        anchor = top
    seen.needed.setdefault(anchor, []).append((path, program))


def _existing(tree: FileTree, directory: str) -> str:
    """The nearest directory of the image, `directory` or above it."""
    while (entry := tree.get(directory)) is None or entry.kind is not Kind.DIR:
        directory = paths.parent(directory)
    return directory


def _repair(tree: FileTree, path: str, elsewhere: Collection[str], seen: _Seen) -> None:
    end = tree.resolve(path)
    directory = end.path if end.entry is None or end.entry.kind is Kind.DIR else paths.parent(end.path)
    if _within(directory, elsewhere) or paths.name(directory) == _BYTECODE:
        return
    if directory in BROAD:
        seen.unfit.setdefault(path, f"{directory} holds what must not be written")
        return
    seen.needed.setdefault(directory, [])


def _mountable(path: str) -> bool:
    """Whether docker run's --tmpfs and --volume and a Kubernetes mountPath can say it: no colon or comma, which
    part their words, and nothing that cannot be printed."""
    return path.isprintable() and not any(char in path for char in ':,"')


def _chosen(
    capture: Capture,
    selection: Selection,
    seen: _Seen,
    owner: tuple[int | None, int | None],
    elsewhere: Collection[str],
) -> Iterator[Writable]:
    """The places, outermost first. One inside another is left out, unless the outer one begins empty and the
    image has the inner one."""
    run_from = _run_from(capture)
    chosen: dict[str, Writable] = {}
    for path in sorted(seen.needed):
        outer = next((chosen[above] for above in paths.parents(path) if above in chosen), None)
        if outer is not None and (outer.volume or path not in capture.tree):
            continue
        entry = capture.tree.get(path)
        uid, gid = (owner[0] or 0, owner[1] or 0) if entry is None else (entry.uid, entry.gid)
        volume = not _passing(path) or _holds(capture.tree, selection, path, seen, elsewhere)
        chosen[path] = Writable(
            path,
            volume=volume,
            mode=0o755 if entry is None else entry.mode,
            uid=uid,
            gid=gid,
            reason=_reason(path, seen.needed[path], capture.tree),
            executable=not volume and any(paths.below(each, path) for each in run_from),
        )
    return iter(chosen.values())


def _passing(path: str) -> bool:
    """Whether what is written there need not outlast the container's end."""
    return _within(path, _PASSING) or not _PASSING_NAMES.isdisjoint(path.split("/"))


def _holds(tree: FileTree, selection: Selection, path: str, seen: _Seen, elsewhere: Collection[str]) -> bool:
    """Whether the image has something below `path` that is kept and would be missed: more than directories that
    are on the way somewhere, that are made writable on their own, or where something is mounted."""
    kept: Mapping[str, object] = selection.kept
    for below in tree.subtree(path)[1:]:
        if below not in kept or below in elsewhere or _within(paths.parent(below), elsewhere):
            continue
        if tree[below].kind is not Kind.DIR or below in seen.taken:
            return True
        whys = {reason.why for reason in selection.kept[below]}
        if not whys <= _OWN_REASONS and below not in seen.needed:
            return True
    return False


def _reason(path: str, written: list[tuple[str, str]], tree: FileTree) -> str:
    if not written:
        return "repair: the slim image could not write there when it was tried"
    # The same in every run: names of the image before others, and these without what is made up each time.
    told = {(name not in tree, name if name in tree else masked(name), program) for name, program in written}
    _, name, program = min(told, key=lambda each: (each[0], "…" in each[1], len(each[1]), each))
    who = paths.printable(program) or "the container"
    return f"{who} writes {paths.printable(name)}" if name != path else f"{who} changes it"


def _run_from(capture: Capture) -> set[str]:
    """Code that was executed or mapped from elsewhere than the image's files."""
    code = {use.resolved for use in capture.trace.uses if use.use in (Use.MAP, Use.EXEC) and not use.error}
    return {path for path in code | {run.binary for run in capture.trace.execs} if path not in capture.tree}


def _notes(capture: Capture, seen: _Seen) -> Iterator[str]:
    if seen.bytecode:
        yield (
            f"Python wrote compiled modules ({paths.printable(seen.bytecode)}), which it does without under a "
            "read-only root; compile them when the image is built"
        )
    own = (*_ENGINES, *_volumes(capture))
    for mount in sorted({mount.path for mount in capture.trace.mounts if mount.path != "/"}):
        if not _within(mount, own):
            yield f"{paths.printable(mount)} was mounted in the run: it is to be mounted again"
