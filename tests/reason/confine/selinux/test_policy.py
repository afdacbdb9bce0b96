"""The SELinux policy: what it allows, by the tools that read policies, and that secilc accepts it whatever a
trace may hold.

The base is Debian's policy. The blocks that ours inherit are not udica's (no package of Debian has these) but
stand for them with the same names, below.
"""

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import policies
import pytest
from examples import examples
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import Confinement
from slimtrace.facts.events import CAPABILITIES, FileUse, Listen, Mount, Origin, Socket, Use
from slimtrace.facts.image import Image
from slimtrace.facts.selection import Selection
from slimtrace.reason.confine import selinux
from slimtrace.reason.confine.selinux.port_types import types
from slimtrace.reason.confine.selinux.socket_classes import socket_class

from ...trees import capture

# As in udica's base_container.cil, log_container.cil and so on: the names that a policy sees of them.
TEMPLATES = """
(type container_runtime_t)
(typeattribute container_domain)
(block container
    (type process)
    (type socket)
    (roletype system_r process)
    (typeattributeset domain (process))
    (typeattributeset container_domain (process))
    (typeattributeset file_type (socket)))
""" + "".join(
    f"(block {name}_container (optional read (allow process {label} (dir (read)))))\n"
    f"(block {name}_rw_container (blockinherit {name}_container)"
    f" (optional write (allow process {label} (dir (write)))))\n"
    for name, label in (
        ("config", "configfile"),
        ("home", "user_home_t"),
        ("log", "logfile"),
        ("tmp", "tmpfile"),
    )
)
NOTHING = Confinement()


def policy(seen: Capture, confinement: Confinement = NOTHING, name: str = "slimtrace_x") -> str:
    return selinux.cil_policy(name, seen, Selection({}), confinement)


def rules(text: str) -> set[str]:
    """The innermost rules, without the block and the optional ones around them."""
    return set(re.findall(r"\((?:allow|blockinherit) .*?\)(?=\)*(?:\n| \())", text))


def inet(call: str, port: int = 0, kind: str = "stream", protocol: int = 0, **more: int) -> Socket:
    return Socket(call, "inet", kind, protocol, "10.0.0.1", port, **more)


