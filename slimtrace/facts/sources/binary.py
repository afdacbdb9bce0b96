"""What an ELF file may load or look up when it runs, by its dynamic symbols and by the strings in it.

Kinds of mention (`line` is always 0):

    import    a function that the file imports from a library and that makes the library read files (FUNCTIONS)
    library   a whole string that is a library's name (libX.so, libX.so.N) or absolute path, as dlopen(3) takes
    files     a format for printf(3) with a directory in it, as ``%s/tsearch_data/%s.%s``
    path      the path of a system file (SYSTEM_PATHS), also inside a longer string: Go does not end its strings
    openssl   ``OPENSSLDIR=/usr/lib/ssl``, ENGINESDIR, MODULESDIR: the directories that are compiled into
              libcrypto, as OpenSSL_version(3) gives them
    version   GLIBC_2.34, where the file has or needs symbols of that version

and, only in a file that imports a function which takes such a string, whole strings that look like

    locale    C.UTF-8, de_DE.utf8       (setlocale(3), newlocale(3))
    zone      Europe/Berlin             (tzset(3), through the environment variable TZ)
    charset   ISO-8859-1                (iconv_open(3))
    provider  legacy, fips              (OSSL_PROVIDER_load(3))

A string that is put together at run time, or that is not ended by a zero byte (Go, Rust), is not found.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from slimtrace.facts.formats import elf
from slimtrace.facts.mentions import Mention

MAX_BYTES = 1 << 29  # bytes of a file that are read
CHUNK = 1 << 20
MAX_STRING = 255  # bytes of a string that is looked for
CHARSET_BYTES = 1 << 26  # bytes of a file that are searched for charsets, which is slow
MAX_HITS = 100_000  # matches of one kind that are looked at in one file; a file with more is a forged one


def _functions(names: str) -> frozenset[str]:
    return frozenset(names.split())


HOST_LOOKUPS = _functions(
    """getaddrinfo getnameinfo gethostbyname gethostbyname_r gethostbyname2 gethostbyname2_r gethostbyaddr
    gethostbyaddr_r"""
)
PASSWD_LOOKUPS = _functions("getpwnam getpwnam_r getpwuid getpwuid_r getpwent getpwent_r")
GROUP_LOOKUPS = _functions(
    "getgrnam getgrnam_r getgrgid getgrgid_r getgrent getgrent_r initgroups getgrouplist"
)
SHADOW_LOOKUPS = _functions("getspnam getspnam_r")
SERVICE_LOOKUPS = _functions("getservbyname getservbyname_r getservbyport getservbyport_r getservent")
PROTOCOL_LOOKUPS = _functions("getprotobyname getprotobyname_r getprotobynumber getprotobynumber_r getprotoent")
LOCAL_TIME_FUNCTIONS = _functions(
    "tzset localtime localtime_r __localtime64_r mktime timelocal ctime ctime_r strftime"
)
LOCALE_FUNCTIONS = _functions("setlocale newlocale")
ICONV_FUNCTIONS = _functions("iconv_open")
TRUST_STORE_FUNCTIONS = _functions(
    """SSL_CTX_set_default_verify_paths SSL_CTX_set_default_verify_file SSL_CTX_set_default_verify_dir
    SSL_CTX_set_default_verify_store X509_STORE_set_default_paths X509_STORE_set_default_paths_ex"""
)
PROVIDER_FUNCTIONS = _functions("OSSL_PROVIDER_load OSSL_PROVIDER_try_load OSSL_PROVIDER_load_ex")
PAM_FUNCTIONS = _functions("pam_start pam_start_confdir")
# For these glibc loads libgcc_s, and aborts the program where it cannot (nptl/pthread_cancel.c,
# misc/unwind-link.c). backtrace(3) is not one of them: without libgcc_s it returns no frames
# (debug/backtrace.c).
UNWINDING_FUNCTIONS = _functions("pthread_cancel pthread_exit thrd_exit")
FUNCTIONS = (
    HOST_LOOKUPS | PASSWD_LOOKUPS | GROUP_LOOKUPS | SHADOW_LOOKUPS | SERVICE_LOOKUPS | PROTOCOL_LOOKUPS
    | LOCAL_TIME_FUNCTIONS | LOCALE_FUNCTIONS | ICONV_FUNCTIONS | TRUST_STORE_FUNCTIONS | PROVIDER_FUNCTIONS
    | PAM_FUNCTIONS | UNWINDING_FUNCTIONS
)  # fmt: skip

# Where programs that bring their own TLS look for the system's certificates, in the order in which Go tries
# them: Go crypto/x509/root_linux.go, curl's and gnutls's configure.
CA_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
SYSTEM_PATHS = (*CA_BUNDLES, "/etc/nsswitch.conf", "/etc/services", "/etc/protocols")

# Each expression begins with a literal, which the regular expression engine finds at the speed of memchr(3).
_LIBRARY = re.compile(rb"\.so(?:\.\d{1,8}){0,4}\0")
_PATH = re.compile(rb"/etc/(?:%s)" % b"|".join(re.escape(path[5:]).encode() for path in SYSTEM_PATHS))
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
# By kind: what must stand between the beginning of the string and the match.
_PREFIXES = {
    "library": _IS_LIBRARY,
    "files": _IS_DIRECTORY,
    "version": re.compile(b""),
    "locale": _IS_LOCALE,
    "zone": _IS_ZONE,
}


def mentions(stream: BinaryIO) -> tuple[Mention, ...]:
    """What the ELF file in `stream` names, sorted, charsets last; empty for any other file."""
    if stream.read(len(elf.MAGIC)) != elf.MAGIC:
        return ()
    stream.seek(0)
    imported = elf.imports(stream) & FUNCTIONS
    found = {Mention("import", name) for name in imported}
    stream.seek(0)
    found |= {Mention(kind, text.decode("ascii")) for kind, text in _strings(stream, imported)}
    # Charsets matter least: `sources.read` cuts the mentions at the end.
    return tuple(sorted(found, key=lambda mention: (mention.kind == "charset", mention)))


def _strings(stream: BinaryIO, imported: frozenset[str]) -> Iterator[tuple[str, bytes]]:
    """Kind and text of each string in the file that is looked for, given the functions that it imports."""
    expressions = [("library", _LIBRARY), ("path", _PATH), ("openssl", _OPENSSL), ("version", _VERSION)]
    expressions += [("files", _FILES)]
    expressions += [("locale", _LOCALE)] if imported & LOCALE_FUNCTIONS else []
    expressions += [("zone", _ZONE)] if imported & LOCAL_TIME_FUNCTIONS else []
    expressions += [("charset", _CHARSET)] if imported & ICONV_FUNCTIONS else []
    expressions += [("provider", _PROVIDER)] if imported & PROVIDER_FUNCTIONS else []
    hits_left = dict.fromkeys((kind for kind, _ in expressions), MAX_HITS)
    overlap = b"\0"
    bytes_left = MAX_BYTES
    while bytes_left > 0 and (data := stream.read(min(CHUNK, bytes_left))):
        bytes_left -= len(data)
        data = overlap + data
        for kind, expression in expressions:
            if hits_left[kind] <= 0 or (kind == "charset" and bytes_left < MAX_BYTES - CHARSET_BYTES):
                continue
            for match in expression.finditer(data):
                hits_left[kind] -= 1
                if hits_left[kind] <= 0:
                    break
                if (text := _matched_text(kind, match, data)) and text.isascii():
                    yield kind, text
        # A string across the border of two chunks is found in the next turn; one just before the border is
        # found twice, which does no harm.
        overlap = data[-2 * MAX_STRING :]


def _matched_text(kind: str, match: re.Match[bytes], data: bytes) -> bytes:
    """The name that a match in `data` means; empty if it is no string of this kind."""
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
    begin = data.rfind(b"\0", max(0, match.start() - MAX_STRING), match.start()) + 1
    if begin == 0:
        return b""
    head, whole = data[begin : match.start()], data[begin : match.end() - 1]
    prefix = _PREFIXES[kind]
    return whole if prefix.fullmatch(head) else b""
