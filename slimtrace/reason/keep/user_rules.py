"""Claims of what the user's rules include, and of what a trial of the slim image missed; doubts about what the
rules name and the image does not have.

A rule is about the image: a mount that hid a path while it was traced does not hide it here (see graph).
"""

from collections.abc import Iterable, Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt
from slimtrace.facts.selection import Why
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep import shebangs
from slimtrace.reason.keep.evidence import DEFAULT_SHELL, RULES, TRIAL, Claim, Depth
from slimtrace.reason.keep.rules import Exclusion, Rules


def claims(capture: Capture, rules: Rules) -> Iterator[Claim]:
    """Every claim of the rules. A path that an exclude pattern drops is not claimed, nor what it needs."""
    exclusion = Exclusion(capture.tree, rules)
    for of, path in (*_programs(capture, rules), *_objects(capture, rules)):
        if path:
            entry = capture.tree.resolve(path).entry
            program = entry is not None and entry.mode & 0o111
            yield Claim(path, Why.RULE, RULES, of, Depth.PROGRAM if program else Depth.LIBRARY)
    for of, path in _trees(capture, rules):
        found = capture.tree.resolve(path)
        if found.entry is None or not exclusion.drops(found.path):
            yield Claim(paths.clean(path), Why.RULE, RULES, of, Depth.LIBRARY)
        for below in capture.tree.subtree(found.path)[1:] if found.entry else ():
            if not exclusion.drops(below):
                link = capture.tree[below].kind is Kind.LINK
                yield Claim(below, Why.RULE, RULES, of, Depth.LIBRARY, follow=not link)


def repaired(capture: Capture, missed: Iterable[str]) -> Iterator[Claim]:
    """A claim for each path of the image that a trial of the slim image looked up in vain."""
    for path in missed:
        entry = capture.tree.resolve(path).entry
        if entry is not None:
            depth = Depth.PROGRAM if entry.mode & 0o111 else Depth.LIBRARY
            yield Claim(paths.clean(path), Why.REPAIR, TRIAL, path, depth)


def missing(capture: Capture, rules: Rules) -> Iterator[Doubt]:
    """A doubt for each path or program that the rules name and the image does not have."""
    for name, path in (*_programs(capture, rules), *_objects(capture, rules)):
        if not path:
            text = f"a rule names {paths.printable(name)}, which is not there"
            yield Doubt("missing-program", text, name)
    for name, path in _trees(capture, rules):
        if capture.tree.resolve(path).entry is None:
            yield Doubt("missing-path", f"a rule names {paths.printable(name)}, which is not there", name)
    if rules.include_workdir and not _workdir(capture):
        yield Doubt("missing-path", "a rule names the WORKDIR, and the image sets none", "WORKDIR")


def _programs(capture: Capture, rules: Rules) -> Iterator[tuple[str, str]]:
    """Each program that a rule includes by name, and its path; "" where the image does not have it."""
    image = capture.image
    search = image.environment.get("PATH") or shebangs.DEFAULT_PATH
    names = [*rules.include_exes, *(name for name in rules.include_bins if "/" not in name)]
    if rules.include_shell:
        names.append((image.strings("Shell") or DEFAULT_SHELL)[0])
    for name in names:
        yield name, shebangs.find_program(capture.tree, name, search, image.text("WorkingDir") or "/") or ""


def _objects(capture: Capture, rules: Rules) -> Iterator[tuple[str, str]]:
    """Each program or library that a rule includes by path, and that path; "" where no file is there."""
    for name in rules.include_bins:
        if "/" in name:
            path = paths.join(capture.image.text("WorkingDir") or "/", name)
            entry = capture.tree.resolve(path).entry
            yield name, path if entry and entry.kind is Kind.FILE else ""


def _trees(capture: Capture, rules: Rules) -> Iterator[tuple[str, str]]:
    """Each path that a rule includes with all below it: the name for a reason, and the path."""
    yield from ((path, path) for path in (*rules.include_paths, *rules.preserve_paths))
    if rules.include_workdir and (path := _workdir(capture)):
        yield "WORKDIR", path


def _workdir(capture: Capture) -> str:
    """WORKDIR as the image sets it; "" for none, and for the root, which is the default."""
    path = paths.clean(capture.image.text("WorkingDir"))
    return "" if capture.tree.resolve(path).path == "/" else path


__all__ = ["claims", "missing", "repaired"]