def compiled(folder: Path, *texts: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """What secilc says of these on top of Debian's base, and the binary policy."""
    files = [policies.base()]
    for number, text in enumerate((TEMPLATES, *texts)):
        files.append(folder / f"{number}.cil")
        files[-1].write_text(text, "ascii")
    out = folder / "policy"
    out.unlink(missing_ok=True)
    command = ["secilc", "-o", str(out), "-f", str(folder / "contexts"), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False), out


def allowed(binary: Path, name: str = "slimtrace_x") -> set[tuple[str, str, str]]:
    """What the container of that name may do: target, class and permission, but for what all domains may."""
    command = ["sesearch", "-A", "-ds", "-s", f"{name}.process", str(binary)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    lines = [re.fullmatch(r"allow \S+ (\S+):(\w+) \{? ?([\w ]+?) ?\}?;", line) for line in found.splitlines()]
    assert lines and all(lines), found
    own = f"{name}.process"
    return {
        ("itself" if line[1] == own else line[1], line[2], verb)
        for line in lines
        if line
        for verb in line[3].split()
    }


@pytest.mark.requires("selinux")
def test_a_web_server_may_what_it_did_and_nothing_else(tmp_path: Path) -> None:
    seen = capture(
        {},
        listens=(Listen(80, "0.0.0.0", 1),),
        sockets=(
            inet("socket"),
            inet("bind", 80),
            inet("connect", 5432),
            inet("connect", 53, "dgram"),
            inet("bind", 0, "dgram"),
            Socket("socket", "netlink", "raw"),
            Socket("socket", "unix", "stream"),
        ),
    )
    done, binary = compiled(tmp_path, policy(seen, Confinement(("chown", "net_bind_service", "syslog"))))
    assert done.returncode == 0, done.stderr
    found = allowed(binary)
    assert {(target, kind) for target, kind, verb in found if verb.startswith("name_")} == {
        ("http_port_t", "tcp_socket"),
        ("postgresql_port_t", "tcp_socket"),
        ("dns_port_t", "tcp_socket"),
    }
    assert ("http_port_t", "tcp_socket", "name_bind") in found
    assert ("http_port_t", "tcp_socket", "name_connect") not in found
    assert ("postgresql_port_t", "tcp_socket", "name_connect") in found
    assert {(kind, verb) for _, kind, verb in found if kind.startswith("cap")} == {
        ("capability", "chown"),
        ("capability", "net_bind_service"),
        ("cap_userns", "chown"),
        ("cap_userns", "net_bind_service"),
        ("capability2", "syslog"),
        ("cap2_userns", "syslog"),
    }
    sockets = {"tcp_socket", "udp_socket", "netlink_route_socket", "unix_stream_socket"}
    assert {kind for target, kind, _ in found if target == "itself" and kind.endswith("_socket")} == sockets
    assert {verb for _, kind, verb in found if kind == "netlink_route_socket"} >= {"nlmsg_read", "create"}
    assert {("itself", "tcp_socket", verb) for verb in ("listen", "accept", "create", "shutdown")} <= found
    assert {(kind, verb) for target, kind, verb in found if target == "node_t"} == {
        ("tcp_socket", "node_bind"),
        ("udp_socket", "node_bind"),
    }


@pytest.mark.requires("selinux")
def test_a_container_that_does_nothing_gets_nothing(tmp_path: Path) -> None:
    exec_session_socket = inet("connect", 25, pid=9, origin=Origin.EXEC)
    refused = Socket("socket", "packet", "raw", error=1)
    dissolved = Socket("connect", "unspec", "dgram", 17)
    seen = capture(
        {},
        sockets=(exec_session_socket, replace(exec_session_socket, call="bind"), refused, dissolved),
        own_execs=(9,),
    )
    assert rules(policy(seen)) == {"(blockinherit container)"}
    done, _ = compiled(tmp_path, policy(seen))
    assert done.returncode == 0, done.stderr


@pytest.mark.requires("selinux")
def test_what_a_policy_does_not_know_is_left_out_alone(tmp_path: Path) -> None:
    seen = capture({}, sockets=(inet("connect", 27017), inet("connect", 443)))
    text = policy(seen)
    assert "mongod_port_t" in text and "mongod_port_t" not in policies.base().read_text()
    done, binary = compiled(tmp_path, text)
    assert done.returncode == 0, done.stderr
    assert {target for target, _, verb in allowed(binary) if verb == "name_connect"} == {"http_port_t"}


@pytest.mark.requires("selinux")
def test_every_class_and_capability_is_known(tmp_path: Path) -> None:
    families = ("alg", "vsock", "packet", "can", "xdp", "key", "unspec", "99")
    sockets = [Socket("socket", family, "raw") for family in families]
    sockets += [Socket("socket", "netlink", "raw", number) for number in range(22)]
    sockets += [
        inet("socket", 0, kind, protocol)
        for kind in ("stream", "dgram", "raw", "dccp")
        for protocol in (0, 1, 132)
    ]
    text = policy(capture({}, sockets=tuple(sockets)), Confinement(CAPABILITIES))
    # No block is optional now: a misspelt name is an error.
    done, binary = compiled(tmp_path, re.sub(r"\(optional \S+ (.*)\)", r"\1", text))
    assert done.returncode == 0, done.stderr
    found = allowed(binary)
    never = {"sys_module", "mac_override", "mac_admin"}
    for kinds in (("capability", "capability2"), ("cap_userns", "cap2_userns")):
        assert {verb for _, kind, verb in found if kind in kinds} == set(CAPABILITIES) - never
    assert all(f"; {each} is used too" in text for each in never)


@pytest.mark.requires("selinux")
@pytest.mark.parametrize("text", ["(allow process nonesuch (file (read)))", ")", '"'])
def test_secilc_does_refuse(text: str, tmp_path: Path) -> None:
    whole = policy(capture({}))
    done, _ = compiled(tmp_path, whole.replace("(blockinherit container)", f"(blockinherit container) {text}"))
    assert done.returncode != 0


@pytest.mark.requires("selinux")
def test_the_ports_have_the_types_that_policies_agree_on() -> None:
    base = policies.base().read_text()
    for port in (
        22,
        25,
        53,
        80,
        443,
        636,
        993,
        3000,
        3306,
        5000,
        5432,
        5672,
        6379,
        8000,
        8080,
        8443,
        9090,
        11211,
    ):
        (found,) = (
            name
            for low, high, one, name in re.findall(
                r"\(portcon tcp (?:\((\d+) (\d+)\)|(\d+)) \(system_u object_r (\w+)", base
            )
            if int(low or one) <= port <= int(high or one) and not name.endswith("reserved_port_t")
        )
        assert types("tcp_socket", port) == (found,)


@pytest.mark.parametrize(
    ("kind", "port", "expected"),
    [
        ("tcp_socket", 0, ()),
        ("tcp_socket", -1, ()),
        ("tcp_socket", 65536, ()),
        ("tcp_socket", 2, ("reserved_port_t",)),
        ("tcp_socket", 600, ("hi_reserved_port_t",)),
        ("tcp_socket", 1024, ("unreserved_port_t",)),
        ("tcp_socket", 32767, ("unreserved_port_t",)),
        ("tcp_socket", 32768, ("ephemeral_port_t",)),
        ("tcp_socket", 61000, ("unreserved_port_t",)),
        ("tcp_socket", 27018, ("mongod_port_t",)),
        ("tcp_socket", 20048, ("mountd_port_t", "nfs_port_t")),
        ("tcp_socket", 514, ("rsh_port_t",)),
        ("udp_socket", 514, ("syslogd_port_t",)),
        ("sctp_socket", 80, ("reserved_port_t",)),
    ],
)
def test_ports(kind: str, port: int, expected: tuple[str, ...]) -> None:
    assert types(kind, port) == expected


@pytest.mark.parametrize(
    ("family", "kind", "protocol", "expected"),
    [
        ("inet", "stream", 0, "tcp_socket"),
        ("inet6", "stream", 262, "tcp_socket"),
        ("inet", "seqpacket", 132, "sctp_socket"),
        ("inet", "dgram", 17, "udp_socket"),
        ("inet", "dgram", 1, "icmp_socket"),
        ("inet6", "raw", 58, "rawip_socket"),
        ("inet", "stream", 255, "rawip_socket"),
        ("unix", "seqpacket", 0, "unix_stream_socket"),
        ("unix", "dgram", 0, "unix_dgram_socket"),
        ("netlink", "dgram", 15, "netlink_kobject_uevent_socket"),
        ("netlink", "raw", 99, "netlink_socket"),
        ("packet", "raw", 768, "packet_socket"),
        ("34", "stream", 0, "socket"),
        (") (allow", "stream", 0, "socket"),
    ],
)
def test_classes(family: str, kind: str, protocol: int, expected: str) -> None:
    assert socket_class(family, kind, protocol) == expected


WHOLE = Mount("/home", "ext4", "/dev/sda3", "/")


MOUNTED = [
    (Mount("/logs", "ext4", "/dev/sda1", "/var/log"), "", {"log_container"}),
    (Mount("/logs", "ext4", "/dev/sda1", "/var/log"), "/logs/x", {"log_rw_container"}),
    (Mount("/logs", "ext4", "/dev/sda1", "/var/log"), "/logsx", {"log_container"}),
    (WHOLE, "", {"home_container"}),
    (replace(WHOLE, filesystem="tmpfs"), "", set()),
    (Mount("/etc", "btrfs", "/dev/sda1", "/root/etc"), "", {"config_container"}),
    (Mount("/tmp", "btrfs", "/dev/sda1", "/@/.snapshots/1/snapshot/tmp"), "/tmp/x", {"tmp_rw_container"}),
    (Mount("/etc/hosts", "ext4", "/dev/sda1", "/etc"), "", set()),
    (Mount("/home", "ext4", "/dev/sda1", "/var/lib/docker/volumes/home/_data"), "/home/x", set()),
    (Mount("/home", "ext4", "/dev/sda1", "/srv/home"), "/home/x", set()),
    (Mount("/home", "ext4"), "", set()),
    (Mount("/dev/log", "tmpfs", "tmpfs", "/log"), "", set()),
]


def with_host_mount(mount: Mount, written: str) -> Capture:
    seen = capture({}, [FileUse(Use.WRITE, written, resolved=written, foreign=True)] if written else [])
    return replace(seen, trace=replace(seen.trace, mounts=(mount,)))


@pytest.mark.parametrize(("mount", "written", "blocks"), MOUNTED)
def test_directories_of_the_host(mount: Mount, written: str, blocks: set[str]) -> None:
    seen = with_host_mount(mount, written)
    text = policy(seen)
    assert rules(text) == {"(blockinherit container)", *(f"(blockinherit {block})" for block in blocks)}
    names = sorted(block.replace("_rw", "") for block in {"base_container", *blocks})
    files = tuple(f"/usr/share/udica/templates/{name}.cil" for name in names)
    assert selinux.templates(seen) == files
    assert f"semodule -i slimtrace_x.cil {' '.join(files)}\n" in text


@pytest.mark.requires("selinux")
def test_what_is_inherited_is_allowed(tmp_path: Path) -> None:
    texts = [policy(with_host_mount(*case[:2]), name=f"x{number}") for number, case in enumerate(MOUNTED)]
    done, binary = compiled(tmp_path, *texts)
    assert done.returncode == 0, done.stderr
    reads, writes = ("logfile", "dir", "read"), ("logfile", "dir", "write")
    assert {reads, writes} & allowed(binary, "x0") == {reads}
    assert {reads, writes} & allowed(binary, "x1") == {reads, writes}


def test_another_directory_of_the_host_is_noted() -> None:
    seen = capture({})
    mounts = (Mount("/data\n(allow", "ext4", "/dev/sda1", "/srv/é"),)
    text = policy(replace(seen, trace=replace(seen.trace, mounts=mounts)))
    assert "    ; /data\\n(allow is /srv/\\xe9 of the host: not allowed but with :z or :Z\n" in text


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("redis", "slimtrace_redis"),
        ("my/app:1.2", r"slimtrace_my_app_1_2_[0-9a-f]{8}"),
        ("my_app", r"slimtrace_my_app_[0-9a-f]{8}"),
        (")(allow a b", r"slimtrace_allow_a_b_[0-9a-f]{8}"),
        ("\udcff\ud800", r"slimtrace_image_[0-9a-f]{8}"),
        ("", r"slimtrace_sha256_abc_[0-9a-f]{8}"),
        ("a" * 300, r"slimtrace_a{40}_[0-9a-f]{8}"),
    ],
)
def test_names(reference: str, name: str) -> None:
    assert re.fullmatch(name, selinux.policy_name(Image("sha256:abc", reference)))


