"""SELinux's class of a socket, and the permissions that a program needs on it.

Source: the kernel's security/selinux/hooks.c, socket_type_to_security_class, for a policy that tells all
families apart (policy capability extended_socket_class, Linux 4.11, in every distribution's policy).
"""

_COMMON = """
tcp_socket udp_socket rawip_socket unix_stream_socket unix_dgram_socket netlink_socket netlink_route_socket
netlink_kobject_uevent_socket packet_socket key_socket socket
"""
# Classes that every policy has; the rule of another class is optional.
COMMON_CLASSES = frozenset(_COMMON.split())
# Classes with addresses, for which bind(2) is checked against the address's type too.
ADDRESS_CHECKED_CLASSES = frozenset(
    ("tcp_socket", "udp_socket", "rawip_socket", "icmp_socket", "sctp_socket", "dccp_socket")
)
# Classes for which connect(2) is checked against the port's type (selinux_socket_connect_helper).
PORT_CHECKED_CLASSES = frozenset(("tcp_socket", "sctp_socket", "dccp_socket"))

# Families whose class has their name.
_FAMILY_CLASSES = frozenset(
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
_STREAM_TYPES = ("stream", "seqpacket")
_TCP_PROTOCOLS = (0, 6, 262)  # IPPROTO_IP, IPPROTO_TCP, IPPROTO_MPTCP
_SCTP_PROTOCOL = 132
_UDP_PROTOCOLS = (0, 17)
_ICMP_PROTOCOLS = (1, 58)  # IPPROTO_ICMP, IPPROTO_ICMPV6

_COMMON_PERMISSIONS = (
    *("append", "bind", "connect", "create", "getattr", "getopt", "ioctl", "lock", "read", "setattr"),
    *("setopt", "shutdown", "write"),
)
# Classes of which it is known whether a socket listens: TCP, from the trace; the others cannot listen.
_LISTENING_KNOWN = frozenset(("tcp_socket", "udp_socket", "rawip_socket", "icmp_socket", "packet_socket"))


def socket_class(family: str, kind: str, protocol: int) -> str:
    """The class of a socket, by the family, kind and protocol of a facts.events.Socket."""
    if family == "unix":
        return "unix_stream_socket" if kind in _STREAM_TYPES else "unix_dgram_socket"
    if family in ("inet", "inet6"):
        return _inet_class(kind, protocol)
    if family == "netlink":
        return _NETLINK.get(protocol, "netlink_socket")
    return f"{family}_socket" if family in _FAMILY_CLASSES else "socket"


def _inet_class(kind: str, protocol: int) -> str:
    if kind in _STREAM_TYPES:
        return (
            "tcp_socket"
            if protocol in _TCP_PROTOCOLS
            else "sctp_socket"
            if protocol == _SCTP_PROTOCOL
            else "rawip_socket"
        )
    if kind == "dgram":
        return (
            "udp_socket"
            if protocol in _UDP_PROTOCOLS
            else "icmp_socket"
            if protocol in _ICMP_PROTOCOLS
            else "rawip_socket"
        )
    return "dccp_socket" if kind == "dccp" else "rawip_socket"


def permissions(kind: str, listens: bool, is_net_admin: bool) -> tuple[str, ...]:
    """The permissions for the use of sockets of the class `kind`; `listens` says that a TCP socket listened,
    `is_net_admin` that the container has the capability to change what netlink shows. UNIX sockets are among
    the container's own processes."""
    found = [*_COMMON_PERMISSIONS]
    if kind not in _LISTENING_KNOWN or (kind == "tcp_socket" and listens):
        found += ["accept", "listen"]
    if kind == "unix_stream_socket":
        found.append("connectto")
    if kind in ("unix_dgram_socket", "unix_stream_socket"):
        found.append("sendto")
    if kind in ("netlink_route_socket", "netlink_tcpdiag_socket", "netlink_xfrm_socket"):
        found += ["nlmsg_read", "nlmsg_write"] if is_net_admin else ["nlmsg_read"]
    return tuple(sorted(found))
