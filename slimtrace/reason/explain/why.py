"""Why a path is in the slim image, or why not: the answer of ``slimtrace why``, as data.

The path is read as the container would read it: relative to WORKDIR, its symlinks followed inside the image.
What is explained is the entry that it names; where that is a symlink, also the entry it leads to.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.selection import Selection, Why
from slimtrace.facts.tree import FileTree, Kind
from slimtrace.reason.explain import absence
from slimtrace.reason.explain.absence import Because
from slimtrace.reason.explain.reason_text import in_words
from slimtrace.reason.explain.repeat_decision import Decision

# The package that a path belongs to, by name; "" for none, or where that is not known.
Owner = Callable[[str], str]


def nobody(_path: str) -> str:
    """The Owner where nothing is known of packages."""
    return ""


class Verdict(StrEnum):
    """What became of a path."""

    KEPT = "kept"
    DROPPED = "dropped"
    ABSENT = "absent"  # the image has no such path


@dataclass(frozen=True, slots=True)
class Step:
    """A path on the way from the container's start to the one in question, why it is there, and the package
    that it belongs to ("" for none)."""

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
class Below:
    """The regular files below a directory, and their bytes (one of a file's several names counts)."""

    kept: int = 0
    kept_bytes: int = 0
    dropped: int = 0
    dropped_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """What there is to say of one path.

    `asked` is the question, `path` the entry that it names (absolute, no symlink above it), `kind` what that
    is ("" where it is absent) and `size` its bytes. `chain` leads from the container's start to it, itself
    last, `reasons` are all reasons that hold for it directly; both are empty for a path that is not kept, for
    which `because` speaks. `names` are its other hardlinked names that are kept. `end` is the account of what
    a symlink leads to. All texts are as the image has them: what shows them makes them printable.
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
    because: tuple[Because, ...] = ()
    names: tuple[str, ...] = ()
    below: Below | None = None
    end: "Account | None" = None


def explain(capture: Capture, decision: Decision, asked: str, owner: Owner = nobody) -> Account:
    """The account of the path `asked`, which may be relative to WORKDIR."""
    whole = paths.join(capture.image.text("WorkingDir") or "/", asked)
    if asked.endswith("/"):
        whole = f"{whole}/."  # as in a shell: the directory, not the link that leads to it
    account = _of(capture, decision, asked, whole, owner)
    entry = capture.tree.get(account.path)
    if entry is None or entry.kind is not Kind.LINK:
        return account
    end = _of(capture, decision, account.path, capture.tree.resolve(account.path).path, owner)
    return replace(account, end=end)


def _of(capture: Capture, decision: Decision, asked: str, whole: str, owner: Owner) -> Account:
    tree, selection = capture.tree, decision.selection
    found = tree.resolve(whole, follow_last=whole.endswith("/."))
    links = tuple(Link(link, tree[link].target, link in selection) for link in found.links)
    entry = found.entry
    if entry is None:
        because = absence.why_absent(capture, decision, found.path)
        return Account(asked, found.path, Verdict.ABSENT, links=links, because=because)
    path = found.path
    account = Account(
        asked,
        path,
        Verdict.KEPT if path in selection else Verdict.DROPPED,
        kind=str(entry.kind),
        size=entry.size,
        target=entry.target,
        package=owner(path),
        links=links,
        names=tuple(name for name in tree.hardlinks(path) if name != path and name in selection),
        below=below(tree, selection, path) if entry.kind is Kind.DIR else None,
    )
    if account.verdict is Verdict.DROPPED:
        return replace(account, because=absence.why_dropped(capture, decision, path, owner))
    broken = next((link for link in links if not link.kept), None)
    if broken:
        text = f"the file is there, but the link {broken.path} on the way to it is not"
        account = replace(account, verdict=Verdict.DROPPED, because=(Because("link", text),))
    return replace(
        account,
        chain=_chain(decision, path, owner),
        reasons=tuple(in_words(reason) for reason in selection.kept[path]),
    )


def _chain(decision: Decision, path: str, owner: Owner) -> tuple[Step, ...]:
    steps = decision.graph.chain(path)
    if not steps:
        # A directory whose name is excluded, and which stays for what is kept below it; or the root.
        reason = decision.selection.kept[path][0]
        steps = [*(decision.graph.chain(reason.of) if reason.why is Why.PARENT else ()), (path, reason)]
    return tuple(Step(at, in_words(reason), owner(at)) for at, reason in steps)


def below(tree: FileTree, selection: Selection, directory: str) -> Below:
    """The regular files below `directory`, kept and dropped."""
    counts, sizes, seen = [0, 0], [0, 0], set()
    for entry in tree:
        if entry.kind is Kind.FILE and paths.below(entry.path, directory):
            kept = entry.path in selection
            counts[kept] += 1
            if not entry.inode or (entry.inode, kept) not in seen:
                sizes[kept] += entry.size
                seen.add((entry.inode, kept))
    return Below(counts[True], sizes[True], counts[False], sizes[False])


__all__ = ["Account", "Below", "Link", "Owner", "Step", "Verdict", "below", "explain", "nobody"]
