"""Network rules by family and type, from the sockets that were made."""

from collections.abc import Iterator

from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import Repairs
from slimtrace.facts.events import Abi, Phase
from slimtrace.reason.keep.evidence import exec_session_test

# The socket types of apparmor.d(5); a socket of another type gets a rule for all types of its family.
KINDS = ("stream", "dgram", "seqpacket", "rdm", "raw", "packet")
# linux/socket.h; every family that apparmor.d(5) of 3.0 has a name for. Any other stays denied.
FAMILIES = {
    1: "unix", 2: "inet", 3: "ax25", 4: "ipx", 5: "appletalk", 6: "netrom", 7: "bridge", 8: "atmpvc", 9: "x25",
    10: "inet6", 11: "rose", 12: "netbeui", 13: "security", 15: "key", 16: "netlink", 17: "packet", 18: "ash",
    19: "econet", 20: "atmsvc", 21: "rds", 22: "sna", 23: "irda", 24: "pppox", 25: "wanpipe", 26: "llc",
    28: "mpls", 29: "can", 30: "tipc", 31: "bluetooth", 32: "iucv", 33: "rxrpc", 34: "isdn", 35: "phonet",
    36: "ieee802154", 37: "caif", 38: "alg", 39: "nfc", 40: "vsock", 41: "kcm", 42: "qipcrtr", 43: "smc",
    44: "xdp", 45: "mctp",
}  # fmt: skip
_KNOWN = frozenset(FAMILIES.values())
_INTERNET = ("inet", "inet6")
_REFUSED = (1, 13)  # EPERM, EACCES: by the engine's seccomp profile; such a socket stays refused


def rules(capture: Capture, repairs: Repairs) -> Iterator[str]:
    """The rules, sorted; none where no socket was made: then no family is allowed."""
    found = _seen_sockets(capture) | {
        (_family_name(str(value)), "") for value in _repaired_families(capture, repairs)
    }
    found |= set(_implied(found))
    pairs = sorted((family, kind) for family, kind in found if family in _KNOWN)
    of_any_type = {family for family, kind in pairs if kind not in KINDS}
    for family, kind in pairs:
        if family not in of_any_type:
            yield f"network {family} {kind}"
    yield from (f"network {family}" for family in sorted(of_any_type))


def _seen_sockets(capture: Capture) -> set[tuple[str, str]]:
    trace = capture.trace
    in_exec_session = exec_session_test(trace, capture.image)
    found = {
        (_family_name(socket.family), socket.kind)
        for socket in trace.sockets
        if socket.error not in _REFUSED and not in_exec_session(socket.pid, socket.origin)
    }
    for listen in trace.listens:
        if not in_exec_session(listen.pid, listen.origin):
            found.add(("inet6" if ":" in listen.address else "inet", "stream"))
    groups = [group for group in trace.calls if group.phase is Phase.APP]
    called = {name for group in groups for name in group.calls}
    ring_operations = {name.lower() for group in groups if group.abi is Abi.IO_URING for name in group.calls}
    if ring_operations & {"socket"} or (
        not found and (called & {"socket", "socketpair", "socketcall"} or not trace.calls)
    ):
        # Sockets were made, but their families are not known.
        found |= {(family, "") for family in ("inet", "inet6", "netlink", "unix")}
    return found


def _repaired_families(capture: Capture, repairs: Repairs) -> set[int]:
    """The socket families that a trial of the slim image was refused, by number."""
    wanted = (seen for seen in repairs.arguments if seen.call == "socket" and seen.index == 0)
    return {value for seen in wanted for value in seen.values}


def _implied(found: set[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The families and types that another run may use in place of those of `found`, or beside them: the network
    decides between IPv4 and IPv6. getaddrinfo(3) asks the kernel for addresses by netlink, a name server by UDP
    unless /etc/hosts has the name, by TCP for a long answer (RFC 7766), and tries with UDP sockets which
    addresses can be reached (RFC 6724)."""
    for family, kind in found:
        if family in _INTERNET:
            yield from ((each, kind) for each in _INTERNET)
        if (family in _INTERNET and kind == "dgram") or (family, kind) == ("netlink", "raw"):
            yield from ((each, implied_kind) for each in _INTERNET for implied_kind in ("dgram", "stream"))
            yield "netlink", "raw"


def _family_name(family: str) -> str:
    return (
        FAMILIES.get(int(family), "") if family.isascii() and family.isdigit() and len(family) < 6 else family
    )
