"""How the artifact graph grows from a capture: claims, then what the dynamic linker and the interpreters need
for them, then, turn by turn, what the finders read in each file that came to be kept for its content.
"""

from collections.abc import Iterable, Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt
from slimtrace.facts.selection import Reason, Why
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep import evidence, finders, shebangs, stored_answers, user_rules
from slimtrace.reason.keep.dynamic_linker import Linker
from slimtrace.reason.keep.evidence import Claim, Depth
from slimtrace.reason.keep.graph import ArtifactGraph
from slimtrace.reason.keep.packages import Owners, installed, trimmed_database, unreadable
from slimtrace.reason.keep.packages.whole_packages import WholePackages
from slimtrace.reason.keep.rules import Exclusion, Keep, Rules

LD_SO_CACHE = "/etc/ld.so.cache"
# Reasons for which a file's content matters: these are asked what else they need.
_FOR_CONTENT = frozenset(
    (
        Why.EXECUTED,
        Why.OPENED,
        Why.INTERPRETER,
        Why.NEEDED,
        Why.IMPORTED,
        Why.ON_DEMAND,
        Why.CONFIGURED,
        Why.RULE,
        Why.REPAIR,
    )
)


def grow(capture: Capture, rules: Rules | None = None, repairs: tuple[str, ...] = ()) -> ArtifactGraph:
    """The graph of everything that `capture` and `rules` give a reason to keep, and of what a trial of the slim
    image has missed: the paths `repairs`."""
    rules = rules or Rules()
    growth = _Growth(capture, Exclusion(capture.tree, rules))
    growth.place(evidence.claims(capture))
    growth.place(user_rules.claims(capture, rules))
    growth.place(user_rules.repaired(capture, repairs))
    growth.link()
    if rules.keep is not Keep.EXACT:
        whole = (WholePackages(capture),) if rules.keep is Keep.PACKAGE else ()
        growth.discover((*finders.finders(capture), *whole))
    growth.tell_unresolved()
    graph = growth.graph
    graph.doubts += (*evidence.missing(capture), *user_rules.missing(capture, rules))
    graph.doubts += unreadable(capture)
    stored_answers.ask_for_confinement(capture)
    graph.join_loose_ends()
    growth.own(rules)
    return graph


