"""Why a path is in the slim image, or why not: the answer of ``slimtrace why``, as data.

The path is read as the container would read it: relative to WORKDIR, its symlinks followed inside the image.
The explanation is of the entry that the path names; of a symlink also of the entry to which it leads.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.selection import Selection, Why
from slimtrace.facts.tree import FileTree, Kind
from slimtrace.reason.explain import absence
from slimtrace.reason.explain.absence import AbsenceReason
from slimtrace.reason.explain.reason_text import in_words
from slimtrace.reason.explain.repeat_decision import Decision

# Gives the name of the package that a path belongs to; "" for none, or where it is not known.
PackageOwner = Callable[[str], str]


def no_owner(_path: str) -> str:
    """The PackageOwner for an image of whose packages nothing is known."""
    return ""


class Verdict(StrEnum):
    """What became of a path."""

    KEPT = "kept"
    DROPPED = "dropped"
    ABSENT = "absent"  # the image has no such path


@dataclass(frozen=True, slots=True)
class Step:
    """A path on the way from the container's start to the path in question, the reason for it in `words`, and
    the package that it belongs to ("" for none)."""

    path: str
    words: str
    package: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A symlink of the image on the way to the entry: its text, and whether the slim image has it."""

    path: str
    target: str
    kept: bool


@dataclass(frozen=True, slots=True)
class DirectoryTotals:
    """The kept and dropped regular files below a directory, and their bytes (of a file with several names
    once)."""

    kept: int = 0
    kept_bytes: int = 0
    dropped: int = 0
    dropped_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one path is kept, dropped or absent.

    `asked` is the path as the user wrote it, `path` the entry that it names (absolute, no symlink above it),
    `kind` the kind of entry ("" where it is absent) and `size` its bytes. `chain` leads from the container's
    start to the entry, which is its last step; `reasons` are all reasons that hold for the entry directly. Both
    are empty for an entry that is not kept, of which `because` has the reasons. `names` are its other
    hardlinked names that are kept. `end` is the explanation of the entry to which a symlink leads. All texts
    are as the image has them: what shows them makes them printable.
    """

    asked: str
    path: str
    verdict: Verdict
    kind: str = ""
    size: int = 0
    target: str = ""
    package: str = ""
    links: tuple[Link, ...] = ()
    chain: tuple[Step, ...] = ()
    reasons: tuple[str, ...] = ()
    because: tuple[AbsenceReason, ...] = ()
    names: tuple[str, ...] = ()
    below: DirectoryTotals | None = None
    end: "Explanation | None" = None


def explain(capture: Capture, decision: Decision, asked: str, owner: PackageOwner = no_owner) -> Explanation:
    """The explanation of the path `asked`, which may be relative to WORKDIR."""
    full_path = paths.join(capture.image.text("WorkingDir") or "/", asked)
    if asked.endswith("/"):
        full_path = f"{full_path}/."  # as in a shell: the directory, not the symlink that leads to it
    explanation = _explain_entry(capture, decision, asked, full_path, owner)
    entry = capture.tree.get(explanation.path)
    if entry is None or entry.kind is not Kind.LINK:
        return explanation
    end = _explain_entry(
        capture, decision, explanation.path, capture.tree.resolve(explanation.path).path, owner
    )
    return replace(explanation, end=end)


def _explain_entry(
    capture: Capture, decision: Decision, asked: str, full_path: str, owner: PackageOwner
) -> Explanation:
    tree, selection = capture.tree, decision.selection
    found = tree.resolve(full_path, follow_last=full_path.endswith("/."))
    links = tuple(Link(link, tree[link].target, link in selection) for link in found.links)
    entry = found.entry
    if entry is None:
        because = absence.why_absent(capture, decision, found.path)
        return Explanation(asked, found.path, Verdict.ABSENT, links=links, because=because)
    path = found.path
    explanation = Explanation(
        asked,
        path,
        Verdict.KEPT if path in selection else Verdict.DROPPED,
        kind=str(entry.kind),
        size=entry.size,
        target=entry.target,
        package=owner(path),
        links=links,
        names=tuple(name for name in tree.hardlinks(path) if name != path and name in selection),
        below=directory_totals(tree, selection, path) if entry.kind is Kind.DIR else None,
    )
    if explanation.verdict is Verdict.DROPPED:
        return replace(explanation, because=absence.why_dropped(capture, decision, path, owner))
    broken = next((link for link in links if not link.kept), None)
    if broken:
        text = f"the file is there, but the link {broken.path} on the way to it is not"
        explanation = replace(explanation, verdict=Verdict.DROPPED, because=(AbsenceReason("link", text),))
    return replace(
        explanation,
        chain=_chain(decision, path, owner),
        reasons=tuple(in_words(reason) for reason in selection.kept[path]),
    )


def _chain(decision: Decision, path: str, owner: PackageOwner) -> tuple[Step, ...]:
    steps = decision.graph.chain(path)
    if not steps:
        # A directory that a rule excludes, and that is kept for an entry below it; or the root.
        reason = decision.selection.kept[path][0]
        steps = [*(decision.graph.chain(reason.of) if reason.why is Why.PARENT else ()), (path, reason)]
    return tuple(Step(at, in_words(reason), owner(at)) for at, reason in steps)


def directory_totals(tree: FileTree, selection: Selection, directory: str) -> DirectoryTotals:
    """The regular files below `directory`, kept and dropped."""
    counts, sizes, seen = [0, 0], [0, 0], set()
    for entry in tree:
        if entry.kind is Kind.FILE and paths.below(entry.path, directory):
            kept = entry.path in selection
            counts[kept] += 1
            if not entry.inode or (entry.inode, kept) not in seen:
                sizes[kept] += entry.size
                seen.add((entry.inode, kept))
    return DirectoryTotals(counts[True], sizes[True], counts[False], sizes[False])


__all__ = [
    "DirectoryTotals",
    "Explanation",
    "Link",
    "PackageOwner",
    "Step",
    "Verdict",
    "directory_totals",
    "explain",
    "no_owner",
]
