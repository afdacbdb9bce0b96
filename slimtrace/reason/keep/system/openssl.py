"""OpenSSL's configuration, its engines and providers.

Sources: config(5ssl), provider(7ssl), OSSL_PROVIDER_load(3ssl), ENGINE_by_id(3ssl), OpenSSL_version(3ssl);
crypto/conf/conf_mod.c, crypto/provider_conf.c, crypto/engine/eng_cnf.c.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.reason.keep.evidence import Claim, Depth
from slimtrace.reason.keep.system.capture_view import Sight

MAX_INCLUDES = 64
MAX_LINES = 20_000  # of one file
_BUILT_IN = frozenset(("default", "base", "null"))  # providers that are part of libcrypto


@dataclass(frozen=True, slots=True)
class Places:
    """Where a libcrypto looks: for openssl.cnf and the certificates, for engines, for providers."""

    home: str
    engines: str
    modules: str


def places(sight: Sight, path: str) -> Places | None:
    """What the libcrypto at `path`, or the one that the object at `path` is linked with, was built with."""
    library = path if sight.library(path) == "libcrypto" else ""
    for name in sight.needed(path):
        if not library and name.startswith("libcrypto.so"):
            need = sight.linker.find(name, path)
            library = need.found.path if need and need.found else ""
    built = dict(name.split("=", 1) for name in sight.named(library, "openssl")) if library else {}
    if "OPENSSLDIR" not in built:
        return None
    return Places(built["OPENSSLDIR"], built.get("ENGINESDIR", ""), built.get("MODULESDIR", ""))


class OpenSsl:
    """Asked of each file: libcrypto reads the configuration and loads what it activates; a program loads a
    provider by its name."""

    def __init__(self, capture: Capture) -> None:
        self._sight = Sight(capture)

    def found(self, path: str) -> Iterator[Claim]:
        sight = self._sight
        crypto = sight.library(path) == "libcrypto"
        providers = sight.named(path, "provider")
        where = places(sight, path) if crypto or providers else None
        if where is None:
            return
        modules = sight.environment.get("OPENSSL_MODULES") or where.modules
        engines = sight.environment.get("OPENSSL_ENGINES") or where.engines
        for name in providers:
            yield from sight.claim(f"{modules}/{name}.so", path, name, Depth.LIBRARY)
        if not crypto:
            return
        configuration = _Configuration(sight)
        configuration.read(sight.environment.get("OPENSSL_CONF") or f"{where.home}/openssl.cnf")
        for file in configuration.files:
            yield from sight.claim(file, path, "its configuration")
        for section, own, directory in (("providers", "module", modules), ("engines", "dynamic_path", engines)):
            for identity, settings in configuration.activated(section):
                if identity not in _BUILT_IN:
                    named = settings.get(own) or f"{settings.get('engine_id', identity)}.so"
                    file = paths.join(directory, named if named.endswith(".so") else f"{named}.so")
                    yield from sight.claim(file, path, f"{section} of its configuration", Depth.LIBRARY)


@dataclass(slots=True)
class _Configuration:
    """openssl.cnf with what it includes: the values of each section."""

    sight: Sight
    files: list[str] = field(default_factory=list)
    _sections: dict[str, dict[str, str]] = field(default_factory=dict)

    def read(self, path: str) -> None:
        text = self.sight.text(path)
        if text is None or path in self.files or len(self.files) >= MAX_INCLUDES:
            return
        self.files.append(path)
        section = "default"
        for line in text.splitlines()[:MAX_LINES]:
            line = line.partition("#")[0].strip()
            if line.startswith(".include"):
                self._include(line.removeprefix(".include").strip().removeprefix("=").strip(), path)
            elif line.startswith("["):
                section = line.strip("[] \t")
            elif "=" in line:
                name, _, value = line.partition("=")
                self._sections.setdefault(section, {})[name.strip()] = value.strip().strip("\"'")

    def _include(self, name: str, by: str) -> None:
        path = paths.join(paths.parent(by), name)
        if self.sight.file(path):
            self.read(path)
        for child in self.sight.children(path):
            if child.endswith((".cnf", ".conf")):
                self.read(child)

    def activated(self, kind: str) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Each provider or engine that the configuration in force names, with its settings."""
        start = self._sections.get("default", {}).get("openssl_conf", "")
        wanted = self._sections.get(start, {}).get(kind, "")
        for identity, section in self._sections.get(wanted, {}).items():
            yield identity.rpartition(".")[2], self._sections.get(section, {})
