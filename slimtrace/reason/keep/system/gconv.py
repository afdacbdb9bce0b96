"""Modules of iconv(3).

Sources: glibc iconv/gconv_conf.c (the files that are read, GCONV_PATH), iconv/gconv_builtin.h (what needs no
module), iconv/iconvconfig.c (the grammar of gconv-modules); iconv_open(3).
"""

from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.sources import binary
from slimtrace.reason.keep.dynamic_linker import TRIPLETS
from slimtrace.reason.keep.evidence import Claim, Depth
from slimtrace.reason.keep.system.capture_view import MAX_NAMED, CaptureView

CACHE = "gconv-modules.cache"
INTERNAL = "INTERNAL"
MAX_LINES = 20_000  # of gconv-modules; glibc's have some 2,000
_VARIABLES = ("LC_ALL", "LC_CTYPE", "LANG")


class Gconv:
    """For an ELF file that calls iconv_open(3): the lists of modules, and the modules of the charset of the
    locale in ENV and of the charsets that the file names (unless they are so many that it has a table). A
    conversion goes by way of INTERNAL, so that one module is for one charset. Charsets that data may name are
    not known; modules for these are kept only if the trace has them."""

    def __init__(self, capture: Capture) -> None:
        self._view = view = CaptureView(capture)
        libraries = [f"/usr/lib/{triplet}" for triplet in TRIPLETS.values()]
        directories = [*view.environment.get("GCONV_PATH", "").split(":"), *libraries, "/usr/lib64", "/usr/lib"]
        directories = [
            directory if directory not in libraries + directories[-2:] else f"{directory}/gconv"
            for directory in directories
        ]
        self._directories = [directory for directory in directories if directory and view.children(directory)]
        env_locale = next((view.environment[name] for name in _VARIABLES if view.environment.get(name)), "")
        self._env_charset = env_locale.partition(".")[2].partition("@")[0].upper()
        self._modules: dict[str, str] | None = None

    def found(self, path: str) -> Iterator[Claim]:
        view = self._view
        if not view.imports(path) & binary.ICONV_FUNCTIONS or view.library(path) == "libc":
            return
        named = {charset.upper() for charset in view.named(path, "charset")}
        modules = sorted({module for charset in named if (module := self._module(charset))})
        if len(modules) > MAX_NAMED:
            modules = []
        if self._env_charset and (module := self._module(self._env_charset)):
            modules.append(module)
        if not modules:
            return
        for module in modules:
            yield from view.claim(module, path, "a charset", Depth.LIBRARY)
        for directory in self._directories:
            # With the cache the lists are not read (gconv_db.c); GCONV_PATH turns it off (gconv_cache.c).
            cached = "GCONV_PATH" not in view.environment and view.file(f"{directory}/{CACHE}")
            for file in (f"{directory}/{CACHE}",) if cached else self._lists(directory):
                yield from view.claim(file, path, "charsets")

    def _lists(self, directory: str) -> Iterator[str]:
        yield f"{directory}/gconv-modules"
        for child in self._view.children(f"{directory}/gconv-modules.d"):
            if child.endswith(".conf"):
                yield child

    def _module(self, charset: str) -> str | None:
        if self._modules is None:
            self._modules = {}
            for directory in self._directories:
                self._modules = self._parse(directory) | self._modules
        return self._modules.get(charset)

    def _parse(self, directory: str) -> dict[str, str]:
        """The module file of each charset in the lists of `directory`, by all names in upper case."""
        files: dict[str, str] = {}
        aliases: dict[str, str] = {}
        for list_file in self._lists(directory):
            for line in (self._view.text(list_file) or "").splitlines()[:MAX_LINES]:
                words = line.partition("#")[0].split()
                names = [word.rstrip("/").upper() for word in words[1:3]]
                if words[:1] == ["alias"] and len(words) == 3:
                    aliases[names[0]] = names[1]
                elif words[:1] == ["module"] and len(words) >= 4 and names[0] == INTERNAL:
                    file = paths.join(directory, words[3])
                    files[names[1]] = file if file.endswith(".so") else f"{file}.so"
        return files | {alias: files[name] for alias, name in aliases.items() if name in files}
