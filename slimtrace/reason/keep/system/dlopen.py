"""Libraries that are loaded by name while a program runs: dlopen(3).

A whole string in an ELF file that is a library's name counts if the dynamic linker would find that library. The
files of a plugin directory do not count: configuration decides which of them are loaded, or the trace shows it.
"""

from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.sources import binary
from slimtrace.reason.keep.evidence import Claim
from slimtrace.reason.keep.system.capture_view import CaptureView

MAX_NAMES = 2000  # of one file; a file with more is forged
UNWINDER = "libgcc_s.so.1"
GLIBC = "libc.so.6"
# By library, the beginnings of names in its strings that it loads only for what a service never does.
_IGNORED = {
    # libc loads these for its callers: libgcc_s as below, libnss_* as nsswitch.conf says, libidn2 (2 MB with
    # the libraries that it needs) only for getaddrinfo(3) with AI_IDN.
    "libc": ("",),
    # selinux_mkload_policy(3), which init calls when the machine starts.
    "libselinux": ("libsepol.",),
    # Java's desktop proxy settings, with java.net.useSystemProxies (jdk DefaultProxySelector.c).
    "libnet": ("libgio-2.0.", "libgconf-2."),
    # The JVM with -XX:+UseNUMA, which loads libnuma at its start, where the trace shows it.
    "libjvm": ("libnuma.",),
}


class Dlopen:
    """For each ELF file: the libraries that it names in strings, and the unwinder of those that unwind."""

    def __init__(self, capture: Capture) -> None:
        self._view = CaptureView(capture)

    def found(self, path: str) -> Iterator[Claim]:
        view = self._view
        unwinders = sorted(view.imports(path) & binary.UNWINDING_FUNCTIONS)
        if unwinders and view.linker.find(GLIBC, path):  # musl has its own unwinding
            yield from view.claim_library(UNWINDER, path, unwinders[0])
        ignored = _IGNORED.get(view.library(path), ())
        known = {*view.needed(path), paths.name(path)}
        for name in view.named(path, "library")[:MAX_NAMES]:
            if name not in known and not name.startswith(ignored):
                yield from view.claim_library(name, path, name)
