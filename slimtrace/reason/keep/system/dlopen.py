"""Libraries that are loaded by name while a program runs: dlopen(3).

A whole string in an ELF file that is a library's name counts where the linker would find that library. A
plugin directory is not: which of its files are loaded is a question to configuration, or to the run.
"""

from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.sources import binary
from slimtrace.reason.keep.evidence import Claim
from slimtrace.reason.keep.system.capture_view import Sight

MAX_NAMES = 2000  # of one file: more is a forged one
UNWINDER = "libgcc_s.so.1"
GLIBC = "libc.so.6"
# Names that are strings of a library for what a service's container never does.
_IDLE = {
    # libc itself loads for its callers: libgcc_s as below, libnss_* as nsswitch.conf says, libidn2 (2 MB with
    # what it needs) only for getaddrinfo(3) with AI_IDN.
    "libc": ("",),
    # selinux_mkload_policy(3), which init calls when the machine starts.
    "libselinux": ("libsepol.",),
    # Java's desktop proxy settings, with java.net.useSystemProxies (jdk DefaultProxySelector.c).
    "libnet": ("libgio-2.0.", "libgconf-2."),
    # The JVM with -XX:+UseNUMA, which loads it at its start: then it was seen.
    "libjvm": ("libnuma.",),
}


class Dlopen:
    """Asked of each ELF file."""

    def __init__(self, capture: Capture) -> None:
        self._sight = Sight(capture)

    def found(self, path: str) -> Iterator[Claim]:
        sight = self._sight
        unwinders = sorted(sight.imports(path) & binary.UNWINDERS)
        if unwinders and sight.linker.find(GLIBC, path):  # musl has its own unwinding
            yield from sight.claim_library(UNWINDER, path, unwinders[0])
        idle = _IDLE.get(sight.library(path), ())
        known = {*sight.needed(path), paths.name(path)}
        for name in sight.named(path, "library")[:MAX_NAMES]:
            if name not in known and not name.startswith(idle):
                yield from sight.claim_library(name, path, name)
