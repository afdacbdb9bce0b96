"""The artifact graph: what needs what, and why. The only place that knows networkx.

Nodes are paths of the image's tree ("/…"), processes ("process /usr/sbin/nginx": one node for all that ran this
program), the packages that own kept files ("package deb libc6 2.36-9"), and four origins: the image's
configuration, the container runtime, the user's rules, the trial of the slim image. An edge leads from what
needs to what is needed and carries its Reasons; edges without one only connect (a program's file to its
processes, a file to its packages). Everything that is a path in the graph is kept.

Of the rules for what is not the image's: path_resolution(7) for what is walked on the way, the OCI
image-spec's and Docker's VOLUME (the engine fills a new volume from the image, so the image's own files below
a VOLUME stay where they were used; below any other mount nothing of the image is seen).
"""

from collections.abc import Iterator
from itertools import pairwise

import networkx as nx

from slimtrace.facts import paths
from slimtrace.facts.events import Doubt
from slimtrace.facts.selection import Reason, Why
from slimtrace.facts.tree import FileTree, Resolution
from slimtrace.reason.keep.evidence import CONFIG, RULES, RUNTIME, TRIAL

# Reasons that a directory may have in place of what is not there; for any other it was looked at.
_OF_DIRECTORIES = frozenset((Why.CHANGED, Why.CONFIGURED, Why.RULE, Why.RUNTIME))
_OF_THE_IMAGE = frozenset((Why.RULE, Why.REPAIR))  # no mount hides what is asked for by these


