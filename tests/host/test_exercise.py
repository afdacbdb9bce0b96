"""The exercise: requests to servers that this test runs in its own network namespace, and commands."""

import contextlib
import gzip
import os
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator

import pytest

from slimtrace.engine import ExecResult
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.events import Listen
from slimtrace.facts.runs import BODY_KEPT
from slimtrace.observe.container import exercise, http_probe, user_commands
from slimtrace.observe.container.exchange import Exchange

pytestmark = pytest.mark.requires("root")  # setns(2)

Answer = Callable[[socket.socket, int], None]
HERE = os.getpid()


@contextlib.contextmanager
def server(answer: Answer, host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A TCP server that calls `answer`(connection, number of connections before); its port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, dualstack_ipv6=False) as listener:

        def work() -> None:
            count = 0
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        answer(connection, count)
                    count += 1

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def http(*statuses: int, body: bytes = b"x" * 13) -> Answer:
    """Answer with these statuses in turn, and with the last one from then on."""

    def answer(connection: socket.socket, count: int) -> None:
        connection.recv(65536)
        status = statuses[min(count, len(statuses) - 1)]
        head = f"HTTP/1.1 {status} Status\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)

    return answer


def says(text: bytes) -> Answer:
    def answer(connection: socket.socket, _: int) -> None:
        connection.recv(65536)
        connection.sendall(text)

    return answer


def silent(connection: socket.socket, _: int) -> None:
    time.sleep(1.1)


def hangs_up(connection: socket.socket, _: int) -> None:
    connection.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_probe, "VISIT_SECONDS", 0.5)
    monkeypatch.setattr(http_probe, "PAUSE", 0.01)


@pytest.mark.parametrize(
    ("answer", "ok", "status", "size", "detail"),
    [
        (http(200), True, 200, 13, ""),
        (http(404), True, 404, 13, ""),  # an error status is an answer too
        (http(302), True, 302, 13, ""),  # a redirect is not followed: it may lead out of the container
        (http(500), False, 500, 13, ""),
        (http(503, 503, 200), True, 200, 13, ""),
        (http(502, 200), True, 200, 13, ""),
        (http(503), False, 503, 13, ""),  # every time
        (http(200, body=b"y" * 1009), True, 200, 1009, ""),
        (silent, False, 0, 0, "no answer within 0.5 s"),
        (says(b"220 this is no web server\r\n"), False, 0, 0, "it does not speak HTTP"),
        (says(b"\0\xff\x1b[31m"), False, 0, 0, "it does not speak HTTP"),
        (hangs_up, False, 0, 0, ""),
    ],
    ids=[
        "200", "404", "302", "500", "503 twice", "502 once", "503 always", "long",
        "silent", "strange", "binary", "hangs up",
    ],
)  # fmt: skip
def test_get(answer: Answer, ok: bool, status: int, size: int, detail: str) -> None:
    with server(answer) as port:
        probe = exercise.visit(HERE, Listen(port, "127.0.0.1", HERE)).probe
    assert probe.target.endswith(f"://127.0.0.1:{port}/")
    assert (probe.ok, probe.status, probe.bytes) == (ok, status, size)
    assert detail in probe.detail
    assert probe.detail.isprintable()


def test_a_body_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_probe, "BODY_LIMIT", 10_007)
    with server(http(200, body=bytes(1_000_003))) as port:
        probe = exercise.visit(HERE, Listen(port, "127.0.0.1", HERE)).probe
    assert probe.ok
    assert 10_007 < probe.bytes < 1_000_003


