"""The CA certificates that TLS libraries trust.

Sources: SSL_CTX_set_default_verify_paths(3ssl), X509_LOOKUP_hash_dir(3ssl); gnutls's
--with-default-trust-store-file; Go crypto/x509/root_linux.go.
"""

import re
from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.sources import binary
from slimtrace.facts.tree import Kind
from slimtrace.reason.keep.evidence import Claim
from slimtrace.reason.keep.system import openssl
from slimtrace.reason.keep.system.capture_view import CaptureView

# Libraries that verify a TLS peer by the certificates of a file. Not libcrypto: most programs that use it only
# hash. Not libnss3: its certificates are in libnssckbi.
LIBRARIES = frozenset(("libssl", "libgnutls", "libmbedtls", "libwolfssl", "libtls"))
_FILE_VARIABLES = (
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
)
_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.r?\d{1,4}")  # the links that openssl-rehash(1ssl) makes


class Certificates:
    """Keeps the bundle, one file with all certificates, where a TLS library is in use or a program names the
    file; and the directory of single certificates, found by the hash of their subject, where that was looked
    into or is configured."""

    def __init__(self, capture: Capture) -> None:
        self._view = view = CaptureView(capture)
        self._env_files = [file for name in _FILE_VARIABLES if (file := view.environment.get(name, ""))]
        self._directories = [
            directory
            for directory in view.environment.get("SSL_CERT_DIR", "").split(":")
            if directory.startswith("/")
        ]
        looked_up = {paths.parent(path) for path in view.requested if _HASHED_NAME.fullmatch(paths.name(path))}
        self._directories += sorted(looked_up - set(self._directories))
        self._bundle = next((path for path in binary.CA_BUNDLES if view.file(path)), "")

    def found(self, path: str) -> Iterator[Claim]:
        view = self._view
        library = view.library(path)
        if library in LIBRARIES:
            for file in (*self._env_files, self._bundle):
                yield from view.claim(file, path, "certificates")
            for directory in self._directories:
                yield from self._hashed(directory, path)
        if library != "libc":
            for file in binary.CA_BUNDLES:
                if file in view.named(path, "path"):
                    yield from view.claim(file, path, "certificates")
        directories = (
            openssl.build_directories(view, path) if view.imports(path) & binary.TRUST_STORE_FUNCTIONS else None
        )
        if directories and library != "libssl":
            if view.file(f"{directories.openssl}/cert.pem"):
                yield from view.claim(f"{directories.openssl}/cert.pem", path, "certificates")
            else:
                yield from self._hashed(f"{directories.openssl}/certs", path)

    def _hashed(self, directory: str, path: str) -> Iterator[Claim]:
        yield from self._view.claim(directory, path, "certificates")
        for child in self._view.children(directory):
            if _HASHED_NAME.fullmatch(paths.name(child)) and self._view.tree[child].kind is not Kind.DIR:
                yield from self._view.claim(child, path, "a certificate by its hash")
