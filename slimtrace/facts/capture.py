"""A capture: everything that later steps may know, so that they can run again without root or Docker."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from slimtrace.facts.events import Trace
from slimtrace.facts.formats.elf import Elf
from slimtrace.facts.image import Image
from slimtrace.facts.mentions import Language, Mention
from slimtrace.facts.packages import Format, Manifest
from slimtrace.facts.runs import Run
from slimtrace.facts.tree import FileTree

HEAD_BYTES = 256  # what the kernel reads of a file to find out how to execute it (BINPRM_BUF_SIZE)
TEXT_LIMIT = 1 << 24  # bytes: the largest text that is read is the package database of a distribution


class Contents(Protocol):
    """The questions that reasoning may ask about a file's content. Reasoning is a function of the facts and
    of these answers; the recorder reads them from the image and remembers them, a stored capture holds
    those that were remembered. All paths are resolved ones; the answer for what is no regular file is None."""

    def elf(self, path: str) -> Elf | None:
        """The dynamic needs of an ELF file; None for any other."""
        ...

    def head(self, path: str) -> bytes | None:
        """The first HEAD_BYTES bytes."""
        ...

    def text(self, path: str) -> str | None:
        """The whole of a small text file (at most TEXT_LIMIT bytes), undecodable bytes as surrogates."""
        ...

    def mentions(self, path: str, language: Language) -> tuple[Mention, ...]:
        """The paths, modules and programs that the file names, read as `language`; empty for what is no regular
        file too."""
        ...

    def manifests(self, path: str, form: Format) -> tuple[Manifest, ...]:
        """The packages that the file describes, read in the format `form`; empty for what is no regular file
        too."""
        ...

    def file_capabilities(self, path: str) -> str:
        """The file capabilities, in the form of cap_to_text(3); "" for none."""
        ...


@dataclass(frozen=True, slots=True)
class Answers:
    """The Contents of a stored capture: the answers to the questions that its recording asked; the answer to
    any other question is None, or empty. `named` holds the mentions by ``LANGUAGE PATH``, `packaged` the
    manifests by ``FORMAT PATH``, `capable` the file capabilities by path."""

    elfs: Mapping[str, Elf | None] = field(default_factory=dict)
    heads: Mapping[str, bytes | None] = field(default_factory=dict)
    texts: Mapping[str, str | None] = field(default_factory=dict)
    named: Mapping[str, tuple[Mention, ...]] = field(default_factory=dict)
    packaged: Mapping[str, tuple[Manifest, ...]] = field(default_factory=dict)
    capable: Mapping[str, str] = field(default_factory=dict)

    def elf(self, path: str) -> Elf | None:
        return self.elfs.get(path)

    def head(self, path: str) -> bytes | None:
        return self.heads.get(path)

    def text(self, path: str) -> str | None:
        return self.texts.get(path)

    def mentions(self, path: str, language: Language) -> tuple[Mention, ...]:
        return self.named.get(f"{language} {path}", ())

    def manifests(self, path: str, form: Format) -> tuple[Manifest, ...]:
        return self.packaged.get(f"{form} {path}", ())

    def file_capabilities(self, path: str) -> str:
        return self.capable.get(path, "")


@dataclass(frozen=True, slots=True)
class Capture:
    """One image and its runs: what the image is, what files it holds, what happened, what the files say, and
    what came of the runs (none where a container was only watched)."""

    image: Image
    tree: FileTree
    trace: Trace
    contents: Contents
    runs: tuple[Run, ...] = ()
