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
from slimtrace.reason.keep.system.capture_view import FEW, Sight

CACHE = "gconv-modules.cache"
INTERNAL = "INTERNAL"
MAX_LINES = 20_000  # of gconv-modules; glibc's have some 2,000
_VARIABLES = ("LC_ALL", "LC_CTYPE", "LANG")


class Gconv:
    """For what calls iconv_open(3): the lists of modules, and the modules of the charsets that it names (unless
    it names so many that it has a table) and that the locale in ENV has. A conversion goes by way of INTERNAL,
    so that a module stands for one charset. What data ask for is not known; that module was opened, or not."""

    def __init__(self, capture: Capture) -> None:
        self._sight = sight = Sight(capture)
        libraries = [f"/usr/lib/{triplet}" for triplet in TRIPLETS.values()]
        places = [*sight.environment.get("GCONV_PATH", "").split(":"), *libraries, "/usr/lib64", "/usr/lib"]
        places = [place if place not in libraries + places[-2:] else f"{place}/gconv" for place in places]
        self._places = [place for place in places if place and sight.children(place)]
        set_locale = next((sight.environment[name] for name in _VARIABLES if sight.environment.get(name)), "")
        self._set = set_locale.partition(".")[2].partition("@")[0].upper()
        self._modules: dict[str, str] | None = None

    def found(self, path: str) -> Iterator[Claim]:
        sight = self._sight
        if not sight.imports(path) & binary.CONVERTERS or sight.library(path) == "libc":
            return
        named = {charset.upper() for charset in sight.named(path, "charset")}
        modules = sorted({module for charset in named if (module := self._module(charset))})
        if len(modules) > FEW:
            modules = []
        if self._set and (module := self._module(self._set)):
            modules.append(module)
        if not modules:
            return
        for module in modules:
            yield from sight.claim(module, path, "a charset", Depth.LIBRARY)
        for place in self._places:
            # With the cache the lists are not read (gconv_db.c); GCONV_PATH turns it off (gconv_cache.c).
            cached = "GCONV_PATH" not in sight.environment and sight.file(f"{place}/{CACHE}")
            for file in (f"{place}/{CACHE}",) if cached else self._lists(place):
                yield from sight.claim(file, path, "charsets")

    def _lists(self, place: str) -> Iterator[str]:
        yield f"{place}/gconv-modules"
        for child in self._sight.children(f"{place}/gconv-modules.d"):
            if child.endswith(".conf"):
                yield child

    def _module(self, charset: str) -> str | None:
        if self._modules is None:
            self._modules = {}
            for place in self._places:
                self._modules = self._parse(place) | self._modules
        return self._modules.get(charset)

    def _parse(self, place: str) -> dict[str, str]:
        """The file of each charset, by all its names in upper case."""
        files: dict[str, str] = {}
        aliases: dict[str, str] = {}
        for list_file in self._lists(place):
            for line in (self._sight.text(list_file) or "").splitlines()[:MAX_LINES]:
                words = line.partition("#")[0].split()
                names = [word.rstrip("/").upper() for word in words[1:3]]
                if words[:1] == ["alias"] and len(words) == 3:
                    aliases[names[0]] = names[1]
                elif words[:1] == ["module"] and len(words) >= 4 and names[0] == INTERNAL:
                    file = paths.join(place, words[3])
                    files[names[1]] = file if file.endswith(".so") else f"{file}.so"
        return files | {alias: files[name] for alias, name in aliases.items() if name in files}