@pytest.mark.parametrize(
    ("bound", "reported", "asked"),
    [
        ("127.0.0.1", "0.0.0.0", "127.0.0.1"),
        ("127.0.0.53", "127.0.0.53", "127.0.0.53"),
        ("127.0.0.1", "::", "127.0.0.1"),
        ("::1", "::", "[::1]"),
        ("::1", "::1", "[::1]"),
        ("127.0.0.1", "::ffff:127.0.0.1", "127.0.0.1"),
    ],
)
def test_the_address_that_is_asked(bound: str, reported: str, asked: str) -> None:
    with server(http(200), bound) as port:
        probe = exercise.visit(HERE, Listen(port, reported, HERE)).probe
    assert (probe.target, probe.ok) == (f"GET http://{asked}:{port}/", True)


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    probe = exercise.visit(HERE, Listen(port, "127.0.0.1", HERE)).probe
    assert (probe.ok, probe.status, "refused" in probe.detail) == (False, 0, True)


def test_a_process_that_is_gone() -> None:
    probe = exercise.visit(2**22 - 1, Listen(8017, "127.0.0.1", HERE)).probe
    assert (probe.target, probe.ok, probe.detail != "") == ("tcp port 8017", False, True)


@pytest.mark.parametrize(
    ("text", "ok"),
    [(b"+PONG\r\n", True), (b"-NOAUTH Authentication required.\r\n", True), (b"-ERR unknown\r\n", False)],
)
def test_redis(monkeypatch: pytest.MonkeyPatch, text: bytes, ok: bool) -> None:
    with server(says(text)) as port:
        monkeypatch.setattr(exercise, "REDIS_PORT", port)
        probe = exercise.visit(HERE, Listen(port, "127.0.0.1", HERE)).probe
    assert (probe.target, probe.ok) == (f"redis PING port {port}", ok)
    assert probe.detail == text.decode().strip()


def test_the_ports_that_listen() -> None:
    with server(http(200)) as four, server(http(200), "::1") as six:
        found = exercise.listening(HERE)
    assert {four, six} <= set(found)
    assert list(found) == sorted(set(found))
    assert not {four, six} & set(exercise.listening(HERE))


def test_what_is_raised_in_the_namespace_comes_back() -> None:
    def fail() -> None:
        raise ValueError("17")

    with pytest.raises(ValueError, match="17"):
        exercise.in_network_namespace(HERE, fail)


def test_a_command_on_the_host() -> None:
    facts = {"SLIMTRACE_PORT": "8017"}
    answer = user_commands.run_on_host('printf %s "$SLIMTRACE_PORT"; printf e >&2', facts, 60).answer
    assert (answer.target, answer.ok) == ('host: printf %s "$SLIMTRACE_PORT"; printf e >&2', True)
    assert (answer.status, answer.size, answer.body, answer.detail) == (0, 5, "8017e", "")


def test_a_command_on_the_host_that_fails() -> None:
    asked = user_commands.run_on_host("echo why; exit 7", {}, 60)
    assert (asked.answer.ok, asked.answer.status, asked.answer.body) == (False, 7, "why\n")
    with pytest.raises(SlimtraceError, match=r"--host-exec .* ended with 7") as raised:
        user_commands.must_succeed("--host-exec", "echo why; exit 7", asked)
    assert (raised.value.exit_code, raised.value.hint) == (Exit.EXERCISE_FAILED, "it said: why")


def test_a_command_on_the_host_that_does_not_end() -> None:
    with pytest.raises(SlimtraceError, match="cannot wait longer for --host-exec") as raised:
        user_commands.run_on_host("sleep 19", {}, 0.3)
    assert raised.value.exit_code is Exit.EXERCISE_FAILED


class Container:
    """An engine whose exec() gives this exit code and the output "said"."""

    def __init__(self, code: int) -> None:
        self._code = code
        self.ran: list[str] = []

    def exec(self, container: str, argv: list[str], timeout: float = 0) -> ExecResult:
        self.ran += [container, *argv]
        return ExecResult(1009, self._code, b"said")