class _Growth:
    def __init__(self, capture: Capture, exclusion: Exclusion) -> None:
        self._capture = capture
        self._drops = exclusion.drops  # what is dropped needs nothing
        mounts = tuple(mount.path for mount in capture.trace.mounts)
        self.graph = ArtifactGraph(capture.tree, mounts, capture.image.volumes)
        self._linker = Linker(capture.tree, capture.contents, capture.image.environment)
        self._objects: dict[str, Depth] = {}  # what may be an ELF file, and has not been linked
        self._linked: set[str] = set()
        self._sonames: set[str] = set()
        self._unresolved: dict[str, str] = {}
        self._unread: set[str] = set()  # kept for its content, and no finder was asked
        self._read: set[str] = set()

    def place(self, claims: Iterable[Claim]) -> None:
        """Put claims into the graph, with the interpreters that executing them takes."""
        for claim in claims:
            self._place(claim)

    def _place(self, claim: Claim) -> None:
        reason = Reason(claim.why, claim.of)
        if not claim.present:
            self.graph.lead_to(claim.path, reason, claim.source, claim.follow)
            return
        path = self._reach(claim.path, reason, claim.source, claim.follow)
        if path is None:
            return
        if claim.why is Why.EXECUTED:
            self.graph.connect(path, evidence.process(path))
        if self._drops(path):
            return
        if claim.depth >= Depth.LIBRARY:
            self._objects[path] = max(claim.depth, self._objects.get(path, Depth.ALONE))
        if claim.depth is Depth.PROGRAM:
            for interpreter in self._add_interpreters(claim, path):
                if not self._drops(interpreter):
                    self._objects.setdefault(interpreter, Depth.LIBRARY)

    def _reach(self, path: str, reason: Reason, source: str, follow: bool = True) -> str | None:
        """Keep where `path` leads; that, if it is a regular file of the image."""
        found = self.graph.reach(path, reason, source, follow)
        if found is None or found.entry is None or found.entry.kind is not Kind.FILE:
            return None
        if reason.why in _FOR_CONTENT and found.path not in self._read and not self._drops(found.path):
            self._unread.add(found.path)
        return found.path

    def _add_interpreters(self, claim: Claim, path: str) -> Iterator[str]:
        capture = self._capture
        search = capture.image.environment.get("PATH") or shebangs.DEFAULT_PATH
        for step in shebangs.interpreters(capture.tree, capture.contents, path, search, claim.base):
            reason = Reason(Why.INTERPRETER, step.by)
            found = self._reach(step.path, reason, step.by) if step.path else None
            if found:
                yield found
            else:
                text = f"{paths.printable(step.by)} is a script of {step.asked}, which the image does not have"
                self.graph.doubts.append(Doubt("interpreter", text, step.by))

    def link(self) -> None:
        """The dynamic linker's work for all new objects: programs first, since what they load is found by their
        own search path; the rest (what was dlopened, or only read) by its own."""
        capture, graph = self._capture, self.graph
        objects = sorted(path for path in self._objects if path not in self._linked)
        self._objects.clear()
        elfs = {path: elf for path in objects if (elf := capture.contents.elf(path))}
        self._sonames |= {elf.soname for elf in elfs.values()}
        for path in sorted(elfs, key=lambda path: (not elfs[path].interpreter, path)):
            if path in self._linked:
                continue
            self._linked.add(path)
            loader = elfs[path].interpreter
            if loader and not graph.reach(loader, Reason(Why.INTERPRETER, path), path):
                self._unresolved.setdefault(loader, path)
            if loader and "ld-musl" not in loader and LD_SO_CACHE in capture.tree:
                graph.reach(LD_SO_CACHE, Reason(Why.NEEDED, path), path)
            for need in self._linker.closure(path):
                if self._drops(need.by):
                    continue
                if need.found is None:
                    self._unresolved.setdefault(need.name, need.by)
                    continue
                self._linked.add(need.found.path)
                if end := self._reach(need.asked, Reason(Why.NEEDED, need.by), need.by):
                    self._linked.add(end)

    def discover(self, asked: Iterable[finders.Finder]) -> None:
        """Ask the finders of every file that is kept for its content, until nothing new comes of it."""
        asked = tuple(asked)
        while self._unread:
            batch = sorted(self._unread)
            self._read |= self._unread
            self._unread.clear()
            for path in batch:
                for finder in asked:
                    for item in finder.found(path):
                        if isinstance(item, Doubt):
                            self.graph.doubts.append(item)
                        else:
                            self._place(item)
            self.link()

    def own(self, rules: Rules) -> None:
        """Join what is kept with the packages that own it, and place what tells of these."""
        graph = self.graph
        used = [path for path in graph.paths() if not self._drops(path)]
        owners = Owners(installed(self._capture, used))
        self.place(trimmed_database.claims(self._capture, owners, used, rules.package_db))
        for path in sorted(graph.paths()):
            for owner in owners.of(path):
                graph.connect(path, owner.node)

    def tell_unresolved(self) -> None:
        """A doubt for each library that was not found."""
        known = self._sonames | {paths.name(path) for path in self.graph.paths()}
        for name, by in sorted(self._unresolved.items()):
            # A library that was loaded from elsewhere (by a loader's search path, by LD_LIBRARY_PATH set in a
            # script) is there already: its name is no doubt.
            if name not in known:
                text = f"{paths.printable(by)} needs {paths.printable(name)}, which was not found in the image"
                self.graph.doubts.append(Doubt("unresolved-library", text, name))


__all__ = ["grow"]
