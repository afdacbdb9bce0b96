"""The user's rules: what is kept or dropped whatever the trace saw. rules_file and the command line read them;
user_rules turns what they include into claims, select drops what they exclude, path_permissions changes owners
and modes.

Precedence: preserve wins over exclude, exclude over include, include over the policy (Keep), the policy over
what the trace left out. docs/rules.md describes the rules for users.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from slimtrace.facts.tree import FileTree
from slimtrace.reason.keep.globs import matcher
from slimtrace.reason.keep.path_permissions import Permissions


class Keep(StrEnum):
    """How far a build goes beyond what was seen."""

    EXACT = "exact"  # what was used, and what the dynamic linker and the #! lines need for it
    CLOSURE = "closure"  # and what the code in use names, and what the system loads on demand
    PACKAGE = "package"  # and the whole packages of what was used


class PackageDb(StrEnum):
    """How much of the package databases stays (see reason.keep.packages.trimmed_database)."""

    TRIMMED = "trimmed"  # the packages of which something is kept
    FULL = "full"
    NONE = "none"  # only what the container itself read


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one build.

    `include_paths` are kept with all that lies below them. `include_bins` are programs or shared libraries by
    their path, `include_exes` programs by the name under which the image's PATH finds them; both are kept with
    all they need (a bare name among `include_bins` is looked up as well). `include_shell` is short for the
    image's shell, `include_workdir` for the image's WORKDIR with all that lies below.
    `exclude_patterns` are globs over whole paths; one that names a directory drops all below it too.
    `preserve_paths` are kept as by `include_paths`, whatever is excluded. `path_perms` change what stays.
    """

    keep: Keep = Keep.CLOSURE
    include_paths: tuple[str, ...] = ()
    include_bins: tuple[str, ...] = ()
    include_exes: tuple[str, ...] = ()
    include_shell: bool = False
    include_workdir: bool = False
    exclude_patterns: tuple[str, ...] = ()
    preserve_paths: tuple[str, ...] = ()
    path_perms: tuple[Permissions, ...] = ()
    package_db: PackageDb = PackageDb.TRIMMED


class Exclusion:
    """Which paths of a tree the rules drop."""

    def __init__(self, tree: FileTree, rules: Rules) -> None:
        self._rules = rules
        self._excluded = matcher(rules.exclude_patterns)
        self._preserved = preserved(tree, rules.preserve_paths) if self._excluded else frozenset()

    def drops(self, path: str) -> bool:
        """Whether the rules drop `path`, whatever the reasons for it. A directory above a kept path is kept all
        the same, so that the result is a tree; this method does not consider that."""
        if self._excluded is None or path == "/" or path in self._preserved:
            return False
        return self._excluded.match(path) is not None

    def dropped_by(self, path: str) -> str:
        """The first exclude pattern that drops `path`; "" where none does."""
        if not self.drops(path):
            return ""
        patterns = self._rules.exclude_patterns
        return next(each for each in patterns if (only := matcher((each,))) and only.match(path))


def preserved(tree: FileTree, wanted: Iterable[str]) -> frozenset[str]:
    """The paths that those `wanted` resolve to, all below them, and the links on the way."""
    found: set[str] = set()
    for path in wanted:
        end = tree.resolve(path)
        if end.entry is not None:
            found.update(end.links)
            found.update(tree.subtree(end.path))
    return frozenset(found)


def subtree(tree: FileTree, top: str) -> list[str]:
    """`top` and every path below it; links are not followed."""
    found = [top]
    for path in found:
        found.extend(tree.children(path))
    return found


__all__ = ["Exclusion", "Keep", "PackageDb", "Rules", "preserved", "subtree"]
