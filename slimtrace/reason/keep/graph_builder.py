"""How the artifact graph is built from a capture: from claims, then from what the dynamic linker loads and the
interpreters that are needed for them, then, until nothing new is found, from what the finders read in each file
that is kept for its content.
"""

from collections.abc import Iterable, Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt
from slimtrace.facts.selection import Reason, Why
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep import evidence, finders, shebangs, stored_answers, user_rules
from slimtrace.reason.keep.dynamic_linker import DynamicLinker
from slimtrace.reason.keep.evidence import Claim, Depth
from slimtrace.reason.keep.graph import ArtifactGraph
from slimtrace.reason.keep.packages import Owners, installed, trimmed_database, unreadable
from slimtrace.reason.keep.packages.whole_packages import WholePackages
from slimtrace.reason.keep.rules import Exclusion, Keep, Rules

LD_SO_CACHE = "/etc/ld.so.cache"
# Reasons for which a file's content matters: finders read files that are kept for one of them.
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


def build_graph(capture: Capture, rules: Rules | None = None, repairs: tuple[str, ...] = ()) -> ArtifactGraph:
    """The graph of everything that `capture` and `rules` give a reason to keep, and of the paths `repairs`,
    which a trial of the slim image has missed."""
    rules = rules or Rules()
    builder = _Builder(capture, Exclusion(capture.tree, rules))
    builder.add_claims(evidence.claims(capture))
    builder.add_claims(user_rules.claims(capture, rules))
    builder.add_claims(user_rules.repaired(capture, repairs))
    builder.link_objects()
    if rules.keep is not Keep.EXACT:
        whole = (WholePackages(capture),) if rules.keep is Keep.PACKAGE else ()
        builder.run_finders((*finders.finders(capture), *whole))
    builder.add_unresolved_doubts()
    graph = builder.graph
    graph.doubts += (*evidence.missing_programs(capture), *user_rules.missing(capture, rules))
    graph.doubts += unreadable(capture)
    stored_answers.read_for_confinement(capture)
    graph.connect_orphan_processes()
    builder.add_packages(rules)
    return graph


