"""Locales.

Sources: locale(7), setlocale(3), glibc locale/findlocale.c and intl/l10nflist.c (_nl_normalize_codeset).
"""

import re
from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.sources import binary
from slimtrace.reason.keep.evidence import Claim
from slimtrace.reason.keep.system.capture_view import MAX_NAMED, CaptureView

LOCALES = "/usr/lib/locale"
ARCHIVE = f"{LOCALES}/locale-archive"
_VARIABLES = re.compile(r"LANG|LC_[A-Z]+")  # LANGUAGE orders translations, not locales
_BUILT_IN = frozenset(("", "C", "POSIX"))


class Locale:
    """For an ELF file that calls setlocale(3): the locales that ENV sets or the file names. For a file of a
    locale that was read: the locale's other files, since a program may load further categories later."""

    def __init__(self, capture: Capture) -> None:
        self._view = CaptureView(capture)
        self._env_locales = {
            v for k, v in self._view.environment.items() if _VARIABLES.fullmatch(k)
        } - _BUILT_IN
        self._root = self._view.tree.resolve(LOCALES).path
        self._claimed: set[str] = set()

    def found(self, path: str) -> Iterator[Claim]:
        view = self._view
        directory, slash, _ = path.removeprefix(f"{self._root}/").partition("/")
        if slash and path.startswith(f"{self._root}/"):
            yield from self._claim_locale(f"{LOCALES}/{directory}", path)
        if not view.imports(path) & binary.LOCALE_FUNCTIONS:
            return
        named = view.named(path, "locale")
        for name in sorted({*self._env_locales, *(named if len(named) <= MAX_NAMED else ())}):
            if found := self._directory(name):
                yield from self._claim_locale(found, path)
            elif name in self._env_locales:
                yield from view.claim(ARCHIVE, path, "a locale of ENV")

    def _claim_locale(self, directory: str, path: str) -> Iterator[Claim]:
        if directory not in self._claimed:
            self._claimed.add(directory)
            for file in self._view.below(directory):
                yield from self._view.claim(file, path, paths.name(directory))

    def _directory(self, name: str) -> str | None:
        """The directory of a locale: with its own spelling, or with the codeset as glibc normalizes it."""
        language, dot, rest = name.partition(".")
        codeset, at, modifier = rest.partition("@")
        spelled = {name, f"{language}{dot}{_normalized_codeset(codeset)}{at}{modifier}"}
        for candidate in sorted(spelled):
            if "/" not in candidate and self._view.children(f"{LOCALES}/{candidate}"):
                return f"{LOCALES}/{candidate}"
        return None


def _normalized_codeset(codeset: str) -> str:
    plain = "".join(char for char in codeset.lower() if char.isalnum())
    return f"iso{plain}" if plain.isdigit() else plain
