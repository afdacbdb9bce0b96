"""The certificates that TLS trusts.

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
from slimtrace.reason.keep.system.capture_view import Sight

# Libraries that a program verifies its peers with, by the certificates of a file. Not libcrypto: most that use
# it only hash. Not libnss3: it has its own, in libnssckbi.
LIBRARIES = frozenset(("libssl", "libgnutls", "libmbedtls", "libwolfssl", "libtls"))
_FILES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO")
_HASH = re.compile(r"[0-9a-f]{8}\.r?\d{1,4}")  # what openssl-rehash(1ssl) calls its links


class Certificates:
    """One file with all certificates, where a TLS library is in use or a program names the file; the directory
    of single ones, found by their hash, where that is what is read."""

    def __init__(self, capture: Capture) -> None:
        self._sight = sight = Sight(capture)
        self._set = [file for name in _FILES if (file := sight.environment.get(name, ""))]
        self._directories = [
            directory
            for directory in sight.environment.get("SSL_CERT_DIR", "").split(":")
            if directory.startswith("/")
        ]
        asked = {paths.parent(path) for path in sight.asked if _HASH.fullmatch(paths.name(path))}
        self._directories += sorted(asked - set(self._directories))
        self._bundle = next((path for path in binary.BUNDLES if sight.file(path)), "")

    def found(self, path: str) -> Iterator[Claim]:
        sight = self._sight
        library = sight.library(path)
        if library in LIBRARIES:
            for file in (*self._set, self._bundle):
                yield from sight.claim(file, path, "certificates")
            for directory in self._directories:
                yield from self._hashed(directory, path)
        if library != "libc":
            for file in binary.BUNDLES:
                if file in sight.named(path, "path"):
                    yield from sight.claim(file, path, "certificates")
        where = openssl.places(sight, path) if sight.imports(path) & binary.TRUST else None
        if where and library != "libssl":
            if sight.file(f"{where.home}/cert.pem"):
                yield from sight.claim(f"{where.home}/cert.pem", path, "certificates")
            else:
                yield from self._hashed(f"{where.home}/certs", path)

    def _hashed(self, directory: str, path: str) -> Iterator[Claim]:
        yield from self._sight.claim(directory, path, "certificates")
        for child in self._sight.children(directory):
            if _HASH.fullmatch(paths.name(child)) and self._sight.tree[child].kind is not Kind.DIR:
                yield from self._sight.claim(child, path, "a certificate by its hash")