class _Builder:
    def __init__(self, capture: Capture, exclusion: Exclusion) -> None:
        self._capture = capture
        self._drops = exclusion.drops  # a dropped file needs nothing
        mounts = tuple(mount.path for mount in capture.trace.mounts)
        self.graph = ArtifactGraph(capture.tree, mounts, capture.image.volumes)
        self._linker = DynamicLinker(capture.tree, capture.contents, capture.image.environment)
        self._unlinked: dict[str, Depth] = {}  # files that may be ELF, and were not linked yet
        self._linked: set[str] = set()
        self._sonames: set[str] = set()
        self._unresolved: dict[str, str] = {}
        self._unsearched: set[str] = set()  # files kept for their content that no finder read yet
        self._searched: set[str] = set()

    def add_claims(self, claims: Iterable[Claim]) -> None:
        """Put claims into the graph, with the interpreters that executing the claimed files takes."""
        for claim in claims:
            self._add_claim(claim)

    def _add_claim(self, claim: Claim) -> None:
        reason = Reason(claim.why, claim.of)
        if not claim.present:
            self.graph.keep_lookup(claim.path, reason, claim.source, claim.follow)
            return
        path = self._keep_resolved(claim.path, reason, claim.source, claim.follow)
        if path is None:
            return
        if claim.why is Why.EXECUTED:
            self.graph.connect(path, evidence.process_node(path))
        if self._drops(path):
            return
        if claim.depth >= Depth.LIBRARY:
            self._unlinked[path] = max(claim.depth, self._unlinked.get(path, Depth.ALONE))
        if claim.depth is Depth.PROGRAM:
            for interpreter in self._add_interpreters(claim, path):
                if not self._drops(interpreter):
                    self._unlinked.setdefault(interpreter, Depth.LIBRARY)

    def _keep_resolved(self, path: str, reason: Reason, source: str, follow: bool = True) -> str | None:
        """Keep what `path` resolves to; the path of that, if it is a regular file of the image."""
        found = self.graph.keep_resolved(path, reason, source, follow)
        if found is None or found.entry is None or found.entry.kind is not Kind.FILE:
            return None
        if reason.why in _FOR_CONTENT and found.path not in self._searched and not self._drops(found.path):
            self._unsearched.add(found.path)
        return found.path

    def _add_interpreters(self, claim: Claim, path: str) -> Iterator[str]:
        capture = self._capture
        search = capture.image.environment.get("PATH") or shebangs.DEFAULT_PATH
        for step in shebangs.interpreters(capture.tree, capture.contents, path, search, claim.base):
            reason = Reason(Why.INTERPRETER, step.by)
            found = self._keep_resolved(step.path, reason, step.by) if step.path else None
            if found:
                yield found
            else:
                text = f"{paths.printable(step.by)} is a script of {step.asked}, which the image does not have"
                self.graph.doubts.append(Doubt("interpreter", text, step.by))

    def link_objects(self) -> None:
        """Keep what the dynamic linker loads for all new ELF objects. Programs come first, since libraries are
        found by the search path of the program that loads them; an object that was dlopened, or only read, is
        linked by its own."""
        capture, graph = self._capture, self.graph
        objects = sorted(path for path in self._unlinked if path not in self._linked)
        self._unlinked.clear()
        elfs = {path: elf for path in objects if (elf := capture.contents.elf(path))}
        self._sonames |= {elf.soname for elf in elfs.values()}
        for path in sorted(elfs, key=lambda path: (not elfs[path].interpreter, path)):
            if path in self._linked:
                continue
            self._linked.add(path)
            loader = elfs[path].interpreter
            if loader and not graph.keep_resolved(loader, Reason(Why.INTERPRETER, path), path):
                self._unresolved.setdefault(loader, path)
            if loader and "ld-musl" not in loader and LD_SO_CACHE in capture.tree:
                graph.keep_resolved(LD_SO_CACHE, Reason(Why.NEEDED, path), path)
            for need in self._linker.closure(path):
                if self._drops(need.by):
                    continue
                if need.found is None:
                    self._unresolved.setdefault(need.name, need.by)
                    continue
                self._linked.add(need.found.path)
                if end := self._keep_resolved(need.asked, Reason(Why.NEEDED, need.by), need.by):
                    self._linked.add(end)

    def run_finders(self, called: Iterable[finders.Finder]) -> None:
        """Call the finders for every file that is kept for its content, until no new file is found."""
        called = tuple(called)
        while self._unsearched:
            batch = sorted(self._unsearched)
            self._searched |= self._unsearched
            self._unsearched.clear()
            for path in batch:
                for finder in called:
                    for item in finder.found(path):
                        if isinstance(item, Doubt):
                            self.graph.doubts.append(item)
                        else:
                            self._add_claim(item)
            self.link_objects()

    def add_packages(self, rules: Rules) -> None:
        """Connect the kept files with the packages that own them, and claim the packages' metadata."""
        graph = self.graph
        used = [path for path in graph.paths() if not self._drops(path)]
        owners = Owners(installed(self._capture, used))
        self.add_claims(trimmed_database.claims(self._capture, owners, used, rules.package_db))
        for path in sorted(graph.paths()):
            for owner in owners.of(path):
                graph.connect(path, owner.node)

    def add_unresolved_doubts(self) -> None:
        """A doubt for each library that was not found."""
        known = self._sonames | {paths.name(path) for path in self.graph.paths()}
        for name, by in sorted(self._unresolved.items()):
            # A library that was loaded from elsewhere (by another object's search path, by LD_LIBRARY_PATH set
            # in a script) is kept already: then its name is no doubt.
            if name not in known:
                text = f"{paths.printable(by)} needs {paths.printable(name)}, which was not found in the image"
                self.graph.doubts.append(Doubt("unresolved-library", text, name))


__all__ = ["build_graph"]
