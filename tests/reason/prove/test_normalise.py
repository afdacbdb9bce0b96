"""What varies at each run is left out, and nothing else."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.reason.prove.normalise import normalise

NAMES = ("5bd42c87fab2", "172.17.0.4")
IDS = st.uuids().map(str)
VARYING = st.sampled_from(
    [
        "2026-11-27T01:02:03.123Z",
        "Fri, 27 Nov 2026 01:02:03 GMT",
        "1764205200",
        "0x7f12ab",
        "deadbeef01",
        "pid 33",
        "localhost:8080",
        "sshd[123]",
        "12.5 ms",
        "<time>",
        "csrf='x'",
        "1#2",
        "a1B2c3D4e5F6g7H8",
        "172.17.0.4:99999",
    ]
)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("2026-11-27T01:02:03.123Z x", "<time> x"),
        ("2026-11-27T01:02:03+01:00", "<time>"),
        ("2026-11-27 01:02:03.123 UTC [21] LOG", "<time> [21] LOG"),
        ("since 2026-11-27.", "since <time>."),
        ("Date: Fri, 27 Nov 2026 01:02:03 GMT", "Date: <time>"),
        ("Fri Nov 27 01:00:00 UTC 2026", "<time>"),
        ("Fri Nov  7 01:00:00 2026", "<time>"),
        ("Nov  7 01:00:00 box", "<time> box"),
        ("November 7, 2026", "<time>"),
        ("Friday, November 7, 2026", "<time>"),
        ("1:M 27 Nov 2026 01:00:00.123 * Ready", "1:M <time> * Ready"),
        ('[27/Nov/2026:01:00:00 +0000] "GET / HTTP/1.1" 200 53', '[<time>] "GET / HTTP/1.1" 200 53'),
        ("2026/11/27 01:00:00 [notice] 1#1: start", "<time> [notice] <pid>: start"),
        ("starting at 01:02:03Z on port 8000", "starting at <time> on port 8000"),
        ("at 1:02:03 PM", "at <time>"),
        ("1764205200 1764205200.25 1764205200123", "<time> <time> <time>"),
        ("served in 12.5ms, 3 seconds, 1m2.5s", "served in <duration>, <duration>, <duration>"),
        ("123e4567-e89b-12d3-a456-426614174000", "<id>"),
        ("etag 5f2b-deadbeef01", "etag 5f2b-<id>"),
        ("<object at 0x7f123abc>", "<object at <address>>"),
        ("host 5bd42c87fab2 at 172.17.0.4:8080", "host <name> at <name>:<port>"),
        ("172.17.0.41 and 172.17.0.4.", "172.17.0.41 and <name>."),
        ('<i name="csrf_token" value="IjA1YmQ3ZTk2NTQ4Nz.abc">', '<i name="csrf_token" value="<token>.abc">'),
        ('<script nonce="rAnd0m">', '<script nonce="<token>">'),
        ("PID: 33, worker process 29, sshd[123]:", "PID: <pid>, worker process <pid>, sshd[<pid>]:"),
        ("http://localhost:8000/ and :80", "http://localhost:<port>/ and :80"),
        ("port 40123, port 6379", "port <port>, port 6379"),
    ],
)  # fmt: skip
def test_what_varies_is_left_out(text: str, normal: str) -> None:
    assert normalise(text, NAMES) == normal


@pytest.mark.parametrize(
    "text",
    [
        "/usr/lib/python3/dist-packages/flask/app.py",
        "/usr/lib/x86_64-linux-gnu/libssl.so.3",
        "ModuleNotFoundError: No module named 'encodings'",
        "hello, nginx 1.22.1",
        '{"count": 12345, "open": true}',
        "a_very_long_identifier_with_words aVeryLongIdentifierWithWords",
        "internationalization-of-everything",
        "version 3.11.2, 404 pages, 17 of 23",
        "facade deface",
        "the second time, 5 minutiae",
        "<p>10:30</p>",
    ],
)
def test_what_says_something_stays(text: str) -> None:
    assert normalise(text, NAMES) == text


@settings(deadline=None)
@given(st.lists(st.one_of(st.text(max_size=8), VARYING, IDS), max_size=8), st.sampled_from(["", " ", ":", "-"]))
def test_what_is_normal_stays_as_it_is(parts: list[str], between: str) -> None:
    once = normalise(between.join(parts), NAMES)
    assert normalise(once, NAMES) == once


@settings(deadline=None)
@given(st.text(), IDS, IDS, st.datetimes(), st.datetimes())
def test_two_runs_become_alike(text: str, one: str, other: str, first: object, second: object) -> None:
    page = "{} <p id='{}'> {} </p>"
    assert normalise(page.format(text, one, first)) == normalise(page.format(text, other, second))


@settings(deadline=None)
@given(st.integers(16, 48).flatmap(lambda size: st.binary(min_size=size, max_size=size)))
def test_hex_digits_of_any_kind_are_an_id(raw: bytes) -> None:
    if any(digit.isdigit() for digit in raw.hex()):
        assert normalise(f"key {raw.hex()}!") == "key <id>!"


@pytest.mark.parametrize(
    "piece",
    [
        *("a", "1", "1:", "<", "Jan ", "1-", "0x", "pid ", "csrf", "a[", "1h1m", " ", "nonce-", "1.1", "Mon, "),
        *("aB1", "=", "\x1b["),
    ],
)
def test_a_hostile_text_takes_no_longer_than_another(piece: str) -> None:
    begun = time.process_time()
    normalise(piece * ((1 << 18) // len(piece)), NAMES)
    assert time.process_time() - begun < 10  # a quadratic search of 256 KiB takes minutes
