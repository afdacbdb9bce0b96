"""The image's files as the image has them: never the container's, which has been writing."""

import errno
import io
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from slimtrace.engine import Engine, Launch
from slimtrace.errors import SlimtraceError
from slimtrace.facts import manifests, paths, sources
from slimtrace.facts.capture import HEAD_BYTES, TEXT_LIMIT, Answers
from slimtrace.facts.formats import elf, file_capabilities
from slimtrace.facts.image import Image
from slimtrace.facts.mentions import Language, Mention
from slimtrace.facts.packages import Format, Manifest
from slimtrace.facts.tree import Entry, FileTree, Kind
from slimtrace.observe.image import mount_namespace, overlay_lowerdirs
from slimtrace.observe.image.resolve_beneath import open_beneath
from slimtrace.observe.image.saved_archive import Saved

T = TypeVar("T")

ELF_BUDGET = 4 << 20  # bytes read of one ELF file: a real one needs some KiB, a forged one would take all

_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIR,
    stat.S_IFLNK: Kind.LINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFSOCK: Kind.SOCKET,
    stat.S_IFCHR: Kind.CHAR,
    stat.S_IFBLK: Kind.BLOCK,
}

# Facts about where the tree lies, not about the image.
_FOREIGN_XATTRS = ("trusted.overlay.", "user.overlay.", "security.selinux", "system.nfs4_acl")


