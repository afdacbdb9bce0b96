"""The image's files as the image has them, never a container's: a container may have changed its files."""

import errno
import io
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from slimtrace.engine import Engine, Launch
from slimtrace.errors import SlimtraceError
from slimtrace.facts import paths
from slimtrace.facts.image import Image
from slimtrace.facts.tree import Entry, FileTree, Kind
from slimtrace.observe.image import mount_namespace, overlay_lowerdirs
from slimtrace.observe.image.resolve_beneath import open_beneath
from slimtrace.observe.image.saved_archive import SavedImage

_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIR,
    stat.S_IFLNK: Kind.LINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFSOCK: Kind.SOCKET,
    stat.S_IFCHR: Kind.CHAR,
    stat.S_IFBLK: Kind.BLOCK,
}

# Set by the storage, not by the image.
_STORAGE_XATTRS = ("trusted.overlay.", "user.overlay.", "security.selinux", "system.nfs4_acl")


class Rootfs:
    """An image's file tree, for reading.

    Overlay layers are mounted read-only where no other process sees the mount (see `mount_namespace`), at a
    cost that does not depend on the image's size. Their directories are told by the engine or, with the
    containerd image store, by the kernel (see `overlay_lowerdirs`). For any other storage the engine saves the
    image, and the files are read from that archive (see `saved_archive`).
    """

    def __init__(self, image: Image, engine: Engine, work_dir: Path) -> None:
        """`work_dir` is the run's work directory."""
        self._image = image
        self._engine = engine
        self._work_dir = work_dir
        self._root = -1
        self._saved: SavedImage | None = None

    @classmethod
    def at(cls, directory: Path) -> Self:
        """The tree below a directory of this machine."""
        found = cls.__new__(cls)
        found._saved = None
        found._root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return found

    def __enter__(self) -> Self:
        if self._root < 0:
            try:
                self._root = self._mounted()
            except OSError:  # an image that cannot be mounted can still be saved
                self._saved = self._read_saved()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._saved is not None:
            self._saved.close()
            self._saved = None
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def _mounted(self) -> int:
        """A descriptor of the root of the mounted layers. Raises OSError where the storage is no overlay."""
        if self._image.lower_dirs:
            return mount_namespace.mount_overlay(self._image.lower_dirs)
        if not self._engine.info().containerd_store or self._engine.info().remapped:
            raise OSError(errno.ENOTSUP, "this storage is no overlay of directories")
        # The container is never started, but without a command the engine would refuse to create it.
        container = self._engine.create(self._image.id, Launch(cmd=("none",)))
        try:
            with self._engine.exporting(container):
                return self._mounted_for(container)
        finally:
            self._engine.remove(container)

    def _mounted_for(self, container: str) -> int:
        """A descriptor of the root of the image's layers, which are those of the container's overlay."""
        found = overlay_lowerdirs.find_overlay(container)
        # The container's top layer has the engine's own additions (/etc/hosts, /dev/console).
        if found is None or len(found.lower_dirs) != len(self._image.layers) + 1:
            raise OSError(errno.ENOTSUP, "this snapshotter makes no overlay of directories")
        mount_ns = os.open(f"/proc/{found.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return mount_namespace.mount_overlay(found.lower_dirs[1:], mount_ns)
        finally:
            os.close(mount_ns)

    def _read_saved(self) -> SavedImage:
        return SavedImage(self._engine.save(self._image.id), self._image.layers, self._work_dir)

    def scan(self) -> FileTree:
        """Every entry, without content and xattrs. The entries of one directory are consecutive and sorted by
        name, so that the order depends on the names alone. Raises SlimtraceError for a tree that cannot be
        read."""
        if self._saved is not None:
            return self._saved.tree()
        reader = _TreeReader(os.fstat(self._root))
        directories = [""]
        try:
            while directories:
                directory = directories.pop()
                here = open_beneath(self._root, paths.encode(directory), os.O_RDONLY | os.O_DIRECTORY)
                try:
                    directories += reversed(reader.directory(here, directory))
                finally:
                    os.close(here)
        except OSError as error:
            where = paths.printable(str(error.filename or "")[:200])
            raise SlimtraceError(f"cannot read the image's files: {error.strerror} {where}") from error
        return reader.tree()

    def open(self, path: str) -> io.RawIOBase:
        """A regular file, for reading, unbuffered. No part of `path` may be a symlink. Raises OSError."""
        if self._saved is not None:
            return self._saved.open(path)
        # Without O_PATH the open of a device could have an effect: rewind a tape, arm a watchdog.
        at = open_beneath(self._root, paths.encode(path), os.O_PATH | os.O_NOFOLLOW)
        try:
            if not stat.S_ISREG(os.fstat(at).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            return io.FileIO(os.open(f"/proc/self/fd/{at}", os.O_RDONLY | os.O_CLOEXEC))
        finally:
            os.close(at)

    def xattrs(self, path: str) -> dict[str, bytes]:
        """The extended attributes of `path` itself (of a symlink, not of its target), by name, without those
        that the storage sets. Raises OSError."""
        if self._saved is not None:
            found = self._saved.xattrs(path)
            return {name: found[name] for name in sorted(found) if not name.startswith(_STORAGE_XATTRS)}
        at = open_beneath(self._root, paths.encode(path), os.O_PATH | os.O_NOFOLLOW)
        try:
            link = f"/proc/self/fd/{at}"
            names = [name for name in os.listxattr(link) if not name.startswith(_STORAGE_XATTRS)]
            return {_utf8_name(name): os.getxattr(link, name) for name in sorted(names)}
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                return {}
            raise
        finally:
            os.close(at)


class _TreeReader:
    """Collects the entries of a tree. An image has few owners, modes and times, and very many entries: equal
    numbers are made one object, which saves a fifth of the memory."""

    _MAX_NUMBERS = 1 << 14

    def __init__(self, root: os.stat_result) -> None:
        self._numbers: dict[int, int] = {}
        # The time at which the engine made the root directory of its topmost layer is not the image's.
        self._found: dict[str, Entry] = {"/": replace(self._entry("/", root, ""), mtime_ns=0)}
        self._names_by_inode: dict[tuple[int, int], list[str]] = {}

    def directory(self, here: int, directory: str) -> list[str]:
        """Add the entries of `directory`, which is open as `here`; the paths of its subdirectories."""
        with os.scandir(here) as listing:
            items = sorted((_utf8_name(item.name), item) for item in listing)
        found, below = self._found, []
        for name, item in items:
            try:
                status = item.stat(follow_symlinks=False)
            except FileNotFoundError:
                # No file can be removed meanwhile. The name is a whiteout that hides no file: the kernel lists
                # it where a directory is of one layer alone (fs/overlayfs/readdir.c, ovl_dir_is_real).
                continue
            path = f"{directory}/{name}"
            mode = status.st_mode
            if stat.S_ISDIR(mode):
                below.append(path)
                found[path] = self._entry(path, status, "")
                continue
            target = paths.decode(os.readlink(paths.encode(name), dir_fd=here)) if stat.S_ISLNK(mode) else ""
            found[path] = self._entry(path, status, target)
            if status.st_nlink > 1:
                self._names_by_inode.setdefault((status.st_dev, status.st_ino), []).append(path)
        if len(self._numbers) > self._MAX_NUMBERS:
            self._numbers.clear()
        return below

    def tree(self) -> FileTree:
        """All entries, with the same `inode` for the names of one hardlinked file."""
        shared = sorted(sorted(group) for group in self._names_by_inode.values() if len(group) > 1)
        for number, group in enumerate(shared, 1):
            for path in group:
                self._found[path] = replace(self._found[path], inode=number)
        return FileTree(self._found)

    def _entry(self, path: str, status: os.stat_result, target: str) -> Entry:
        mode = status.st_mode
        kind = _KINDS[stat.S_IFMT(mode)]
        device = status.st_rdev if kind in (Kind.CHAR, Kind.BLOCK) else 0
        shared = self._numbers.setdefault
        bits, uid, gid, mtime = mode & 0o7777, status.st_uid, status.st_gid, status.st_mtime_ns
        return Entry(
            path,
            kind,
            shared(bits, bits),
            shared(uid, uid),
            shared(gid, gid),
            status.st_size if kind is Kind.FILE else 0,
            shared(mtime, mtime),
            target,
            0,
            os.major(device) if device else 0,
            os.minor(device) if device else 0,
        )


def _unchanged(name: str) -> str:
    return name


def _recoded(name: str) -> str:
    return paths.decode(os.fsencode(name))


# Python decodes names by the locale; slimtrace's paths are always UTF-8.
_utf8_name: Callable[[str], str] = _unchanged if sys.getfilesystemencoding().lower() == "utf-8" else _recoded
