"""``--keep package``: every distribution's package of which a file is used is kept with all its files."""

from collections.abc import Iterator

from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt
from slimtrace.facts.selection import Why
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.evidence import Claim, Depth
from slimtrace.reason.keep.packages.installed import Owners, installed
from slimtrace.reason.keep.packages.package import DISTRIBUTION, Package


class WholePackages:
    """A finder (see reason.keep.finders). A package's documentation is kept like its other files. The libraries
    that a package's programs need are used with them, so that the packages of these libraries are kept too."""

    def __init__(self, capture: Capture) -> None:
        self._tree = capture.tree
        self._owners = Owners(installed(capture, ()))
        self._done: set[int] = set()

    def found(self, path: str) -> Iterator[Claim | Doubt]:
        """Claims of all other files of the packages that own `path`; each package is claimed once."""
        for one in self._owners.of(path):
            if one.kind in DISTRIBUTION and id(one) not in self._done:
                self._done.add(id(one))
                yield from self._claims(one, path)

    def _claims(self, one: Package, source: str) -> Iterator[Claim]:
        for path in (*one.files, *one.directories):
            if path == source:
                continue
            yield Claim(path, Why.PACKAGE, source, one.label, Depth.LIBRARY, follow=False)
            if self._tree[path].kind is Kind.LINK:
                end = self._tree.resolve(path).entry
                if end is not None and end.kind is Kind.FILE:
                    yield Claim(path, Why.PACKAGE, source, one.label, Depth.LIBRARY)
