"""Finders: what kept files say that they need beyond what was seen, one finder a language or system facility.

Everything here is static: a file is read, never run. What a finder cannot resolve is a doubt with its place.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt
from slimtrace.reason.evidence import Claim
from slimtrace.reason.languages.java import Java
from slimtrace.reason.languages.node import Node
from slimtrace.reason.languages.perl import Perl
from slimtrace.reason.languages.php import Php
from slimtrace.reason.languages.python import Python
from slimtrace.reason.languages.ruby import Ruby
from slimtrace.reason.languages.shell import Shell
from slimtrace.reason.system.certificates import Certificates
from slimtrace.reason.system.datafiles import DataFiles
from slimtrace.reason.system.dlopen import Dlopen
from slimtrace.reason.system.gconv import Gconv
from slimtrace.reason.system.locale import Locale
from slimtrace.reason.system.names import Names
from slimtrace.reason.system.openssl import OpenSsl
from slimtrace.reason.system.pam import Pam
from slimtrace.reason.system.postgres import Postgres
from slimtrace.reason.system.terminfo import Terminfo
from slimtrace.reason.system.timezone import Timezone


class Finder(Protocol):
    """Asked once for each regular file that the graph keeps for its content: executed, opened, mapped,
    imported, needed; not for one that was only looked at. `path` is resolved. It answers with the claims of
    that file (their `source` is `path`; each names what is there), and with doubts."""

    def found(self, path: str) -> Iterable[Claim | Doubt]: ...


Maker = Callable[[Capture], Finder]

# In the order in which they are asked.
MAKERS: Mapping[str, Maker] = {
    "java": Java,
    "dlopen": Dlopen,
    "data files": DataFiles,
    "names": Names,
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
    return tuple(make(capture) for make in MAKERS.values())
