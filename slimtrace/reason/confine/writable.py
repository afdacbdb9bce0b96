"""Where a container writes, and which directories must stay writable when its root is read-only.

A directory is needed where something in it was created, removed, renamed, opened for writing or given other
metadata, with success, by the container's own programs, on the root's own file system: what lies on a volume or
another mount is writable anyway. Writing to devices, fifos and sockets that exist needs no writable directory:
a read-only file system does not refuse it (fs/namei.c, sb_permission).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import Writable
from slimtrace.facts.events import FileUse, Use
from slimtrace.facts.selection import Selection, Why
from slimtrace.facts.tree import FileTree, Kind
from slimtrace.reason.confine.volatile_names import mask
from slimtrace.reason.keep.evidence import NOFOLLOW_CALLS, exec_session_test

MAX_DIRECTORIES = 32  # a container that writes in more is not confined by a list of them
# Writable, these would give away what a read-only root is for: programs, libraries, the system's configuration.
_TOO_BROAD = """
/ /bin /boot /etc /home /lib /lib32 /lib64 /libx32 /media /mnt /opt /sbin /srv /usr /usr/bin
/usr/lib /usr/lib32 /usr/lib64 /usr/libexec /usr/libx32 /usr/local /usr/local/bin /usr/local/lib
/usr/local/sbin /usr/sbin /usr/share /var /var/lib
"""
TOO_BROAD = frozenset(_TOO_BROAD.split())
# Directories whose content need not outlast a restart, by hier(7), and the usual names of such directories.
_VOLATILE = ("/run", "/tmp", "/var/cache", "/var/lock", "/var/run", "/var/tmp")
_VOLATILE_NAMES = frozenset((".cache", "cache", "lock", "run", "sessions", "temp", "tmp"))
# Mounted by every runtime (OCI runtime-spec config-linux.md, and the engine's three files).
_RUNTIME_MOUNTS = ("/dev", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/proc", "/sys")
_SOCKET_CALLS = frozenset(("connect", "sendto", "sendmsg"))
# Calls that change the entries of a directory, not a file.
_DIRECTORY_CALL_NAMES = """
bind mkdir mkdirat mknod mknodat rmdir unlink unlinkat symlink symlinkat link linkat rename renameat renameat2
"""
_DIRECTORY_CALLS = frozenset(_DIRECTORY_CALL_NAMES.split())
_MKDIR_CALLS = frozenset(("mkdir", "mkdirat"))
_REMOVING_CALLS = frozenset(("rename", "renameat", "renameat2", "rmdir", "unlink", "unlinkat"))
_BYTECODE = "__pycache__"  # Python runs without it (docs.python.org, PYTHONDONTWRITEBYTECODE)
# Reasons to keep a directory that an empty tmpfs in its place satisfies too.
_IMPLIED_REASONS = frozenset((Why.PARENT, Why.RUNTIME, Why.LOOKED_AT))


@dataclass(frozen=True, slots=True)
class RootFilesystem:
    """Whether the root can be read-only, the reason, the directories that must be writable then, and notes for
    the user."""

    read_only: bool
    reason: str
    writable: tuple[Writable, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Writes:
    """What the run wrote: the directories that are `needed`, each with the paths and programs that wrote there;
    the paths that cannot be made writable, and so are `blocking` a read-only root, each with the reason; the
    directories that were `created`; the paths that were `removed`; a path of `bytecode` that was written."""

    needed: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    blocking: dict[str, str] = field(default_factory=dict)
    created: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    bytecode: str = ""


def root_filesystem(
    capture: Capture,
    selection: Selection,
    owner: tuple[int | None, int | None],
    repaired: Iterable[str] = (),
) -> RootFilesystem:
    """The root file system by what the run wrote, and by the `repaired` directories, in which a trial could not
    write. A directory that the image does not have belongs to `owner`, the user and group that the container
    starts as."""
    tree = capture.tree
    mounted = _mount_points(capture)
    writes = _Writes()
    written = sorted({(path, use.call, use.use, use.program) for path, use in _written(capture, mounted)})
    for path, call, _, _ in written:
        if call in _MKDIR_CALLS:
            writes.created.add(path)
        if call in _REMOVING_CALLS:
            writes.removed.add(path)
    for path, call, _, program in written:
        _note_write(tree, path, call, program, writes)
    for path in repaired:
        _note_repair(tree, paths.clean(path), mounted, writes)
    for path in writes.created & TOO_BROAD - tree.entries.keys():
        if not any(paths.below(place, path) for place in writes.needed):
            writes.blocking[path] = "nothing below it can be made writable in its stead"
    for path in [path for path in writes.needed if not _mountable(path)]:
        writes.blocking[path] = "its name cannot be written in an option of docker run"
    notes = list(_notes(capture, writes))
    if not writes.blocking and len(writes.needed) > MAX_DIRECTORIES:
        writes.blocking[min(writes.needed)] = (
            f"it is one of {len(writes.needed)} directories that are written in"
        )
    if writes.blocking:
        path = min(writes.blocking)
        text = f"{paths.printable(path)} is written, and {writes.blocking[path]}"
        hint = "write below /tmp or /run, or below a directory of its own, which can be made writable alone"
        return RootFilesystem(False, text, (), (*notes, f"a read-only root is not possible: {text}; {hint}"))
    writable = tuple(_directories(capture, selection, writes, owner, mounted))
    if writable:
        reason = f"{len(writable)} {'directory is' if len(writable) == 1 else 'directories are'} written in"
    else:
        reason = "nothing was written outside of volumes and what the engine mounts"
    if capture.image.volumes:
        reason += (
            f"; volumes of the image stay writable: {', '.join(map(paths.printable, capture.image.volumes))}"
        )
    return RootFilesystem(True, reason, writable, tuple(notes))


def _mount_points(capture: Capture) -> tuple[str, ...]:
    """The paths at which something else than the image's files is mounted."""
    mounts = (mount.path for mount in capture.trace.mounts if mount.path != "/")
    return tuple(sorted({*_RUNTIME_MOUNTS, *mounts, *_volume_paths(capture)}))


