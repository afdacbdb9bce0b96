"""PAM, pluggable authentication modules.

Sources: pam.conf(5), pam.d(5); Linux-PAM libpam/pam_handlers.c (_pam_init_handlers, _pam_load_conf_file); the
FILES sections of pam_access(8), pam_env(8), pam_limits(8), … for what a module reads.
"""

import re
from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.sources import binary
from slimtrace.reason.keep.dynamic_linker import TRIPLETS
from slimtrace.reason.keep.evidence import Claim, Depth
from slimtrace.reason.keep.system.capture_view import CaptureView

SERVICES = ("/etc/pam.d", "/usr/lib/pam.d", "/usr/share/pam.d")
FALLBACK = "other"  # the service whose lines stand for a type that a service has no line of
MAX_INCLUDES = 64
MAX_LINES = 1000  # of a service's file
_MODULE_FILES = {
    "pam_access": ("/etc/security/access.conf",),
    "pam_env": ("/etc/security/pam_env.conf", "/etc/environment", "/etc/default/locale"),
    "pam_faillock": ("/etc/security/faillock.conf",),
    "pam_group": ("/etc/security/group.conf",),
    "pam_limits": ("/etc/security/limits.conf", "/etc/security/limits.d"),
    "pam_namespace": ("/etc/security/namespace.conf", "/etc/security/namespace.init"),
    "pam_nologin": ("/etc/nologin",),
    "pam_pwhistory": ("/etc/security/pwhistory.conf",),
    "pam_securetty": ("/etc/securetty",),
    "pam_shells": ("/etc/shells",),
    "pam_time": ("/etc/security/time.conf",),
    # Where the user may not read /etc/shadow, pam_unix runs unix_chkpwd (_HELPERS).
    "pam_unix": ("/etc/shadow", "/etc/passwd", "/etc/login.defs"),
}
_HELPERS = ("/sbin/unix_chkpwd", "/usr/sbin/unix_chkpwd")


class Pam:
    """For each program or library that calls pam_start(3): the services whose names begin with its own (``su``,
    ``su-l``, ``postgresql`` for postgres), and the modules and files that their lines name."""

    def __init__(self, capture: Capture) -> None:
        self._view = CaptureView(capture)
        self._modules = [f"/lib/{triplet}/security" for triplet in TRIPLETS.values()]
        self._modules += ["/lib64/security", "/usr/lib64/security", "/lib/security", "/usr/lib/security"]

    def found(self, path: str) -> Iterator[Claim]:
        view = self._view
        if not view.imports(path) & binary.PAM_FUNCTIONS:
            return
        yield from view.claim("/etc/pam.conf", path, "PAM")
        program = re.split(r"[.-]", paths.name(path))[0]
        for directory in SERVICES:
            for child in view.children(directory):
                name = paths.name(child)
                if name == FALLBACK or (program and name.startswith(program)):
                    yield from self._service(child, path, set())

    def _service(self, file: str, path: str, seen: set[str]) -> Iterator[Claim]:
        text = self._view.text(file)
        if text is None or file in seen or len(seen) > MAX_INCLUDES:
            return
        seen.add(file)
        yield from self._view.claim(file, path, "a PAM service")
        for line in text.replace("\\\n", " ").splitlines()[:MAX_LINES]:
            words = re.sub(r"\[[^]]*\]?", "required", line.partition("#")[0]).split()
            if words[:1] == ["@include"] and len(words) > 1:
                yield from self._include(words[1], path, seen)
            elif len(words) > 2 and words[1] in ("include", "substack"):
                yield from self._include(words[2], path, seen)
            elif len(words) > 2:
                yield from self._module(words[2], path)

    def _include(self, name: str, path: str, seen: set[str]) -> Iterator[Claim]:
        for directory in SERVICES:
            yield from self._service(paths.join(directory, name), path, seen)

    def _module(self, name: str, path: str) -> Iterator[Claim]:
        view = self._view
        module = next(
            (f"{directory}/{name}" for directory in self._modules if view.file(f"{directory}/{name}")), name
        )
        yield from view.claim(module, path, "a PAM module", Depth.LIBRARY)
        stem = paths.name(name).removesuffix(".so")
        for file in _MODULE_FILES.get(stem, ()):
            yield from view.claim(file, path, stem)
            for child in view.children(file):
                yield from view.claim(child, path, stem)
        for helper in _HELPERS if stem == "pam_unix" else ():
            yield from view.claim(helper, path, stem, Depth.PROGRAM)