class ArtifactGraph:
    """What is needed, and what for. Grows by verbs; is asked for paths, reasons and chains."""

    def __init__(self, tree: FileTree, mounts: tuple[str, ...] = (), volumes: tuple[str, ...] = ()) -> None:
        self.doubts: list[Doubt] = []
        self._tree = tree
        self._mounts = frozenset(mounts) - {"/"}
        self._volumes = frozenset(volumes)
        self._edges = nx.DiGraph()
        self._edges.add_edge(CONFIG, RUNTIME)
        self._edges.add_edge(CONFIG, RULES)
        self._edges.add_edge(CONFIG, TRIAL)

    def __contains__(self, path: str) -> bool:
        return path.startswith("/") and path in self._edges

    def paths(self) -> Iterator[str]:
        """Every path that is needed."""
        return (node for node in self._edges if node.startswith("/"))

    def reasons(self, path: str) -> tuple[Reason, ...]:
        """Why `path` is needed, sorted. Of the paths below a directory the first speaks for all."""
        found: set[Reason] = set()
        below: list[str] = []
        for source, _, reasons in self._edges.in_edges(path, data="reasons"):
            above = Reason(Why.PARENT, source)
            if above in (reasons or ()):
                below.append(source)
            found |= (reasons or set()) - {above}
        if below:
            found.add(Reason(Why.PARENT, min(below)))
        return tuple(sorted(found, key=_rank))

    def chain(self, path: str) -> list[tuple[str, Reason]]:
        """The likeliest way from the image's configuration to `path`: each path on it with its reason, `path`
        last. It is the shortest one, where a step for what was seen to be used is shorter than one for what
        is only named or looked at. Empty where `path` is not needed."""
        if path not in self:
            return []
        way = nx.shortest_path(self._edges, CONFIG, path, _length)
        steps = [(u, v) for u, v in pairwise(way) if v.startswith("/")]
        return [(v, min(self._edges[u][v]["reasons"], key=_rank)) for u, v in steps]

    def mount_over(self, path: str) -> str | None:
        """The mount that lay over `path` when the container ran, if its mount point is above: what was used
        there was not the image's."""
        found = self._mount(path)
        return None if found == path else found

    def connect(self, source: str, target: str, reason: Reason | None = None) -> None:
        """Let `source` need `target`."""
        edges = self._edges.adj[source] if source in self._edges else {}
        if target not in edges:
            self._edges.add_edge(source, target, reasons=set())
        if reason:
            self._edges[source][target]["reasons"].add(reason)

    def keep(self, path: str, reason: Reason, source: str) -> None:
        """Keep an entry of the tree, and the directories above it."""
        new = path not in self._edges
        self.connect(source, path, reason)
        if new and path != "/":
            self.keep(paths.parent(path), Reason(Why.PARENT, path), path)

    def reach(self, path: str, reason: Reason, source: str, follow: bool = True) -> Resolution | None:
        """Keep where `path` leads and the links on the way. What lies on a mount is not the image's: then the
        mount point is kept; of what is missing, the nearest directory that is not. Returns where it led if that
        is the image's own. A rule of the user's, or a repair, means the image: no mount hides it."""
        found = self._tree.resolve(path, follow)
        if reason.why in _OF_THE_IMAGE and found.entry:
            self.keep(found.path, reason, source)
            self._keep_way(path, found.links, found.path, hidden=False)
            return found
        end = self._end(found)
        own = end == found.path and self._mount(end) is None
        self.keep(end, reason if own else self._substitute(reason, end), source)
        self._keep_way(path, found.links, end)
        return found if own else None

    def lead_to(self, path: str, reason: Reason, source: str, follow: bool = True) -> None:
        """Keep the way to `path`, not its end: it was looked for in vain, or is the container's own."""
        found = self._tree.resolve(path, follow)
        end = self._end(found)
        if end == found.path and self._mount(end) is None:
            end = self._nearest(paths.parent(end))
        self.keep(end, self._substitute(reason, end), source)
        self._keep_way(path, found.links, end)

    def join_loose_ends(self) -> None:
        """Connect what no one claims (a process whose start was not seen) to the configuration."""
        reached = nx.descendants(self._edges, CONFIG)
        for node in [node for node in self._edges if node not in reached and node.startswith("process ")]:
            self.connect(CONFIG, node)

    def _keep_way(self, path: str, links: tuple[str, ...], end: str, hidden: bool = True) -> None:
        """The links on the way, those that a mount hides only where not `hidden`."""
        for link in links:
            if not hidden or self._mount(link) is None:
                self.keep(link, Reason(Why.LINK_TO, end), end)
        targets = [paths.join(paths.parent(link), self._tree[link].target) for link in links]
        for walked in (path, *targets):
            # "a/../b" needs the directory a, which the resolved path does not show.
            parts = walked.split("/") if "/.." in walked else ()
            for at, part in enumerate(parts):
                before = self._tree.resolve("/".join(parts[:at])) if part == ".." else None
                if before and before.entry and before.path not in self:
                    self.keep(self._end(before), Reason(Why.PARENT, walked), end)
                    self._keep_way("/".join(parts[:at]), before.links, before.path)

    def _end(self, found: Resolution) -> str:
        mount = self._mount(found.path)
        return self._nearest(mount or found.path)

    def _nearest(self, path: str) -> str:
        return next(step for step in (path, *paths.parents(path)) if step in self._tree or step == "/")

    def _mount(self, path: str) -> str | None:
        """The mount that hides `path` of the image, outermost first; the mount point itself is the image's,
        and so is what the image holds below a VOLUME."""
        for step in (*reversed(tuple(paths.parents(path))), path):
            if step in self._volumes:
                return None
            if step in self._mounts:
                return step
        return None

    def _substitute(self, reason: Reason, end: str) -> Reason:
        if end in self._mounts:
            return Reason(Why.RUNTIME, "a mount point")
        return reason if reason.why in _OF_DIRECTORIES else Reason(Why.LOOKED_AT, reason.of)


_ORDER = {why: at for at, why in enumerate(Why)}


# Steps that tell little of how a path came to be needed.
_FAR = {Why.LOOKED_AT: 50, Why.CONFIGURED: 50, Why.RUNTIME: 100}


def _length(_source: str, _target: str, edge: dict[str, set[Reason]]) -> int:
    reasons = edge.get("reasons")
    return min(_FAR.get(reason.why, 2) for reason in reasons) if reasons else 1


def _rank(reason: Reason) -> tuple[int, str]:
    return _ORDER[reason.why], reason.of


__all__ = ["ArtifactGraph"]
