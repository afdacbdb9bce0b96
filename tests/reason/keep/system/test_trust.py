"""Certificates, OpenSSL and PAM: which files are kept for which libraries and programs."""

import pytest

from slimtrace.facts.events import Exec, FileUse, Use

from ...prove.runs import LIB, more, seen
from ...trees import capture, read

SSL = "/usr/lib/ssl"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
HASHED = "/etc/ssl/certs/0123abcd.0"
CRYPTO = f"openssl:OPENSSLDIR={SSL},openssl:MODULESDIR=/usr/lib/ossl,openssl:ENGINESDIR=/usr/lib/engines"
TLS = {
    f"{LIB}/libssl.so.3": "elf soname=libssl.so.3 needs=libcrypto.so.3",
    f"{LIB}/libcrypto.so.3": f"elf soname=libcrypto.so.3 says={CRYPTO}",
    f"{LIB}/libgnutls.so.30": f"elf soname=libgnutls.so.30 says=path:{BUNDLE}",
    f"{LIB}/libcurl.so.4": f"elf soname=libcurl.so.4 says=path:{BUNDLE}",
    f"{LIB}/_ssl.so": "elf needs=libssl.so.3,libcrypto.so.3 says=import:SSL_CTX_set_default_verify_paths",
    f"{SSL}/certs": "link /etc/ssl/certs",
    BUNDLE: "file size=9",
    HASHED: "link One.pem",
    "/etc/ssl/certs/One.pem": "link /usr/share/ca-certificates/One.crt",
    "/usr/share/ca-certificates/One.crt": "file",
    "/usr/share/ca-certificates/Two.crt": "file",
    "/etc/own.pem": "file",
    "/etc/pki/tls/certs/ca-bundle.crt": "file",
}
PEM = {f"{SSL}/cert.pem": f"link {BUNDLE}"}
SINGLE = {"/etc/ssl/certs", HASHED, "/etc/ssl/certs/One.pem", "/usr/share/ca-certificates/One.crt"}


@pytest.mark.parametrize(
    ("library", "env", "expected"),
    [
        ("libcrypto.so.3", {}, set()),  # it hashes
        ("libssl.so.3", {}, {BUNDLE}),
        ("libgnutls.so.30", {}, {BUNDLE}),
        ("libcurl.so.4", {}, {BUNDLE}),
        ("libssl.so.3", {"SSL_CERT_FILE": "/etc/own.pem"}, {BUNDLE, "/etc/own.pem"}),
        ("libssl.so.3", {"SSL_CERT_FILE": "own.pem"}, {BUNDLE}),
        ("libssl.so.3", {"SSL_CERT_DIR": "/etc/ssl/certs"}, {BUNDLE} | SINGLE),
    ],
)
def test_the_bundle(library: str, env: dict[str, str], expected: set[str]) -> None:
    assert more(seen("", TLS, read(f"{LIB}/{library}"), **env)) == expected


def test_the_default_paths_are_the_file_or_else_the_directory() -> None:
    python = read(f"{LIB}/_ssl.so")
    assert more(seen("", TLS | PEM, python)) == {BUNDLE, *PEM}
    assert more(seen("", TLS, python)) == {BUNDLE, f"{SSL}/certs"} | SINGLE


def test_a_lookup_by_hash_brings_its_directory() -> None:
    lookup = FileUse(Use.STAT, "/etc/ssl/certs/ffff0000.0", error=2)
    run = seen("", TLS, read(f"{LIB}/libssl.so.3"), lookup)
    assert more(run) == {BUNDLE} | SINGLE - {"/etc/ssl/certs"}  # it was kept as the way there


def test_a_program_with_its_own_tls_names_the_file() -> None:
    run = capture(
        {
            **TLS,
            "/app": f"elf 0755 says=path:/etc/pki/tls/certs/ca-bundle.crt,path:{BUNDLE},path:/etc/ssl/cert.pem",
        },
        execs=[Exec("/app", "", "/app", 1, 0)],
    )
    assert more(run) == {BUNDLE, "/etc/pki/tls/certs/ca-bundle.crt"}


# -- OpenSSL