class Rootfs:
    """An image's file tree, readable.

    Overlay layers are mounted read-only where nobody sees it (see `namespace`), at a cost that does not depend
    on the image's size: where the engine tells where they lie, and with the containerd image store, which does
    not, where the kernel does (see `lowers`). For any other storage the engine saves the image, and the files
    are read out of that archive (see `saved`).
    """

    def __init__(self, image: Image, engine: Engine, place: Path) -> None:
        """`place` is the run's work directory."""
        self._image = image
        self._engine = engine
        self._place = place
        self._root = -1
        self._saved: Saved | None = None

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
            except OSError:  # what the kernel will not mount can still be saved
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
        if self._image.lower_dirs:
            return mount_namespace.overlay(self._image.lower_dirs)
        if not self._engine.info().containerd_store or self._engine.info().remapped:
            raise OSError(errno.ENOTSUP, "this storage is no overlay of directories")
        # It is never started; but without any command the engine would not even create it.
        container = self._engine.create(self._image.id, Launch(cmd=("none",)))
        try:
            with self._engine.exporting(container):
                return self._mounted_for(container)
        finally:
            self._engine.remove(container)

    def _mounted_for(self, container: str) -> int:
        found = overlay_lowerdirs.mounted_for(container)
        # On top of the image's layers lies one with the engine's own additions (/etc/hosts, /dev/console).
        if found is None or len(found.dirs) != len(self._image.layers) + 1:
            raise OSError(errno.ENOTSUP, "this snapshotter makes no overlay of directories")
        view = os.open(f"/proc/{found.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return mount_namespace.overlay(found.dirs[1:], view)
        finally:
            os.close(view)

    def _read_saved(self) -> Saved:
        return Saved(self._engine.save(self._image.id), self._image.layers, self._place)

    def scan(self) -> FileTree:
        """Every entry, without content and xattrs, a directory's own all together, sorted within it; so the
        order depends on the names alone. Raises SlimtraceError for a tree that cannot be walked."""
        if self._saved is not None:
            return self._saved.tree()
        reading = _Reading(os.fstat(self._root))
        todo = [""]
        try:
            while todo:
                directory = todo.pop()
                here = open_beneath(self._root, paths.encode(directory), os.O_RDONLY | os.O_DIRECTORY)
                try:
                    todo += reversed(reading.directory(here, directory))
                finally:
                    os.close(here)
        except OSError as error:
            where = paths.printable(str(error.filename or "")[:200])
            raise SlimtraceError(f"cannot read the image's files: {error.strerror} {where}") from error
        return reading.tree()

    def open(self, path: str) -> io.RawIOBase:
        """A regular file, for reading, unbuffered. No part of `path` may be a symlink. Raises OSError."""
        if self._saved is not None:
            return self._saved.open(path)
        # Without O_PATH the open itself could already do something: rewind a tape, arm a watchdog.
        at = open_beneath(self._root, paths.encode(path), os.O_PATH | os.O_NOFOLLOW)
        try:
            if not stat.S_ISREG(os.fstat(at).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            return io.FileIO(os.open(f"/proc/self/fd/{at}", os.O_RDONLY | os.O_CLOEXEC))
        finally:
            os.close(at)

    def xattrs(self, path: str) -> dict[str, bytes]:
        """The extended attributes of `path` itself, by name, without those that say how it is stored."""
        if self._saved is not None:
            found = self._saved.xattrs(path)
            return {name: found[name] for name in sorted(found) if not name.startswith(_FOREIGN_XATTRS)}
        at = open_beneath(self._root, paths.encode(path), os.O_PATH | os.O_NOFOLLOW)
        try:
            link = f"/proc/self/fd/{at}"
            names = [name for name in os.listxattr(link) if not name.startswith(_FOREIGN_XATTRS)]
            return {_text(name): os.getxattr(link, name) for name in sorted(names)}
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                return {}
            raise
        finally:
            os.close(at)


class _Reading:
    """A tree while it is being read. An image has few owners, modes and times, and very many entries: equal
    numbers are made one object, which takes a fifth of the memory away."""

    _MOST_NUMBERS = 1 << 14

    def __init__(self, root: os.stat_result) -> None:
        self._numbers: dict[int, int] = {}
        # When the engine made the root directory of its topmost layer is a fact about this machine.
        self._found: dict[str, Entry] = {"/": replace(self._entry("/", root, ""), mtime_ns=0)}
        self._names: dict[tuple[int, int], list[str]] = {}

    def directory(self, here: int, directory: str) -> list[str]:
        """Add what the directory open as `here` holds; its subdirectories."""
        with os.scandir(here) as listing:
            items = sorted((_text(item.name), item) for item in listing)
        found, below = self._found, []
        for name, item in items:
            try:
                status = item.stat(follow_symlinks=False)
            except FileNotFoundError:
                # Nothing can go from here meanwhile. It is a whiteout that has nothing to hide: the kernel
                # lists it where a directory is of one layer alone (fs/overlayfs/readdir.c, ovl_dir_is_real).
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
                self._names.setdefault((status.st_dev, status.st_ino), []).append(path)
        if len(self._numbers) > self._MOST_NUMBERS:
            self._numbers.clear()
        return below

    def tree(self) -> FileTree:
        """All that was read, with the files that have several names told apart."""
        shared = sorted(sorted(group) for group in self._names.values() if len(group) > 1)
        for number, group in enumerate(shared, 1):
            for path in group:
                self._found[path] = replace(self._found[path], inode=number)
        return FileTree(self._found)

    def _entry(self, path: str, status: os.stat_result, target: str) -> Entry:
        mode = status.st_mode
        kind = _KINDS[stat.S_IFMT(mode)]
        device = status.st_rdev if kind in (Kind.CHAR, Kind.BLOCK) else 0
        one = self._numbers.setdefault
        bits, uid, gid, when = mode & 0o7777, status.st_uid, status.st_gid, status.st_mtime_ns
        return Entry(
            path,
            kind,
            one(bits, bits),
            one(uid, uid),
            one(gid, gid),
            status.st_size if kind is Kind.FILE else 0,
            one(when, when),
            target,
            0,
            os.major(device) if device else 0,
            os.minor(device) if device else 0,
        )


def _same(name: str) -> str:
    return name


def _recoded(name: str) -> str:
    return paths.decode(os.fsencode(name))


# Python decodes names by the locale; a path of ours is always UTF-8.
_text: Callable[[str], str] = _same if sys.getfilesystemencoding().lower() == "utf-8" else _recoded


class ImageContents:
    """The recorder's answers about file contents, from the image; whatever was asked is remembered."""

    def __init__(self, rootfs: Rootfs) -> None:
        self._rootfs = rootfs
        self._elfs: dict[str, elf.Elf | None] = {}
        self._heads: dict[str, bytes | None] = {}
        self._texts: dict[str, str | None] = {}
        self._named: dict[str, tuple[Mention, ...]] = {}
        self._packaged: dict[str, tuple[Manifest, ...]] = {}
        self._capable: dict[str, str] = {}

    def elf(self, path: str) -> elf.Elf | None:
        """The dynamic needs of an ELF file; None for any other."""
        if path not in self._elfs:
            self._elfs[path] = self._ask(path, lambda file: elf.parse(_Bounded(file, ELF_BUDGET)))
        return self._elfs[path]

    def head(self, path: str) -> bytes | None:
        """The first HEAD_BYTES bytes."""
        if path not in self._heads:
            self._heads[path] = self._ask(path, lambda file: file.read(HEAD_BYTES))
        return self._heads[path]

    def text(self, path: str) -> str | None:
        """The whole of a small text file; None where it is larger than TEXT_LIMIT bytes."""
        if path not in self._texts:
            found = self._ask(path, lambda file: io.BufferedReader(file).read(TEXT_LIMIT + 1))
            self._texts[path] = None if found is None or len(found) > TEXT_LIMIT else paths.decode(found)
        return self._texts[path]

    def mentions(self, path: str, language: Language) -> tuple[Mention, ...]:
        """What the file names, read as `language`."""
        key = f"{language} {path}"
        if key not in self._named:
            found = self._ask(path, lambda file: sources.read(language, io.BufferedReader(file)))
            self._named[key] = found or ()
        return self._named[key]

    def manifests(self, path: str, form: Format) -> tuple[Manifest, ...]:
        """The packages of which the file tells, read in the format `form`."""
        key = f"{form} {path}"
        if key not in self._packaged:
            found = self._ask(path, lambda file: manifests.read(form, io.BufferedReader(file)))
            self._packaged[key] = found or ()
        return self._packaged[key]

    def file_capabilities(self, path: str) -> str:
        """The capabilities that executing the file gives (facts.formats.file_capabilities)."""
        if path not in self._capable:
            try:
                raw = self._rootfs.xattrs(path).get(file_capabilities.ATTRIBUTE, b"")
            except OSError:
                raw = b""
            self._capable[path] = file_capabilities.read(raw) if raw else ""
        return self._capable[path]

    def answers(self) -> Answers:
        """What was asked so far, for a stored capture."""
        return Answers(
            dict(self._elfs),
            dict(self._heads),
            dict(self._texts),
            dict(self._named),
            dict(self._packaged),
            dict(self._capable),
        )

    def _ask(self, path: str, question: Callable[[io.RawIOBase], T]) -> T | None:
        try:
            with self._rootfs.open(path) as file:
                return question(file)
        except OSError:
            return None


class _Bounded(io.BufferedReader):
    """A file of which only so many bytes can be read; then it fails."""

    def __init__(self, file: io.RawIOBase, budget: int) -> None:
        super().__init__(file)
        self._left = budget

    def read(self, size: int | None = -1, /) -> bytes:
        most = self._left + 1
        data = super().read(most if size is None or size < 0 else min(size, most))
        self._left -= len(data)
        if self._left < 0:
            raise OSError(errno.EFBIG, "too much is read of one file")
        return data
