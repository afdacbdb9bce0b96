"""Names of hosts, users and services: the name service switch and the files behind it.

Sources: nsswitch.conf(5), glibc nss/nss_database.c (the defaults), host.conf(5), gai.conf(5), resolv.conf(5),
and the glibc 2.34 news: "files" and "dns" are part of libc.so from there on.
"""

import re
from collections.abc import Iterator

from slimtrace.facts.capture import Capture
from slimtrace.facts.sources import binary
from slimtrace.reason.keep.evidence import Claim
from slimtrace.reason.keep.system.capture_view import Sight

SWITCH = "/etc/nsswitch.conf"
MAX_LINES = 1000
MAX_SERVICES = 64  # of one database
# What asks for which database. getaddrinfo(3) also turns the name of a service into a port.
_DATABASES = (
    (binary.RESOLVERS, "hosts"),
    (binary.RESOLVERS | binary.SERVICES, "services"),
    (binary.PROTOCOLS, "protocols"),
    (binary.USERS, "passwd"),
    (binary.GROUPS, "group"),
    (binary.GROUPS, "initgroups"),
    (binary.SHADOW, "shadow"),
)
_FILES = {
    "hosts": ("/etc/hosts", "/etc/host.conf", "/etc/resolv.conf"),
    "services": ("/etc/services",),
    "protocols": ("/etc/protocols",),
    "passwd": ("/etc/passwd",),
    "group": ("/etc/group",),
    "shadow": ("/etc/shadow",),
}
_DEFAULT = {"hosts": "dns files"}  # of a database that the file does not name, or without the file; else files
_BUILT_IN = frozenset(("files", "dns"))


class Names:
    """Asked of each ELF file: which databases may it look into?"""

    def __init__(self, capture: Capture) -> None:
        self._sight = Sight(capture)
        self._lines = dict(_lines(self._sight.text(SWITCH) or ""))

    def found(self, path: str) -> Iterator[Claim]:
        sight = self._sight
        imports = sight.imports(path)
        databases = [name for functions, name in _DATABASES if functions & imports]
        for database in databases:
            for file in _FILES.get(database, ()):
                yield from sight.claim(file, path, database)
        if databases:
            yield from sight.claim(SWITCH, path, "its databases")
            yield from self._modules(path, databases)
        if imports & {"getaddrinfo"}:
            yield from sight.claim("/etc/gai.conf", path, "getaddrinfo")
        # A program without libc (Go's, and static ones) reads the same files itself. The C libraries name them
        # too, for their callers.
        if not sight.needed(path) and not re.match(r"libc\b|ld-", sight.library(path)):
            for file in set(sight.named(path, "path")) & {SWITCH, "/etc/services", "/etc/protocols"}:
                yield from sight.claim(file, path, "a string")

    def _modules(self, path: str, databases: list[str]) -> Iterator[Claim]:
        services = sorted(
            {
                service
                for database in databases
                for service in self._lines.get(database, _DEFAULT.get(database, "files")).split()[:MAX_SERVICES]
            }
        )
        built_in = _BUILT_IN if self._is_new(path) else frozenset()
        for service in services:
            if service not in built_in:
                yield from self._sight.claim_library(f"libnss_{service}.so.2", path, SWITCH)

    def _is_new(self, path: str) -> bool:
        """Whether the glibc that the object at `path` runs with is 2.34 or later."""
        libc = self._sight.linker.find("libc.so.6", path)
        return bool(libc and libc.found and self._sight.named(libc.found.path, "version"))


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines()[:MAX_LINES]:
        database, colon, services = line.partition("#")[0].partition(":")
        if colon:
            yield database.strip(), re.sub(r"\[[^]]*\]?", " ", services)
