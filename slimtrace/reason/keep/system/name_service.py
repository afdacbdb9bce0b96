"""Names of hosts, users and services: the name service switch and the files behind it.

Sources: nsswitch.conf(5), glibc nss/nss_database.c (the defaults), host.conf(5), gai.conf(5), resolv.conf(5),
and the NEWS of glibc 2.34, since which "files" and "dns" are part of libc.so.
"""

import re
from collections.abc import Iterator

from slimtrace.facts.capture import Capture
from slimtrace.facts.sources import binary
from slimtrace.reason.keep.evidence import Claim
from slimtrace.reason.keep.system.capture_view import CaptureView

SWITCH = "/etc/nsswitch.conf"
MAX_LINES = 1000
MAX_SERVICES = 64  # of one database
# The functions that look into each database. getaddrinfo(3) also turns the name of a service into a port.
_DATABASES = (
    (binary.HOST_LOOKUPS, "hosts"),
    (binary.HOST_LOOKUPS | binary.SERVICE_LOOKUPS, "services"),
    (binary.PROTOCOL_LOOKUPS, "protocols"),
    (binary.PASSWD_LOOKUPS, "passwd"),
    (binary.GROUP_LOOKUPS, "group"),
    (binary.GROUP_LOOKUPS, "initgroups"),
    (binary.SHADOW_LOOKUPS, "shadow"),
)
_FILES = {
    "hosts": ("/etc/hosts", "/etc/host.conf", "/etc/resolv.conf"),
    "services": ("/etc/services",),
    "protocols": ("/etc/protocols",),
    "passwd": ("/etc/passwd",),
    "group": ("/etc/group",),
    "shadow": ("/etc/shadow",),
}
_DEFAULT = {"hosts": "dns files"}  # without a line in nsswitch.conf; all other databases have "files"
_BUILT_IN = frozenset(("files", "dns"))


class NameService:
    """For each ELF file: the files and NSS modules of the databases that it may look into."""

    def __init__(self, capture: Capture) -> None:
        self._view = CaptureView(capture)
        self._lines = dict(_lines(self._view.text(SWITCH) or ""))

    def found(self, path: str) -> Iterator[Claim]:
        view = self._view
        imports = view.imports(path)
        databases = [name for functions, name in _DATABASES if functions & imports]
        for database in databases:
            for file in _FILES.get(database, ()):
                yield from view.claim(file, path, database)
        if databases:
            yield from view.claim(SWITCH, path, "its databases")
            yield from self._modules(path, databases)
        if imports & {"getaddrinfo"}:
            yield from view.claim("/etc/gai.conf", path, "getaddrinfo")
        # A program without libc (Go's, and static ones) reads the same files itself. The C libraries are left
        # out: they name these files for their callers.
        if not view.needed(path) and not re.match(r"libc\b|ld-", view.library(path)):
            for file in set(view.named(path, "path")) & {SWITCH, "/etc/services", "/etc/protocols"}:
                yield from view.claim(file, path, "a string")

    def _modules(self, path: str, databases: list[str]) -> Iterator[Claim]:
        services = sorted(
            {
                service
                for database in databases
                for service in self._lines.get(database, _DEFAULT.get(database, "files")).split()[:MAX_SERVICES]
            }
        )
        built_in = _BUILT_IN if self._has_builtin_modules(path) else frozenset()
        for service in services:
            if service not in built_in:
                yield from self._view.claim_library(f"libnss_{service}.so.2", path, SWITCH)

    def _has_builtin_modules(self, path: str) -> bool:
        """Whether the glibc that the object at `path` loads has "files" and "dns" built in (2.34 or later)."""
        libc = self._view.linker.find("libc.so.6", path)
        return bool(libc and libc.found and self._view.named(libc.found.path, "version"))


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Each database of nsswitch.conf(5) with its services, without their [ACTIONS]."""
    for line in text.splitlines()[:MAX_LINES]:
        database, colon, services = line.partition("#")[0].partition(":")
        if colon:
            yield database.strip(), re.sub(r"\[[^]]*\]?", " ", services)
