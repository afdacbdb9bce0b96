"""Finders: what the content of kept files shows that they need beyond what was seen, one finder for each
language or system facility.

A finder only reads files, it never runs them. What it cannot resolve it reports as a doubt with its place.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt
from slimtrace.reason.keep.evidence import Claim
from slimtrace.reason.keep.languages.java import Java
from slimtrace.reason.keep.languages.node import Node
from slimtrace.reason.keep.languages.perl import Perl
from slimtrace.reason.keep.languages.php import Php
from slimtrace.reason.keep.languages.python import Python
from slimtrace.reason.keep.languages.ruby import Ruby
from slimtrace.reason.keep.languages.shell import Shell
from slimtrace.reason.keep.system.certificates import Certificates
from slimtrace.reason.keep.system.data_files import DataFiles
from slimtrace.reason.keep.system.dlopen import Dlopen
from slimtrace.reason.keep.system.gconv import Gconv
from slimtrace.reason.keep.system.locale import Locale
from slimtrace.reason.keep.system.name_service import NameService
from slimtrace.reason.keep.system.openssl import OpenSsl
from slimtrace.reason.keep.system.pam import Pam
from slimtrace.reason.keep.system.postgres import Postgres
from slimtrace.reason.keep.system.terminfo import Terminfo
from slimtrace.reason.keep.system.timezone import Timezone


class Finder(Protocol):
    """`found` is called once for each regular file that the graph keeps for its content: executed, opened,
    mapped, imported, needed; not for a file that was only looked at. `path` is resolved. The result is the
    claims that this file makes (their `source` is `path`; the image has what each names), and doubts."""

    def found(self, path: str) -> Iterable[Claim | Doubt]: ...


FinderFactory = Callable[[Capture], Finder]

# In the order in which the finders are called.
FINDER_FACTORIES: Mapping[str, FinderFactory] = {
    "java": Java,
    "dlopen": Dlopen,
    "data files": DataFiles,
    "names": NameService,
    "gconv": Gconv,
    "locale": Locale,
    "timezone": Timezone,
    "terminfo": Terminfo,
    "certificates": Certificates,
    "openssl": OpenSsl,
    "pam": Pam,
    "postgres": Postgres,
    "python": Python,
    "perl": Perl,
    "shell": Shell,
    "node": Node,
    "ruby": Ruby,
    "php": Php,
}


def finders(capture: Capture) -> tuple[Finder, ...]:
    """A finder of every kind for one capture."""
    return tuple(make(capture) for make in FINDER_FACTORIES.values())
