"""What an ELF file may ask for when it runs, by its dynamic symbols and by the strings in it.

Kinds of mention (`line` is always 0):

    import    a function that it takes from a library and that makes the library read files (FUNCTIONS)
    library   a whole string that is a library's name (libX.so, libX.so.N) or absolute path: for dlopen(3)
    files     a format for printf(3) with a directory in it, as ``%s/tsearch_data/%s.%s``
    path      the path of a system file (PATHS), also inside a longer string: Go does not end its strings
    openssl   ``OPENSSLDIR=/usr/lib/ssl``, ENGINESDIR, MODULESDIR: libcrypto's own places, as
              OpenSSL_version(3) tells them
    version   GLIBC_2.34, where the file has or needs symbols of that version

and, only in a file that imports a function which could be given it, whole strings that look like

    locale    C.UTF-8, de_DE.utf8       (setlocale(3), newlocale(3))
    zone      Europe/Berlin             (tzset(3) by way of the environment)
    charset   ISO-8859-1                (iconv_open(3))
    provider  legacy, fips              (OSSL_PROVIDER_load(3))

A string that is put together at run time, or that is not ended by a zero byte (Go, Rust), is not seen.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from slimtrace.facts.formats import elf
from slimtrace.facts.mentions import Mention

LIMIT = 1 << 29  # bytes of a file that are read
CHUNK = 1 << 20
LONGEST = 255  # bytes of a string that anyone looks for
CHARSET_BYTES = 1 << 26  # bytes of a file that are searched for charsets, which is slow
MAX_HITS = 100_000  # places of one kind that are looked at in one file; more is a forged one


def _functions(names: str) -> frozenset[str]:
    return frozenset(names.split())


RESOLVERS = _functions(
    """getaddrinfo getnameinfo gethostbyname gethostbyname_r gethostbyname2 gethostbyname2_r gethostbyaddr
    gethostbyaddr_r"""
)
USERS = _functions("getpwnam getpwnam_r getpwuid getpwuid_r getpwent getpwent_r")
GROUPS = _functions("getgrnam getgrnam_r getgrgid getgrgid_r getgrent getgrent_r initgroups getgrouplist")
SHADOW = _functions("getspnam getspnam_r")
SERVICES = _functions("getservbyname getservbyname_r getservbyport getservbyport_r getservent")
PROTOCOLS = _functions("getprotobyname getprotobyname_r getprotobynumber getprotobynumber_r getprotoent")
CLOCKS = _functions("tzset localtime localtime_r __localtime64_r mktime timelocal ctime ctime_r strftime")
LOCALES = _functions("setlocale newlocale")
CONVERTERS = _functions("iconv_open")
TRUST = _functions(
    """SSL_CTX_set_default_verify_paths SSL_CTX_set_default_verify_file SSL_CTX_set_default_verify_dir
    SSL_CTX_set_default_verify_store X509_STORE_set_default_paths X509_STORE_set_default_paths_ex"""
)
PROVIDERS = _functions("OSSL_PROVIDER_load OSSL_PROVIDER_try_load OSSL_PROVIDER_load_ex")
PAM = _functions("pam_start pam_start_confdir")
# For these glibc loads libgcc_s, and ends the program where it cannot (nptl/pthread_cancel.c,
# misc/unwind-link.c). Not backtrace, which then finds no frames and does no harm (debug/backtrace.c).
UNWINDERS = _functions("pthread_cancel pthread_exit thrd_exit")
FUNCTIONS = (
    RESOLVERS | USERS | GROUPS | SHADOW | SERVICES | PROTOCOLS | CLOCKS | LOCALES | CONVERTERS | TRUST
    | PROVIDERS | PAM | UNWINDERS
)  # fmt: skip

# Where programs that bring their own TLS look for the system's certificates, in the order in which Go tries
# them: Go crypto/x509/root_linux.go, curl's and gnutls's configure.
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
PATHS = (*BUNDLES, "/etc/nsswitch.conf", "/etc/services", "/etc/protocols")

# Each expression begins with a literal, which the engine finds at the speed of memchr(3).
_LIBRARY = re.compile(rb"\.so(?:\.\d{1,8}){0,4}\0")
_PATH = re.compile(rb"/etc/(?:%s)" % b"|".join(re.escape(path[5:]).encode() for path in PATHS))
_OPENSSL = re.compile(rb'DIR: "(/[^"\0\n]{0,254})"')
_FILES = re.compile(rb"/%s[\w.%-]{0,40}\0")
_VERSION = re.compile(rb"GLIBC_2\.34\0")
_LOCALE = re.compile(rb"\.(?:UTF|utf)-?8\0")
_ZONE = re.compile(rb"/[A-Za-z][\w+/-]{1,40}\0")
_CHARSET = re.compile(
    rb"\0(?:ISO|UTF|UCS|CP|WINDOWS|KOI8|EUC|BIG5|GB|SHIFT|SJIS|UHC|JOHAB|TIS|MAC|IBM|LATIN|ARMSCII|VISCII|TCVN)"
    rb"[\w.:-]{1,24}(?=(?://(?:TRANSLIT|IGNORE|)){0,2}\0)"
)
_PROVIDER = re.compile(rb"\0(?:legacy|fips)(?=\0)")

_IS_LIBRARY = re.compile(rb"lib[\w+.-]+|/[\x21-\x2e\x30-\x7e][\x21-\x7e]*")
_IS_LOCALE = re.compile(rb"C|POSIX|[a-z]{2,3}_[A-Z]{2}")
_IS_ZONE = re.compile(
    rb"Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Brazil|Canada|Chile|Etc|Europe|Indian|Mexico"
    rb"|Pacific|US"
)
_IS_DIRECTORY = re.compile(rb"(?:%s){1,2}(?:/[\w+-][\w+.-]{0,60}){1,4}")
_BEFORE = {
    "library": _IS_LIBRARY,
    "files": _IS_DIRECTORY,
    "version": re.compile(b""),
    "locale": _IS_LOCALE,
    "zone": _IS_ZONE,
}


def mentions(stream: BinaryIO) -> tuple[Mention, ...]:
    """What the ELF file in `stream` names, sorted within each kind; empty for any other file."""
    if stream.read(len(elf.MAGIC)) != elf.MAGIC:
        return ()
    stream.seek(0)
    imported = elf.imports(stream) & FUNCTIONS
    found = {Mention("import", name) for name in imported}
    stream.seek(0)
    found |= {Mention(kind, text.decode("ascii")) for kind, text in _strings(stream, imported)}
    # What matters least comes last: a reader's answer is cut at its end.
    return tuple(sorted(found, key=lambda mention: (mention.kind == "charset", mention)))


def _strings(stream: BinaryIO, imported: frozenset[str]) -> Iterator[tuple[str, bytes]]:
    wanted = [("library", _LIBRARY), ("path", _PATH), ("openssl", _OPENSSL), ("version", _VERSION)]
    wanted += [("files", _FILES)]
    wanted += [("locale", _LOCALE)] if imported & LOCALES else []
    wanted += [("zone", _ZONE)] if imported & CLOCKS else []
    wanted += [("charset", _CHARSET)] if imported & CONVERTERS else []
    wanted += [("provider", _PROVIDER)] if imported & PROVIDERS else []
    hits = dict.fromkeys((kind for kind, _ in wanted), MAX_HITS)
    tail = b"\0"
    left = LIMIT
    while left > 0 and (data := stream.read(min(CHUNK, left))):
        left -= len(data)
        data = tail + data
        for kind, expression in wanted:
            if hits[kind] <= 0 or (kind == "charset" and left < LIMIT - CHARSET_BYTES):
                continue
            for match in expression.finditer(data):
                hits[kind] -= 1
                if hits[kind] <= 0:
                    break
                if (text := _text(kind, match, data)) and text.isascii():
                    yield kind, text
        # A string across the border is seen whole in the next turn; one before it twice, which does no harm.
        tail = data[-2 * LONGEST :]


def _text(kind: str, match: re.Match[bytes], data: bytes) -> bytes:
    if kind == "path":
        return match[0]
    if kind == "openssl":
        name = data[max(0, match.start() - 7) : match.start() + 3]
        name = next(
            (word for word in (b"OPENSSLDIR", b"ENGINESDIR", b"MODULESDIR") if name.endswith(word)), b""
        )
        return name and name + b"=" + match[1]
    if kind in ("charset", "provider"):
        return match[0][1:]
    begin = data.rfind(b"\0", max(0, match.start() - LONGEST), match.start()) + 1
    if begin == 0:
        return b""
    head, whole = data[begin : match.start()], data[begin : match.end() - 1]
    known = _BEFORE[kind]
    return whole if known.fullmatch(head) else b""
