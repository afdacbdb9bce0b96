"""Driving the container so that it shows what it needs. The only place that knows httpx and pyroute2.

A port is visited from inside the container's network namespace: no port has to be published, a server that
listens on the container's loopback alone is reached too, and nothing enters the container itself.
"""

import os
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import TypeVar

from slimtrace.engine import Engine
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.events import Listen
from slimtrace.facts.paths import printable
from slimtrace.reason.report import Probe

T = TypeVar("T")

VISIT_SECONDS = 15.0  # for one answer
ATTEMPTS = 5  # a server may refuse, or answer 502 and 503, until what is behind it is up
PAUSE = 0.2  # seconds before the second attempt; doubled each time
BODY_LIMIT = 8 << 20
REDIS_PORT = 6379
# As browsers ask and as curl does: a server may compress the one answer (nginx: writev(2)) and send the other
# as it lies on the disk (sendfile(2)).
CODINGS = ("gzip, deflate", "identity")
COMMAND_SECONDS = 600.0


def in_network_of(pid: int, action: Callable[[], T]) -> T:
    """What `action` returns when it runs in the network namespace of process `pid` (in a thread of its own:
    setns(2) is for one thread). Raises what it raises, OSError when the process is gone."""
    outcome: list[T] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            from pyroute2 import netns

            netns.setns(f"/proc/{pid}/ns/net", flags=0)
            outcome.append(action())
        except BaseException as problem:
            failure.append(problem)

    thread = threading.Thread(target=work, name="slimtrace-visit", daemon=True)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def listening(pid: int) -> tuple[int, ...]:
    """The TCP ports on which something listens in the network namespace of `pid`, by sock_diag(7); sorted."""

    def ask() -> tuple[int, ...]:
        from pyroute2 import DiagSocket

        ports = set()
        with DiagSocket() as diag:
            for family in (socket.AF_INET, socket.AF_INET6):
                for found in diag.get_sock_stats(family=family, protocol=socket.IPPROTO_TCP):
                    if found["idiag_state"] == 10:  # TCP_LISTEN
                        ports.add(int(found["idiag_sport"]))
        return tuple(sorted(ports))

    return in_network_of(pid, ask)


def target_hosts(address: str) -> tuple[str, ...]:
    """The addresses by which a socket bound to `address` is reached from its own network namespace, likeliest
    first. One bound to ``::`` mostly serves IPv4 too (ipv6(7), IPV6_V6ONLY), and a container often has no IPv6
    loopback."""
    found = ip_address(address)
    if found.is_unspecified:
        return ("127.0.0.1",) if found.version == 4 else ("127.0.0.1", "::1")
    return (str(found.ipv4_mapped) if found.version == 6 and found.ipv4_mapped else str(found),)


def visit(pid: int, listen: Listen) -> Probe:
    """Ask the server behind a listening socket for something: GET / (HTTP, then HTTPS), PING where Redis lives.
    Never raises for what the server does; a server that speaks something else is a Probe that is not ok."""

    def ask() -> Probe:
        host = _reachable(target_hosts(listen.address), listen.port)
        if listen.port != REDIS_PORT:
            return _get(host, listen.port)
        ping = _ping(host, listen.port)
        return ping if ping.ok or not (page := _get(host, listen.port)).ok else page

    try:
        return in_network_of(pid, ask)
    except OSError as problem:
        return Probe(f"tcp port {listen.port}", ok=False, detail=f"{problem}")


def _reachable(hosts: Sequence[str], port: int) -> str:
    """The first of several addresses that takes a connection; the first of all where none does (yet)."""
    for host in hosts if len(hosts) > 1 else ():
        with suppress(OSError), socket.create_connection((host, port), timeout=VISIT_SECONDS):
            return host
    return hosts[0]


def _ping(host: str, port: int) -> Probe:
    target = f"redis PING port {port}"
    try:
        with socket.create_connection((host, port), timeout=VISIT_SECONDS) as connection:
            connection.sendall(b"PING\r\n")
            answer = connection.recv(256)
    except OSError as problem:
        return Probe(target, ok=False, detail=str(problem))
    ok = answer.startswith((b"+PONG", b"-NOAUTH"))
    return Probe(target, ok=ok, bytes=len(answer), detail=printable(answer.decode("latin-1").strip())[:80])


def _get(host: str, port: int) -> Probe:
    import httpx

    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    detail = ""
    pause = PAUSE
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause)
            pause *= 2
        for scheme in ("https", "http") if port in (443, 8443) else ("http", "https"):
            target = f"GET {scheme}://{place}/"
            try:
                status, size = [_fetch(f"{scheme}://{place}/", coding) for coding in CODINGS][-1]
            except (httpx.RemoteProtocolError, httpx.DecodingError) as problem:
                detail = f"it does not speak HTTP: {printable(str(problem))[:80]}"
                continue
            except httpx.ReadTimeout:
                return Probe(target, ok=False, detail=f"no answer within {VISIT_SECONDS:g} s")
            except (httpx.HTTPError, OSError) as problem:
                detail = detail or printable(str(problem))[:80] or type(problem).__name__
                continue
            if status in (502, 503) and attempt + 1 < ATTEMPTS:
                detail = f"status {status}"
                break
            return Probe(target, ok=status < 500, status=status, bytes=size)
        else:
            if detail.startswith("it does not speak"):
                break
    return Probe(f"GET http://{place}/", ok=False, detail=detail)


def _fetch(url: str, coding: str) -> tuple[int, int]:
    import httpx

    headers = {"User-Agent": "slimtrace", "Accept-Encoding": coding}
    # trust_env: a proxy of the host has no business between us and the container
    with (
        httpx.Client(verify=False, timeout=VISIT_SECONDS, trust_env=False, headers=headers) as client,
        client.stream("GET", url) as response,
    ):
        size = 0
        for piece in response.iter_raw():
            size += len(piece)
            if size > BODY_LIMIT:
                break
        return response.status_code, size


def run_on_host(command: str, facts: Mapping[str, str]) -> Probe:
    """A shell command of the user's on this host, with `facts` in its environment. Raises SlimtraceError
    (EXERCISE_FAILED) when it fails."""
    # In a session of its own, so that what it has started goes with it when we are interrupted.
    child = subprocess.Popen(
        ["/bin/sh", "-c", command],
        env={**os.environ, **facts},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired as late:
        raise SlimtraceError(
            f"cannot wait longer for --host-exec {command!r}: {COMMAND_SECONDS:g} s are over",
            "give the command an end",
            Exit.EXERCISE_FAILED,
        ) from late
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    _must_succeed("--host-exec", command, child.returncode, output)
    return Probe(f"host: {printable(command)}", ok=True, bytes=len(output))


def run_in_container(engine: Engine, container: str, command: str) -> tuple[Probe, int]:
    """A command of the user's inside the container, and its host pid (0 if unknown). Raises SlimtraceError
    (EXERCISE_FAILED) when it fails."""
    result = engine.exec(container, shlex.split(command), timeout=COMMAND_SECONDS)
    _must_succeed("--exec", command, result.exit_code, result.output)
    return Probe(f"exec: {printable(command)}", ok=True, bytes=len(result.output)), result.pid


def _must_succeed(option: str, command: str, code: int, output: bytes) -> None:
    if code == 0:
        return
    said = printable(output.decode("utf-8", "replace").strip()[-400:])
    raise SlimtraceError(
        f"cannot drive the container: {option} {command!r} ended with {code}",
        f"it said: {said}" if said else "it said nothing",
        Exit.EXERCISE_FAILED,
    )