REFERENCES = st.text(max_size=80) | st.from_regex(r"[a-z_./:@-]{1,60}", fullmatch=True)


@given(st.lists(REFERENCES.filter(bool), unique=True, max_size=20))
def test_names_are_safe_and_different(references: list[str]) -> None:
    names = [selinux.policy_name(Image("sha256:0", reference)) for reference in references]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"slimtrace_\w{1,49}", name, re.ASCII) for name in names)


def test_no_other_name_is_taken() -> None:
    for name in ("", "a b", "x)", "x\n", "1x", "x" * 65):
        with pytest.raises(ValueError, match="internal error"):
            policy(capture({}), name=name)


HOSTILE = st.text(alphabet="()\"';\n\r\\ *é\x00\x1b\udcff/ab{}", max_size=12)
TEXTS = HOSTILE | st.sampled_from(
    ("inet", "inet6", "unix", "netlink", "packet", "alg", "stream", "dgram", "raw", "bind")
)
NUMBERS = st.integers(-5, 70000) | st.integers()
SOCKETS = st.builds(
    Socket,
    st.sampled_from(("socket", "socketpair", "bind", "connect", "sendto", "sendmsg")) | HOSTILE,
    TEXTS,
    TEXTS,
    NUMBERS,
    TEXTS,
    NUMBERS,
    st.sampled_from((0, 111, 115)),
)
MOUNTS = st.builds(Mount, HOSTILE, TEXTS | st.just("ext4"), TEXTS, HOSTILE | st.just("/var/log"))
USES = st.builds(FileUse, st.sampled_from(Use), HOSTILE, resolved=HOSTILE)
CAPTURES = st.builds(
    lambda uses, sockets, listens, mounts, reference: replace(
        (seen := capture({}, uses, sockets=tuple(sockets), listens=tuple(listens))),
        trace=replace(seen.trace, mounts=tuple(mounts)),
        image=Image("sha256:0", reference),
    ),
    st.lists(USES, max_size=3),
    st.lists(SOCKETS, max_size=8),
    st.lists(st.builds(Listen, NUMBERS, HOSTILE, st.just(1)), max_size=3),
    st.lists(MOUNTS, max_size=3),
    HOSTILE.filter(bool),
)
CONFINEMENTS = st.builds(Confinement, st.lists(st.sampled_from(CAPABILITIES) | HOSTILE, max_size=6).map(tuple))


