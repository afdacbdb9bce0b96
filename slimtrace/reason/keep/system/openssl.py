"""OpenSSL's configuration, its engines and providers.

Sources: config(5ssl), provider(7ssl), OSSL_PROVIDER_load(3ssl), ENGINE_by_id(3ssl), OpenSSL_version(3ssl);
crypto/conf/conf_mod.c, crypto/provider_conf.c, crypto/engine/eng_cnf.c.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.reason.keep.evidence import Claim, Depth
from slimtrace.reason.keep.system.capture_view import CaptureView

MAX_INCLUDES = 64
MAX_LINES = 20_000  # of one file
_BUILT_IN = frozenset(("default", "base", "null"))  # providers that are part of libcrypto


@dataclass(frozen=True, slots=True)
class BuildDirectories:
    """The directories that are compiled into a libcrypto: of openssl.cnf and the certificates (OPENSSLDIR), of
    engines, of providers (MODULESDIR)."""

    openssl: str
    engines: str
    modules: str


def build_directories(view: CaptureView, path: str) -> BuildDirectories | None:
    """The directories of the libcrypto at `path`, or of the one that the object at `path` is linked with."""
    library = path if view.library(path) == "libcrypto" else ""
    for name in view.needed(path):
        if not library and name.startswith("libcrypto.so"):
            need = view.linker.find(name, path)
            library = need.found.path if need and need.found else ""
    built = dict(name.split("=", 1) for name in view.named(library, "openssl")) if library else {}
    if "OPENSSLDIR" not in built:
        return None
    return BuildDirectories(built["OPENSSLDIR"], built.get("ENGINESDIR", ""), built.get("MODULESDIR", ""))


class OpenSsl:
    """For libcrypto: the configuration that it reads, and the modules that this activates; for a program: the
    providers that it loads by their names."""

    def __init__(self, capture: Capture) -> None:
        self._view = CaptureView(capture)

    def found(self, path: str) -> Iterator[Claim]:
        view = self._view
        crypto = view.library(path) == "libcrypto"
        providers = view.named(path, "provider")
        directories = build_directories(view, path) if crypto or providers else None
        if directories is None:
            return
        modules = view.environment.get("OPENSSL_MODULES") or directories.modules
        engines = view.environment.get("OPENSSL_ENGINES") or directories.engines
        for name in providers:
            yield from view.claim(f"{modules}/{name}.so", path, name, Depth.LIBRARY)
        if not crypto:
            return
        configuration = _Configuration(view)
        configuration.read(view.environment.get("OPENSSL_CONF") or f"{directories.openssl}/openssl.cnf")
        for file in configuration.files:
            yield from view.claim(file, path, "its configuration")
        for section, path_setting, directory in (
            ("providers", "module", modules),
            ("engines", "dynamic_path", engines),
        ):
            for identifier, settings in configuration.activated(section):
                if identifier not in _BUILT_IN:
                    named = settings.get(path_setting) or f"{settings.get('engine_id', identifier)}.so"
                    file = paths.join(directory, named if named.endswith(".so") else f"{named}.so")
                    yield from view.claim(file, path, f"{section} of its configuration", Depth.LIBRARY)


@dataclass(slots=True)
class _Configuration:
    """openssl.cnf with the files that it includes: the values of each section."""

    view: CaptureView
    files: list[str] = field(default_factory=list)
    _sections: dict[str, dict[str, str]] = field(default_factory=dict)

    def read(self, path: str) -> None:
        text = self.view.text(path)
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
        if self.view.file(path):
            self.read(path)
        for child in self.view.children(path):
            if child.endswith((".cnf", ".conf")):
                self.read(child)

    def activated(self, kind: str) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Each provider or engine in the section that `openssl_conf` makes effective, with its settings."""
        start = self._sections.get("default", {}).get("openssl_conf", "")
        wanted = self._sections.get(start, {}).get(kind, "")
        for identifier, section in self._sections.get(wanted, {}).items():
            yield identifier.rpartition(".")[2], self._sections.get(section, {})
