"""What was decided: which paths stay, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from slimtrace.facts.events import Doubt


class Why(StrEnum):
    """Why a path is kept; the words of the report and of ``slimtrace why``."""

    EXECUTED = "executed"
    OPENED = "opened"
    LOOKED_AT = "looked at"  # stat, access, readlink
    LISTED = "listed"
    ENTERED = "entered"
    CHANGED = "changed"  # the container wrote here; the image's own content is kept
    INTERPRETER = "interpreter"  # ELF PT_INTERP or a script's #! line
    NEEDED = "needed"  # DT_NEEDED of a kept file
    IMPORTED = "imported"  # code that is kept names it as a module, a library, a program
    ON_DEMAND = "loaded on demand"  # what is kept may load it, by what the system's own files say
    PACKAGE = "of the package"  # with --keep package: something else of its package was used
    LINK_TO = "link on the way"  # a symlink through which a kept path was reached
    PARENT = "directory of"
    CONFIGURED = "configured"  # the image's configuration names it
    RUNTIME = "runtime"  # the container runtime itself needs it
    RULE = "rule"  # the user asked for it
    METADATA = "metadata of"  # the package database: it tells of packages of which something is kept
    REPAIR = "repair"  # the slim image missed it when it was tried


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for one path: `why`, and the path, command or setting that it comes `of`."""

    why: Why
    of: str = ""


@dataclass(frozen=True, slots=True)
class Selection:
    """Every kept path of the tree with its reasons (never empty), and what is doubtful about it."""

    kept: Mapping[str, tuple[Reason, ...]]
    doubts: tuple[Doubt, ...] = field(default=())

    def __contains__(self, path: str) -> bool:
        return path in self.kept
