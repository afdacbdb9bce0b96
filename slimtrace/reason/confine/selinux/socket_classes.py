"""SELinux's class of a socket, and what a program does with one of that class.

Source: the kernel's security/selinux/hooks.c, socket_type_to_security_class, for a policy that tells all
families apart (policy capability extended_socket_class, Linux 4.11, in every distribution's policy).
"""

_COMMON = """
tcp_socket udp_socket rawip_socket unix_stream_socket unix_dgram_socket netlink_socket netlink_route_socket
netlink_kobject_uevent_socket packet_socket key_socket socket
"""
# Classes that every policy has; another's rule is left out where the policy does not know it.
COMMON = frozenset(_COMMON.split())
# Classes with addresses, for which bind(2) is checked against the address's type too.
INET = frozenset(("tcp_socket", "udp_socket", "rawip_socket", "icmp_socket", "sctp_socket", "dccp_socket"))
# Of these, connect(2) is checked against the port's type (selinux_socket_connect_helper).
CONNECTING = frozenset(("tcp_socket", "sctp_socket", "dccp_socket"))

# Families whose class is called after them.
_NAMED = frozenset(
    (
        *("packet", "key", "appletalk", "ax25", "ipx", "rds", "can", "tipc", "bluetooth", "alg", "vsock"),
        *("qipcrtr", "smc", "xdp"),
    )
)
_NETLINK = {
    0: "netlink_route_socket",
    4: "netlink_tcpdiag_socket",
    5: "netlink_nflog_socket",
    6: "netlink_xfrm_socket",
    7: "netlink_selinux_socket",
    8: "netlink_iscsi_socket",
    9: "netlink_audit_socket",
    10: "netlink_fib_lookup_socket",
    11: "netlink_connector_socket",
    12: "netlink_netfilter_socket",
    14: "netlink_dnrt_socket",
    15: "netlink_kobject_uevent_socket",
    16: "netlink_generic_socket",
    18: "netlink_scsitransport_socket",
    20: "netlink_rdma_socket",
    21: "netlink_crypto_socket",
}
_STREAMS = ("stream", "seqpacket")
_TCP = (0, 6, 262)  # IPPROTO_IP, IPPROTO_TCP, IPPROTO_MPTCP
_SCTP = 132
_UDP = (0, 17)
_ICMP = (1, 58)  # IPPROTO_ICMP, IPPROTO_ICMPV6

_ANY = (
    *("append", "bind", "connect", "create", "getattr", "getopt", "ioctl", "lock", "read", "setattr"),
    *("setopt", "shutdown", "write"),
)
# Of these classes it is told apart whether one waits for others to connect, or they cannot.
_WAITING_SHOWS = frozenset(("tcp_socket", "udp_socket", "rawip_socket", "icmp_socket", "packet_socket"))


def socket_class(family: str, kind: str, protocol: int) -> str:
    """The class of a socket, by what socket(2) was asked for, as Socket has it."""
    if family == "unix":
        return "unix_stream_socket" if kind in _STREAMS else "unix_dgram_socket"
    if family in ("inet", "inet6"):
        return _inet(kind, protocol)
    if family == "netlink":
        return _NETLINK.get(protocol, "netlink_socket")
    return f"{family}_socket" if family in _NAMED else "socket"


def _inet(kind: str, protocol: int) -> str:
    if kind in _STREAMS:
        return "tcp_socket" if protocol in _TCP else "sctp_socket" if protocol == _SCTP else "rawip_socket"
    if kind == "dgram":
        return "udp_socket" if protocol in _UDP else "icmp_socket" if protocol in _ICMP else "rawip_socket"
    return "dccp_socket" if kind == "dccp" else "rawip_socket"


def permissions(kind: str, listens: bool, administers: bool) -> tuple[str, ...]:
    """What is done with a socket of the class `kind` by whoever uses one; `listens` says that a TCP socket
    waited for others to connect, `administers` that there is the capability to change what netlink tells. UNIX
    sockets are the container's processes' among themselves."""
    found = [*_ANY]
    if kind not in _WAITING_SHOWS or (kind == "tcp_socket" and listens):
        found += ["accept", "listen"]
    if kind == "unix_stream_socket":
        found.append("connectto")
    if kind in ("unix_dgram_socket", "unix_stream_socket"):
        found.append("sendto")
    if kind in ("netlink_route_socket", "netlink_tcpdiag_socket", "netlink_xfrm_socket"):
        found += ["nlmsg_read", "nlmsg_write"] if administers else ["nlmsg_read"]
    return tuple(sorted(found))
