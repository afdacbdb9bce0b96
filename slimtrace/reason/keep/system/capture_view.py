"""The view of a capture that the finders of system facilities share: a thin layer of queries."""

from collections.abc import Iterator
from functools import cached_property

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Use
from slimtrace.facts.mentions import Language
from slimtrace.facts.selection import Why
from slimtrace.facts.tree import Kind, Resolution
from slimtrace.reason.keep.dynamic_linker import DynamicLinker
from slimtrace.reason.keep.evidence import Claim, Depth, exec_session_test

# A file that names more zones, charsets or locales has a table of all that exist (ICU, libxml2), and asks for
# none of them.
MAX_NAMED = 4


class CaptureView:
    """One capture, as the finders query it. The parameter `path` is a resolved one where not said otherwise."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self.tree = capture.tree
        self.environment = capture.image.environment
        self.linker = DynamicLinker(capture.tree, capture.contents, self.environment)

    def named(self, path: str, kind: str) -> tuple[str, ...]:
        """The names of one kind in the ELF file at `path` (facts.sources.binary), sorted; else empty."""
        if self._capture.contents.elf(path) is None:
            return ()
        found = self._capture.contents.mentions(path, Language.BINARY)
        return tuple(mention.name for mention in found if mention.kind == kind)

    def imports(self, path: str) -> frozenset[str]:
        """The functions that the ELF file at `path` imports, of those that facts.sources.binary knows."""
        return frozenset(self.named(path, "import"))

    def library(self, path: str) -> str:
        """The library's name without its version, such as ``libssl``; "" for a file that is not ELF."""
        elf = self._capture.contents.elf(path)
        return (elf.soname or paths.name(path)).partition(".so")[0] if elf else ""

    def needed(self, path: str) -> tuple[str, ...]:
        """The DT_NEEDED of the ELF file at `path`."""
        elf = self._capture.contents.elf(path)
        return elf.needed if elf else ()

    def text(self, path: str) -> str | None:
        """The text of the configuration file at `path`, links followed."""
        found = self.file(path)
        return self._capture.contents.text(found.path) if found else None

    def file(self, path: str) -> Resolution | None:
        """What `path` resolves to, if that is a regular file."""
        found = self.tree.resolve(path) if path.startswith("/") else None
        return found if found and found.entry and found.entry.kind is Kind.FILE else None

    def below(self, directory: str) -> Iterator[str]:
        """Every path below `directory` that is no directory (links below are not followed), sorted."""
        todo = [self.tree.resolve(directory).path]
        while todo:
            children = self.tree.children(todo.pop())
            yield from (path for path in children if self.tree[path].kind is not Kind.DIR)
            todo += reversed([path for path in children if self.tree[path].kind is Kind.DIR])

    def children(self, directory: str) -> tuple[str, ...]:
        """The paths in `directory`, which may be reached by links."""
        return self.tree.children(self.tree.resolve(directory).path)

    def claim(self, path: str, by: str, of: str, depth: Depth = Depth.ALONE) -> Iterator[Claim]:
        """The claim that the file at `by` makes to the file or directory at `path`, if the image has it."""
        if path.startswith("/") and self.tree.resolve(path).entry is not None:
            yield Claim(paths.clean(path), Why.ON_DEMAND, by, of, depth)

    def claim_library(self, name: str, by: str, of: str) -> Iterator[Claim]:
        """The claim to the library that dlopen(3) of `name` by the object at `by` would find, if any."""
        if need := self.linker.find(name, by):
            yield Claim(paths.clean(need.asked), Why.ON_DEMAND, by, of, Depth.LIBRARY)

    @cached_property
    def requested(self) -> frozenset[str]:
        """Every path that the container used, found or not, absolute, links not followed."""
        return frozenset(path for path, _ in self._uses)

    @cached_property
    def read(self) -> frozenset[str]:
        """Every path that the container read with success, absolute, links not followed."""
        return frozenset(path for path, read in self._uses if read)

    @cached_property
    def _uses(self) -> frozenset[tuple[str, bool]]:
        trace = self._capture.trace
        in_exec_session = exec_session_test(trace, self._capture.image)
        return frozenset(
            (paths.join(use.base, use.asked), use.use is Use.READ and not use.error)
            for use in trace.uses
            if use.asked
            and (use.base or use.asked.startswith("/"))
            and not in_exec_session(use.pid, use.origin)
        )