def test_a_command_in_the_container() -> None:
    engine = Container(0)
    asked, pid = user_commands.run_in_container(engine, "c", "sh -c 'echo \"a b\"'", 60)  # type: ignore[arg-type]
    assert engine.ran == ["c", "sh", "-c", 'echo "a b"']
    assert (asked.answer.ok, asked.answer.size, asked.answer.body, pid) == (True, 4, "said", 1009)


def test_a_command_in_the_container_that_fails() -> None:
    asked, _ = user_commands.run_in_container(Container(3), "c", "x", 60)  # type: ignore[arg-type]
    with pytest.raises(SlimtraceError, match="--exec 'x' ended with 3") as raised:
        user_commands.must_succeed("--exec", "x", asked)
    assert (raised.value.exit_code, raised.value.hint) == (Exit.EXERCISE_FAILED, "it said: said")


def test_the_health_check_is_named_alike_in_every_run() -> None:
    asked = user_commands.run_healthcheck(Container(1), "c", ("check", "172.17.0.2"), 60)  # type: ignore[arg-type]
    assert (asked.answer.target, asked.answer.ok, asked.answer.status) == ("healthcheck", False, 1)
    assert asked.probe.target == "healthcheck: check 172.17.0.2"


class Pages:
    """Answers each request with the next of these bodies, then with the last; `heads` are more headers."""

    def __init__(self, *bodies: bytes, heads: str = "") -> None:
        self._bodies = bodies
        self._heads = heads

    def __call__(self, connection: socket.socket, count: int) -> None:
        connection.recv(65536)
        body = self._bodies[min(count, len(self._bodies) - 1)]
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{self._heads}\r\n"
        connection.sendall(head.encode() + body)


def exchange_with(answer: Answer) -> Exchange:
    with server(answer) as port:
        return exercise.visit(HERE, Listen(port, "127.0.0.1", HERE))


@pytest.mark.parametrize(
    ("bodies", "body", "again"),
    [
        ([b"one"], "one", ""),
        ([b"zero", b"one", b"two"], "one", "two"),  # the first request had another Accept-Encoding
        ([b"zero", b"\xff\0\x1b[31m", b"two"], "\xff\0\x1b[31m", "two"),
        ([b"x" * 100_000], "x" * BODY_KEPT, ""),
    ],
)
def test_the_body_is_kept_and_what_it_is_the_second_time(bodies: list[bytes], body: str, again: str) -> None:
    answer = exchange_with(Pages(*bodies)).answer
    assert (answer.body, answer.again) == (body, again)
    assert answer.size == len(bodies[min(1, len(bodies) - 1)])


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate"])
def test_a_compressed_body_is_kept_decompressed(coding: str) -> None:
    """A server may compress although the request accepts only identity; the body is kept decompressed."""
    packed = zlib.compress(b"17" * 1009) if coding == "deflate" else gzip.compress(b"17" * 1009)
    answer = exchange_with(Pages(packed, heads=f"Content-Encoding: {coding}\r\n")).answer
    assert (answer.size, answer.body) == (2018, "17" * 1009)


def test_a_body_that_is_not_what_it_says_is_kept_as_it_came() -> None:
    answer = exchange_with(Pages(b"no gzip", heads="Content-Encoding: gzip\r\n")).answer
    assert (answer.ok, answer.size, answer.body) == (True, 7, "no gzip")


def test_a_body_that_unpacks_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_probe, "BODY_LIMIT", 100_003)
    bomb = gzip.compress(bytes(5_000_011))
    answer = exchange_with(Pages(bomb, heads="Content-Encoding: gzip\r\n")).answer
    assert (answer.ok, answer.size, len(answer.body)) == (True, 100_003, BODY_KEPT)


def test_a_target_has_no_address() -> None:
    with server(Pages(b"x", heads="Content-Type: text/\x1bplain\r\n"), "127.0.0.53") as port:
        answer = exercise.visit(HERE, Listen(port, "127.0.0.53", HERE)).answer
    assert answer.target == f"GET http port {port} /"
    assert answer.content_type.isprintable()