CONFIGURED = (
    "text openssl_conf = start # x\\n.include /etc/ssl/more\\n[start]\\nproviders = p\\nengines = e\\n"
    "[ p ]\\ndefault = d\\nlegacy = l\\npkcs11 = k\\n[k]\\nmodule = /opt/pkcs11.so\\n[e]\\npad = lock\\n"
    "[lock]\\nengine_id = padlock"
)
MODULES = {
    "/usr/lib/ossl/legacy.so": "elf",
    "/usr/lib/ossl/fips.so": "elf",
    "/usr/lib/engines/padlock.so": "elf",
    "/usr/lib/engines/afalg.so": "elf",
    "/opt/pkcs11.so": "elf needs=libdeep.so",
    f"{LIB}/libdeep.so": "elf",
    "/etc/ssl/more/own.cnf": "text x = y",
    "/etc/ssl/more/README": "text",
}


def test_the_configuration_names_providers_and_engines() -> None:
    spec = {**TLS, **MODULES, f"{SSL}/openssl.cnf": CONFIGURED}
    assert more(seen("", spec, read(f"{LIB}/libcrypto.so.3"))) == {
        f"{SSL}/openssl.cnf",
        "/etc/ssl/more/own.cnf",
        "/usr/lib/ossl/legacy.so",
        "/usr/lib/engines/padlock.so",
        "/opt/pkcs11.so",
        f"{LIB}/libdeep.so",
    }


@pytest.mark.parametrize(
    "text",
    [
        "text [start]\\nproviders = p\\n[p]\\nlegacy = l",  # not in force
        "text openssl_conf = start\\n[start]\\nproviders = p\\n[p]\\ndefault = d",
        "text openssl_conf = start\\n[start]\\nproviders = start",
        "text .include " + f"{SSL}/openssl.cnf",
    ],
)
def test_a_configuration_that_names_none(text: str) -> None:
    spec = {**TLS, **MODULES, f"{SSL}/openssl.cnf": text}
    assert more(seen("", spec, read(f"{LIB}/libcrypto.so.3"))) == {f"{SSL}/openssl.cnf"}


def test_a_program_loads_a_provider_by_name() -> None:
    spec = {
        **TLS,
        **MODULES,
        "/usr/bin/tool": "elf needs=libcrypto.so.3 says=import:OSSL_PROVIDER_load,provider:legacy",
    }
    assert more(seen("", spec, read("/usr/bin/tool"))) == {"/usr/lib/ossl/legacy.so"}
    assert more(seen("", spec, read("/usr/bin/tool"), OPENSSL_MODULES="/nowhere")) == set()


# -- PAM

PAM = {
    "/lib": "link usr/lib",
    "/usr/bin/su": "elf 0755 says=import:pam_start",
    "/etc/pam.d/su": "text auth sufficient pam_rootok.so\\n@include common\\nsession [a=b c=d] pam_limits.so x",
    "/etc/pam.d/su-l": "text auth include su",
    "/etc/pam.d/cron": "text auth required pam_cron.so",
    "/etc/pam.d/common": "text @include common\\n#auth required pam_deny.so\\nauth substack deeper",
    "/etc/pam.d/deeper": "text auth required \\\\n /opt/pam_own.so",
    "/etc/pam.d/other": "text auth required pam_deny.so",
    "/opt/pam_own.so": "elf",
    "/etc/security/limits.conf": "text",
    "/etc/security/limits.d/one.conf": "text",
    "/etc/security/access.conf": "text",
    **{f"{LIB}/security/pam_{name}.so": "elf" for name in ("rootok", "limits", "cron", "deny", "access")},
}


def test_services_by_the_programs_name_and_what_they_include() -> None:
    expected = {f"/etc/pam.d/{name}" for name in ("su", "su-l", "common", "deeper", "other")}
    expected |= {f"{LIB}/security/pam_{name}.so" for name in ("rootok", "limits", "deny")}
    expected |= {"/opt/pam_own.so", "/lib", "/etc/security/limits.conf", "/etc/security/limits.d"}
    expected |= {"/etc/security/limits.d/one.conf"}
    assert more(capture(PAM, execs=[Exec("/usr/bin/su", "", "/usr/bin/su", 1, 0)])) == expected


def test_without_pam_start_nothing_of_it_is_kept() -> None:
    spec = {**PAM, "/usr/bin/su": "elf 0755"}
    assert more(capture(spec, execs=[Exec("/usr/bin/su", "", "/usr/bin/su", 1, 0)])) == set()
