"""The artifact graph: what needs what, and why. No other module uses networkx.

Nodes are paths of the image's tree ("/…"), processes ("process /usr/sbin/nginx": one node for all that ran this
program), the packages that own kept files ("package deb libc6 2.36-9"), and four origins: the image's
configuration, the container runtime, the user's rules, the trial of the slim image. An edge leads from what
needs to what is needed and carries its Reasons; edges without one only connect (a program's file to its
processes, a file to its packages). Everything that is a path in the graph is kept.

Sources: path_resolution(7) for what a lookup walks through; the OCI image-spec's and Docker's VOLUME (the
engine fills a new volume from the image, so the image's own files below a VOLUME stay where they were used;
below any other mount the container sees nothing of the image).
"""

from collections.abc import Iterator
from itertools import pairwise

import networkx as nx

from slimtrace.facts import paths
from slimtrace.facts.events import Doubt
from slimtrace.facts.selection import Reason, Why
from slimtrace.facts.tree import FileTree, Resolution
from slimtrace.reason.keep.evidence import CONFIG, RULES, RUNTIME, TRIAL

# Reasons that pass on to the directory that is kept in place of a missing path; all others become LOOKED_AT.
_FOR_DIRECTORIES = frozenset((Why.CHANGED, Why.CONFIGURED, Why.RULE, Why.RUNTIME))
_DESPITE_MOUNTS = frozenset((Why.RULE, Why.REPAIR))  # these name files of the image, whatever was mounted over


class ArtifactGraph:
    """What is needed, and what for: methods to add paths and edges, and to query paths, reasons and chains."""

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
        """Why `path` is needed, sorted. Of the paths below a directory only the first is a reason for it."""
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
        """The likeliest chain from the image's configuration to `path`: each path on it with its reason, `path`
        last. This is the shortest path in the graph, where an edge for a use that was seen is shorter than one
        for what is only named or looked at. Empty where `path` is not needed."""
        if path not in self:
            return []
        nodes = nx.shortest_path(self._edges, CONFIG, path, _edge_length)
        steps = [(u, v) for u, v in pairwise(nodes) if v.startswith("/")]
        return [(v, min(self._edges[u][v]["reasons"], key=_rank)) for u, v in steps]

    def mount_over(self, path: str) -> str | None:
        """The mount point above `path` whose mount hid it when the container ran, if there is one: then what
        was used at `path` was not the image's."""
        found = self._hiding_mount(path)
        return None if found == path else found

    def connect(self, source: str, target: str, reason: Reason | None = None) -> None:
        """Add the edge that `source` needs `target`; without a `reason` it only connects."""
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

    def keep_resolved(self, path: str, reason: Reason, source: str, follow: bool = True) -> Resolution | None:
        """Keep what `path` resolves to and the links on the way. If a mount hides that, the mount point is
        kept; if it is missing, the nearest directory above that exists. Returns the resolution if it ends at an
        entry of the image that no mount hides. A rule of the user's, or a repair, is about the image itself,
        whatever was mounted."""
        found = self._tree.resolve(path, follow)
        if reason.why in _DESPITE_MOUNTS and found.entry:
            self.keep(found.path, reason, source)
            self._keep_walked(path, found.links, found.path, despite_mounts=True)
            return found
        end = self._visible_end(found)
        of_image = end == found.path and self._hiding_mount(end) is None
        self.keep(end, reason if of_image else self._substitute(reason, end), source)
        self._keep_walked(path, found.links, end)
        return found if of_image else None

    def keep_lookup(self, path: str, reason: Reason, source: str, follow: bool = True) -> None:
        """Keep the directories and links that a lookup of `path` walks through, not what it ends at: `path` was
        looked up in vain, or is the container's own."""
        found = self._tree.resolve(path, follow)
        end = self._visible_end(found)
        if end == found.path and self._hiding_mount(end) is None:
            end = self._nearest_existing(paths.parent(end))
        self.keep(end, self._substitute(reason, end), source)
        self._keep_walked(path, found.links, end)

    def connect_orphan_processes(self) -> None:
        """Connect the processes that nothing leads to, since their start was not seen, to the configuration."""
        reached = nx.descendants(self._edges, CONFIG)
        for node in [node for node in self._edges if node not in reached and node.startswith("process ")]:
            self.connect(CONFIG, node)

    def _keep_walked(self, path: str, links: tuple[str, ...], end: str, despite_mounts: bool = False) -> None:
        """Keep the links on the way from `path` to `end` (those that a mount hides only if `despite_mounts`),
        and the directories that are left again by ``..``."""
        for link in links:
            if despite_mounts or self._hiding_mount(link) is None:
                self.keep(link, Reason(Why.LINK_TO, end), end)
        targets = [paths.join(paths.parent(link), self._tree[link].target) for link in links]
        for walked in (path, *targets):
            # "a/../b" needs the directory a, which the resolved path does not show.
            parts = walked.split("/") if "/.." in walked else ()
            for at, part in enumerate(parts):
                before = self._tree.resolve("/".join(parts[:at])) if part == ".." else None
                if before and before.entry and before.path not in self:
                    self.keep(self._visible_end(before), Reason(Why.PARENT, walked), end)
                    self._keep_walked("/".join(parts[:at]), before.links, before.path)

    def _visible_end(self, found: Resolution) -> str:
        """What of the image the lookup `found` ends at: its path, the mount point that hides it, or the nearest
        directory above that exists."""
        mount = self._hiding_mount(found.path)
        return self._nearest_existing(mount or found.path)

    def _nearest_existing(self, path: str) -> str:
        return next(step for step in (path, *paths.parents(path)) if step in self._tree or step == "/")

    def _hiding_mount(self, path: str) -> str | None:
        """The outermost mount point at or above `path`: its mount hides what the image has below. None where no
        mount does, or only that of a VOLUME, which the engine fills from the image."""
        for step in (*reversed(tuple(paths.parents(path))), path):
            if step in self._volumes:
                return None
            if step in self._mounts:
                return step
        return None

    def _substitute(self, reason: Reason, end: str) -> Reason:
        """The reason for keeping `end`, which is kept in place of what `reason` is for."""
        if end in self._mounts:
            return Reason(Why.RUNTIME, "a mount point")
        return reason if reason.why in _FOR_DIRECTORIES else Reason(Why.LOOKED_AT, reason.of)


_ORDER = {why: at for at, why in enumerate(Why)}


# The length of edges that tell little of how a path came to be needed; other reasons have 2, none has 1.
_LONG_EDGES = {Why.LOOKED_AT: 50, Why.CONFIGURED: 50, Why.RUNTIME: 100}


def _edge_length(_source: str, _target: str, edge: dict[str, set[Reason]]) -> int:
    reasons = edge.get("reasons")
    return min(_LONG_EDGES.get(reason.why, 2) for reason in reasons) if reasons else 1


def _rank(reason: Reason) -> tuple[int, str]:
    return _ORDER[reason.why], reason.of


__all__ = ["ArtifactGraph"]
