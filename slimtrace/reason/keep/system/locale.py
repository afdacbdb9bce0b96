"""Locales.

Sources: locale(7), setlocale(3), glibc locale/findlocale.c and intl/l10nflist.c (_nl_normalize_codeset).
"""

import re
from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.sources import binary
from slimtrace.reason.keep.evidence import Claim
from slimtrace.reason.keep.system.capture_view import FEW, Sight

LOCALES = "/usr/lib/locale"
ARCHIVE = f"{LOCALES}/locale-archive"
_VARIABLES = re.compile(r"LANG|LC_[A-Z]+")  # LANGUAGE orders translations, not locales
_BUILT_IN = frozenset(("", "C", "POSIX"))


class Locale:
    """The locales that ENV sets or a program names, for what calls setlocale(3); and the rest of one of which
    a part was read: which categories a program asks for is a matter of its code's way."""

    def __init__(self, capture: Capture) -> None:
        self._sight = Sight(capture)
        self._set = {v for k, v in self._sight.environment.items() if _VARIABLES.fullmatch(k)} - _BUILT_IN
        self._root = self._sight.tree.resolve(LOCALES).path
        self._claimed: set[str] = set()

    def found(self, path: str) -> Iterator[Claim]:
        sight = self._sight
        directory, slash, _ = path.removeprefix(f"{self._root}/").partition("/")
        if slash and path.startswith(f"{self._root}/"):
            yield from self._whole(f"{LOCALES}/{directory}", path)
        if not sight.imports(path) & binary.LOCALES:
            return
        named = sight.named(path, "locale")
        for name in sorted({*self._set, *(named if len(named) <= FEW else ())}):
            if whole := self._directory(name):
                yield from self._whole(whole, path)
            elif name in self._set:
                yield from sight.claim(ARCHIVE, path, "a locale of ENV")

    def _whole(self, directory: str, path: str) -> Iterator[Claim]:
        if directory not in self._claimed:
            self._claimed.add(directory)
            for file in self._sight.below(directory):
                yield from self._sight.claim(file, path, paths.name(directory))

    def _directory(self, name: str) -> str | None:
        """The directory of a locale: as it is spelled, or with the codeset as glibc spells it."""
        language, dot, rest = name.partition(".")
        codeset, at, modifier = rest.partition("@")
        spelled = {name, f"{language}{dot}{_normal(codeset)}{at}{modifier}"}
        for candidate in sorted(spelled):
            if "/" not in candidate and self._sight.children(f"{LOCALES}/{candidate}"):
                return f"{LOCALES}/{candidate}"
        return None


def _normal(codeset: str) -> str:
    plain = "".join(char for char in codeset.lower() if char.isalnum())
    return f"iso{plain}" if plain.isdigit() else plain