def _volume_paths(capture: Capture) -> Iterator[str]:
    """The real paths of the image's volumes: the engine follows symlinks on the way there."""
    return (capture.tree.resolve(volume).path for volume in capture.image.volumes)


def _written(capture: Capture, mounted: Collection[str]) -> Iterator[tuple[str, FileUse]]:
    """The paths that the container's own programs wrote on the root's file system, each with its use."""
    tree = capture.tree
    in_exec_session = exec_session_test(capture.trace, capture.image)
    for use in capture.trace.uses:
        if use.use not in (Use.WRITE, Use.CHANGE) or use.error or use.foreign or use.call in _SOCKET_CALLS:
            continue
        path = _real_path(tree, use)
        if not path or _within(path, mounted) or in_exec_session(use.pid, use.origin):
            continue
        entry = tree.get(path)
        special = entry is not None and entry.kind in (Kind.FIFO, Kind.CHAR, Kind.BLOCK)
        if not (special and use.use is Use.WRITE):
            yield path, use


def _real_path(tree: FileTree, use: FileUse) -> str:
    if use.resolved.startswith("/") and use.resolved != "/":
        return use.resolved
    if use.truncated or not use.asked or not (use.base or use.asked.startswith("/")):
        return use.resolved
    return tree.resolve(paths.join(use.base, use.asked), follow_last=use.call not in NOFOLLOW_CALLS).path


def _within(path: str, directories: Iterable[str]) -> bool:
    return any(paths.below(path, directory) for directory in directories)


def _note_write(tree: FileTree, path: str, call: str, program: str, writes: _Writes) -> None:
    """Note the directory that must be writable for `call` on `path`."""
    if paths.name(paths.parent(path)) == _BYTECODE or paths.name(path) == _BYTECODE:
        writes.bytecode = writes.bytecode or path
        return
    changes_itself = (
        call not in _DIRECTORY_CALLS and (entry := tree.get(path)) is not None and entry.kind is Kind.DIR
    )
    directory = path if changes_itself else paths.parent(path)
    anchor = _nearest_directory(tree, directory)
    if anchor in TOO_BROAD:
        # The topmost directory that the program makes below such a directory can be mounted beforehand: mkdir
        # -p and its like are content with EEXIST, which comes before EROFS (fs/namei.c, filename_create).
        steps = (*reversed(tuple(paths.parents(path))), path)
        top = next((each for each in steps if each not in TOO_BROAD), path)
        if path in TOO_BROAD and path in writes.created and path not in writes.removed:
            return  # it only leads to what is made in it
        if (
            changes_itself
            or top in TOO_BROAD
            or top in writes.removed
            or (top == path and top not in writes.created)
        ):
            writes.blocking.setdefault(path, f"{anchor} holds what must not be written")
            return
        anchor = top
    writes.needed.setdefault(anchor, []).append((path, program))


