"""Visits of a container's ports, so that its servers use the files that they need. The only module that imports
pyroute2.

A port is visited from inside the container's network namespace: no port has to be published, a server that
listens on the container's loopback alone is reached too, and no process enters the container itself.
"""

import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import TypeVar

from slimtrace.facts.events import Listen
from slimtrace.facts.paths import printable
from slimtrace.facts.runs import Answer
from slimtrace.observe.container import http_probe
from slimtrace.observe.container.exchange import Exchange

T = TypeVar("T")

REDIS_PORT = 6379


def in_network_namespace(pid: int, action: Callable[[], T]) -> T:
    """What `action` returns when it runs in the network namespace of process `pid`, in a thread of its own,
    since setns(2) changes one thread. Raises what `action` raises, and OSError when the process is gone."""
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            from pyroute2 import netns

            netns.setns(f"/proc/{pid}/ns/net", flags=0)
            outcome.append(action())
        except BaseException as problem:
            failure.append(problem)

    thread = threading.Thread(target=run, name="slimtrace-visit", daemon=True)
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

    return in_network_namespace(pid, ask)


def target_hosts(address: str) -> tuple[str, ...]:
    """The addresses by which a socket bound to `address` is reached from its own network namespace, likeliest
    first. One bound to ``::`` mostly serves IPv4 too (ipv6(7), IPV6_V6ONLY), and a container often has no IPv6
    loopback."""
    found = ip_address(address)
    if found.is_unspecified:
        return ("127.0.0.1",) if found.version == 4 else ("127.0.0.1", "::1")
    return (str(found.ipv4_mapped) if found.version == 6 and found.ipv4_mapped else str(found),)


def visit(pid: int, listen: Listen) -> Exchange:
    """Send a request to the server behind a listening socket: GET / (HTTP, then HTTPS), or PING on the port of
    Redis. Never raises for what the server does: a server of another protocol gives an answer that is not
    ok."""

    def ask() -> Exchange:
        host = _reachable(target_hosts(listen.address), listen.port)
        if listen.port != REDIS_PORT:
            return http_probe.get(host, listen.port)
        ping = _ping(host, listen.port)
        return ping if ping.answer.ok or not (page := http_probe.get(host, listen.port)).answer.ok else page

    try:
        return in_network_namespace(pid, ask)
    except OSError as problem:
        return Exchange(Answer(f"tcp port {listen.port}", ok=False, detail=f"{problem}"))


def _reachable(hosts: Sequence[str], port: int) -> str:
    """The first of several addresses that accepts a connection; the first of all where none does (yet)."""
    for host in hosts if len(hosts) > 1 else ():
        with suppress(OSError), socket.create_connection((host, port), timeout=http_probe.VISIT_SECONDS):
            return host
    return hosts[0]


def _ping(host: str, port: int) -> Exchange:
    """Send Redis' PING."""
    target = f"redis PING port {port}"
    try:
        with socket.create_connection((host, port), timeout=http_probe.VISIT_SECONDS) as connection:
            connection.sendall(b"PING\r\n")
            answer = connection.recv(256)
    except OSError as problem:
        return Exchange(Answer(target, ok=False, detail=str(problem)))
    ok = answer.startswith((b"+PONG", b"-NOAUTH"))
    text = answer.decode("latin-1")
    return Exchange(Answer(target, ok, size=len(answer), body=text, detail=printable(text.strip())[:80]))