def forms(text: str) -> list[object]:
    """The text as CIL's reader takes it: words and lists of them, comments left out."""
    stack: list[list[object]] = [[]]
    for word in re.findall(r";[^\n]*|\(|\)|\"[^\"\n]*\"|[^\s();\"]+", text):
        if word == "(":
            stack.append([])
        elif word == ")":
            stack[-2].append(stack.pop())
        elif not word.startswith(";"):
            stack[-1].append(word)
    (top,) = stack
    return top


def heads(form: object) -> Iterable[str]:
    """The statements in a block, the optional ones opened."""
    assert isinstance(form, list)
    yield str(form[0])
    for each in form[2:] if form[0] in ("block", "optional") else ():
        yield from heads(each)


@pytest.mark.requires("selinux")
# Not shrunk: with a compiler run each time that takes minutes, and secilc names the line.
@settings(
    deadline=None,
    max_examples=examples(10),
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(
    pairs=st.lists(
        st.tuples(CAPTURES, CONFINEMENTS),
        min_size=1,
        max_size=16,
        unique_by=lambda pair: pair[0].image.reference,
    )
)
def test_secilc_accepts_whatever_a_trace_holds(
    pairs: Sequence[tuple[Capture, Confinement]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    texts = []
    for seen, confinement in pairs:
        name = selinux.policy_name(seen.image)
        texts.append(policy(seen, confinement, name))
        (block,) = forms(texts[-1])
        assert isinstance(block, list) and block[:2] == ["block", name]
        assert set(heads(block)) <= {"block", "blockinherit", "optional", "allow"}
    done, _ = compiled(tmp_path_factory.mktemp("policies"), *texts)
    assert done.returncode == 0, (texts, done.stderr)


def test_the_same_trace_in_any_order_gives_the_same_policy() -> None:
    sockets = (inet("connect", 443), inet("bind", 53, "dgram"), Socket("socket", "unix", "dgram"))
    one, other = (capture({}, sockets=found) for found in (sockets, sockets[::-1]))
    several = Confinement(("setuid", "chown"))
    assert policy(one, several) == policy(other, Confinement(several.cap_add[::-1]))


def test_only_a_network_administrator_writes_to_netlink() -> None:
    seen = capture({}, sockets=(Socket("socket", "netlink", "raw"),))
    found = ["nlmsg_write" in policy(seen, Confinement(caps)) for caps in ((), ("net_admin",))]
    assert found == [False, True]


def test_only_a_socket_that_listened_may_listen() -> None:
    client, server = (
        capture({}, sockets=(inet("socket"),), listens=found) for found in ((), (Listen(80, "", 1),))
    )
    assert [" listen " in policy(seen) for seen in (client, server)] == [False, True]
