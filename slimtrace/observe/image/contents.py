"""The contents of an image's files as a decision asks for them: ELF headers, text, mentions, manifests."""

import errno
import io
from collections.abc import Callable
from typing import TypeVar

from slimtrace.facts import manifests, paths, sources
from slimtrace.facts.capture import HEAD_BYTES, TEXT_LIMIT, Answers
from slimtrace.facts.formats import elf, file_capabilities
from slimtrace.facts.mentions import Language, Mention
from slimtrace.facts.packages import Format, Manifest
from slimtrace.observe.image.rootfs import Rootfs

T = TypeVar("T")

# Bytes that are read of one ELF file: a real file needs some KiB, a forged one would be read whole.
ELF_BUDGET = 4 << 20


class ImageContents:
    """The facts about the contents of an image's files. Each is read once, and kept for `answers`."""

    def __init__(self, rootfs: Rootfs) -> None:
        self._rootfs = rootfs
        self._elfs: dict[str, elf.Elf | None] = {}
        self._heads: dict[str, bytes | None] = {}
        self._texts: dict[str, str | None] = {}
        self._mentions: dict[str, tuple[Mention, ...]] = {}
        self._manifests: dict[str, tuple[Manifest, ...]] = {}
        self._capabilities: dict[str, str] = {}

    def elf(self, path: str) -> elf.Elf | None:
        """The dynamic section's needs of an ELF file; None for any other file."""
        if path not in self._elfs:
            self._elfs[path] = self._read(path, lambda file: elf.parse(_BoundedReader(file, ELF_BUDGET)))
        return self._elfs[path]

    def head(self, path: str) -> bytes | None:
        """The first HEAD_BYTES bytes of a file; None for a path that is no readable file."""
        if path not in self._heads:
            self._heads[path] = self._read(path, lambda file: file.read(HEAD_BYTES))
        return self._heads[path]

    def text(self, path: str) -> str | None:
        """The whole of a small text file; None for a file larger than TEXT_LIMIT bytes, or unreadable."""
        if path not in self._texts:
            found = self._read(path, lambda file: io.BufferedReader(file).read(TEXT_LIMIT + 1))
            self._texts[path] = None if found is None or len(found) > TEXT_LIMIT else paths.decode(found)
        return self._texts[path]

    def mentions(self, path: str, language: Language) -> tuple[Mention, ...]:
        """The names that the file mentions, read as `language`; () for an unreadable file."""
        key = f"{language} {path}"
        if key not in self._mentions:
            found = self._read(path, lambda file: sources.read(language, io.BufferedReader(file)))
            self._mentions[key] = found or ()
        return self._mentions[key]

    def manifests(self, path: str, form: Format) -> tuple[Manifest, ...]:
        """The packages that the file describes, read in the format `form`; () for an unreadable file."""
        key = f"{form} {path}"
        if key not in self._manifests:
            found = self._read(path, lambda file: manifests.read(form, io.BufferedReader(file)))
            self._manifests[key] = found or ()
        return self._manifests[key]

    def file_capabilities(self, path: str) -> str:
        """The file capabilities of `path` as text (facts.formats.file_capabilities), "" for none."""
        if path not in self._capabilities:
            try:
                raw = self._rootfs.xattrs(path).get(file_capabilities.ATTRIBUTE, b"")
            except OSError:
                raw = b""
            self._capabilities[path] = file_capabilities.read(raw) if raw else ""
        return self._capabilities[path]

    def answers(self) -> Answers:
        """All answers given so far, for a stored capture."""
        return Answers(
            dict(self._elfs),
            dict(self._heads),
            dict(self._texts),
            dict(self._mentions),
            dict(self._manifests),
            dict(self._capabilities),
        )

    def _read(self, path: str, parse: Callable[[io.RawIOBase], T]) -> T | None:
        """What `parse` returns for the open file; None where the file cannot be read."""
        try:
            with self._rootfs.open(path) as file:
                return parse(file)
        except OSError:
            return None


class _BoundedReader(io.BufferedReader):
    """A file of which at most `budget` bytes can be read: a read beyond them raises OSError."""

    def __init__(self, file: io.RawIOBase, budget: int) -> None:
        super().__init__(file)
        self._budget = budget

    def read(self, size: int | None = -1, /) -> bytes:
        most = self._budget + 1
        data = super().read(most if size is None or size < 0 else min(size, most))
        self._budget -= len(data)
        if self._budget < 0:
            raise OSError(errno.EFBIG, "too much is read of one file")
        return data
