"""An image's configuration is hostile input: none makes the graph raise, hang or leave the image's tree."""

import time

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Exec
from slimtrace.reason.keep import graph_builder

from ..prove.runs import LIB
from ..trees import GLIBC, INTERP, capture

SAYS = (
    "import:getaddrinfo,import:initgroups,import:iconv_open,import:pam_start,import:setlocale,import:tzset,"
    "charset:X,zone:Europe/Berlin,locale:C.UTF-8,library:libx.so,provider:legacy"
)
FILES = (
    "/etc/nsswitch.conf",
    "/etc/pam.d/app",
    "/etc/pam.d/other",
    "/usr/lib/ssl/openssl.cnf",
    f"{LIB}/gconv/gconv-modules",
    "/app/options",
)


def hostile_capture(path: str, text: str, *words: str, **env: str) -> Capture:
    spec = {
        **GLIBC,
        "/usr/bin/app": f"elf 0755 {INTERP} needs=libc.so.6,libcrypto.so.3 says={SAYS}",
        f"{LIB}/libcrypto.so.3": "elf soname=libcrypto.so.3 says=openssl:OPENSSLDIR=/usr/lib/ssl",
        f"{LIB}/libnss_x.so.2": "elf",
        "/usr/bin/java": "elf 0755",
        "/loop": "link loop",
        path: f"text {text}",
    }
    runs = [
        Exec("/usr/bin/app", "", "/usr/bin/app", 1, 0),
        Exec("/usr/bin/java", "", "/usr/bin/java", 2, 0, argv=("java", "@/app/options", *words)),
    ]
    return capture(spec, execs=runs, config={"Env": [f"{name}={value}" for name, value in env.items()]})


def check_graph(run: Capture, seconds: float) -> None:
    began = time.process_time()
    paths = set(graph_builder.build_graph(run).paths())
    assert time.process_time() - began < seconds
    assert all(path in run.tree for path in paths)


WORDS = r"""
    = : [ ] # ' " ../ / /loop x - @include include hosts passwd auth openssl_conf providers .include module
    alias INTERNAL // -cp /etc/pam.d/app app other * %s $ORIGIN @/app/options -p
"""
PIECES = st.sampled_from(("\n", " ", "\t", "\\\n", "\0", "\udcff", "\x1b[31m", *WORDS.split()))
TEXTS = st.lists(PIECES, max_size=40).map("".join)


@settings(max_examples=examples(300), deadline=None)
@given(st.sampled_from(FILES), TEXTS)
def test_any_configuration(path: str, text: str) -> None:
    check_graph(hostile_capture(path, text), 2)


NAMES = ("TZ", "TZDIR", "LANG", "LC_ALL", "TERM", "TERMINFO", "SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF",
         "OPENSSL_MODULES", "GCONV_PATH", "CLASSPATH", "JAVA_TOOL_OPTIONS")  # fmt: skip


@settings(max_examples=examples(200), deadline=None)
@given(st.sampled_from(NAMES), TEXTS, st.lists(TEXTS, max_size=4))
def test_any_environment_and_arguments(name: str, text: str, words: list[str]) -> None:
    check_graph(hostile_capture("/app/options", "", *words, **{name: text}), 2)


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize(
    "piece",
    ["[", "[a]", "\n", "auth include app\n", "@include app\n", "hosts: x [", "-cp /:", "@/app/options ", "'",
     ".include /usr/lib/ssl/openssl.cnf\n", "module INTERNAL X// ../../x 1\n", "\\\n", "auth a pam_x.so\n"],
)  # fmt: skip
def test_a_long_configuration_takes_no_long_time(path: str, piece: str) -> None:
    check_graph(hostile_capture(path, piece * ((1 << 20) // len(piece))), 5)