def _nearest_directory(tree: FileTree, directory: str) -> str:
    """The nearest directory of the image, `directory` or above it."""
    while (entry := tree.get(directory)) is None or entry.kind is not Kind.DIR:
        directory = paths.parent(directory)
    return directory


def _note_repair(tree: FileTree, path: str, mounted: Collection[str], writes: _Writes) -> None:
    end = tree.resolve(path)
    directory = end.path if end.entry is None or end.entry.kind is Kind.DIR else paths.parent(end.path)
    if _within(directory, mounted) or paths.name(directory) == _BYTECODE:
        return
    if directory in TOO_BROAD:
        writes.blocking.setdefault(path, f"{directory} holds what must not be written")
        return
    writes.needed.setdefault(directory, [])


def _mountable(path: str) -> bool:
    """Whether `path` can stand in docker run's --tmpfs and --volume and in a Kubernetes mountPath: it has no
    colon or comma, which are separators there, no quote, and nothing that cannot be printed."""
    return path.isprintable() and not any(char in path for char in ':,"')


def _directories(
    capture: Capture,
    selection: Selection,
    writes: _Writes,
    owner: tuple[int | None, int | None],
    mounted: Collection[str],
) -> Iterator[Writable]:
    """The writable directories, outermost first. One inside another is left out, unless the outer one begins
    empty and the image has the inner one."""
    code = _code_outside_image(capture)
    chosen: dict[str, Writable] = {}
    for path in sorted(writes.needed):
        outer = next((chosen[above] for above in paths.parents(path) if above in chosen), None)
        if outer is not None and (outer.volume or path not in capture.tree):
            continue
        entry = capture.tree.get(path)
        uid, gid = (owner[0] or 0, owner[1] or 0) if entry is None else (entry.uid, entry.gid)
        volume = not _is_volatile(path) or _has_kept_content(capture.tree, selection, path, writes, mounted)
        chosen[path] = Writable(
            path,
            volume=volume,
            mode=0o755 if entry is None else entry.mode,
            uid=uid,
            gid=gid,
            reason=_reason(path, writes.needed[path], capture.tree),
            executable=not volume and any(paths.below(each, path) for each in code),
        )
    return iter(chosen.values())


def _is_volatile(path: str) -> bool:
    """Whether what is written at `path` need not outlast the container."""
    return _within(path, _VOLATILE) or not _VOLATILE_NAMES.isdisjoint(path.split("/"))


def _has_kept_content(
    tree: FileTree, selection: Selection, path: str, writes: _Writes, mounted: Collection[str]
) -> bool:
    """Whether the image has something below `path` that is kept and would be missed: more than directories that
    are on the way somewhere, that are made writable on their own, or where something is mounted."""
    kept: Mapping[str, object] = selection.kept
    for below in tree.subtree(path)[1:]:
        if below not in kept or below in mounted or _within(paths.parent(below), mounted):
            continue
        if tree[below].kind is not Kind.DIR or below in writes.removed:
            return True
        whys = {reason.why for reason in selection.kept[below]}
        if not whys <= _IMPLIED_REASONS and below not in writes.needed:
            return True
    return False


def _reason(path: str, written: list[tuple[str, str]], tree: FileTree) -> str:
    if not written:
        return "repair: the slim image could not write there when it was tried"
    # The reason must be the same in every run: paths of the image come before others, and these are masked.
    names = {(name not in tree, name if name in tree else mask(name), program) for name, program in written}
    _, name, program = min(names, key=lambda each: (each[0], "…" in each[1], len(each[1]), each))
    writer = paths.printable(program) or "the container"
    return f"{writer} writes {paths.printable(name)}" if name != path else f"{writer} changes it"


def _code_outside_image(capture: Capture) -> set[str]:
    """The paths of executed or mapped files that are not in the image."""
    code = {use.resolved for use in capture.trace.uses if use.use in (Use.MAP, Use.EXEC) and not use.error}
    return {path for path in code | {run.binary for run in capture.trace.execs} if path not in capture.tree}


def _notes(capture: Capture, writes: _Writes) -> Iterator[str]:
    if writes.bytecode:
        yield (
            f"Python wrote compiled modules ({paths.printable(writes.bytecode)}), which it does without under "
            "a read-only root; compile them when the image is built"
        )
    own = (*_RUNTIME_MOUNTS, *_volume_paths(capture))
    for mount in sorted({mount.path for mount in capture.trace.mounts if mount.path != "/"}):
        if not _within(mount, own):
            yield f"{paths.printable(mount)} was mounted in the run: it is to be mounted again"
