"""What the finders of system facilities see of a capture: a thin layer of questions that they share."""

from collections.abc import Iterator
from functools import cached_property

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Use
from slimtrace.facts.mentions import Language
from slimtrace.facts.selection import Why
from slimtrace.facts.tree import Kind, Resolution
from slimtrace.reason.keep.dynamic_linker import Linker
from slimtrace.reason.keep.evidence import Claim, Depth, strangers

# A file that names more zones or charsets than these few has a list of what there is (ICU, libxml2), and asks
# for none of them.
FEW = 4


class Sight:
    """One capture, as the finders look at it. Paths given are resolved ones."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self.tree = capture.tree
        self.environment = capture.image.environment
        self.linker = Linker(capture.tree, capture.contents, self.environment)

    def named(self, path: str, kind: str) -> tuple[str, ...]:
        """What the ELF file at `path` names of one kind (facts.sources.binary), sorted; empty for others."""
        if self._capture.contents.elf(path) is None:
            return ()
        found = self._capture.contents.mentions(path, Language.BINARY)
        return tuple(mention.name for mention in found if mention.kind == kind)

    def imports(self, path: str) -> frozenset[str]:
        """The functions that the ELF file at `path` takes from libraries, of those that matter."""
        return frozenset(self.named(path, "import"))

    def library(self, path: str) -> str:
        """``libssl`` for any version of it; "" for what is no ELF file."""
        elf = self._capture.contents.elf(path)
        return (elf.soname or paths.name(path)).partition(".so")[0] if elf else ""

    def needed(self, path: str) -> tuple[str, ...]:
        """The DT_NEEDED of the ELF file at `path`."""
        elf = self._capture.contents.elf(path)
        return elf.needed if elf else ()

    def text(self, path: str) -> str | None:
        """A configuration file, links followed."""
        found = self.file(path)
        return self._capture.contents.text(found.path) if found else None

    def file(self, path: str) -> Resolution | None:
        """Where `path` leads, if to a regular file."""
        found = self.tree.resolve(path) if path.startswith("/") else None
        return found if found and found.entry and found.entry.kind is Kind.FILE else None

    def below(self, directory: str) -> Iterator[str]:
        """All that is not a directory below `directory` (links not followed on the way), sorted."""
        todo = [self.tree.resolve(directory).path]
        while todo:
            children = self.tree.children(todo.pop())
            yield from (path for path in children if self.tree[path].kind is not Kind.DIR)
            todo += reversed([path for path in children if self.tree[path].kind is Kind.DIR])

    def children(self, directory: str) -> tuple[str, ...]:
        """What is in `directory`, links to it followed."""
        return self.tree.children(self.tree.resolve(directory).path)

    def claim(self, path: str, by: str, of: str, depth: Depth = Depth.ALONE) -> Iterator[Claim]:
        """The claim of the file at `by` to the one at `path` (or the directory), if there is one."""
        if path.startswith("/") and self.tree.resolve(path).entry is not None:
            yield Claim(paths.clean(path), Why.ON_DEMAND, by, of, depth)

    def claim_library(self, name: str, by: str, of: str) -> Iterator[Claim]:
        """The claim to the library that the linker would find."""
        if need := self.linker.find(name, by):
            yield Claim(paths.clean(need.asked), Why.ON_DEMAND, by, of, Depth.LIBRARY)

    @cached_property
    def asked(self) -> frozenset[str]:
        """Every path that the container asked for, found or not, absolute, links not followed."""
        return frozenset(path for path, _ in self._uses)

    @cached_property
    def read(self) -> frozenset[str]:
        """Every path that the container read with success, as it asked for it."""
        return frozenset(path for path, read in self._uses if read)

    @cached_property
    def _uses(self) -> frozenset[tuple[str, bool]]:
        trace = self._capture.trace
        stranger = strangers(trace, self._capture.image)
        return frozenset(
            (paths.join(use.base, use.asked), use.use is Use.READ and not use.error)
            for use in trace.uses
            if use.asked and (use.base or use.asked.startswith("/")) and not stranger(use.pid, use.origin)
        )
