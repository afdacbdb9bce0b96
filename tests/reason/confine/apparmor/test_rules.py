"""What a profile allows, as its parser understands it: by use, by place, by confinement."""

import pytest

from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import Confinement, Repairs, Writable
from slimtrace.facts.events import (
    Abi,
    CallArguments,
    CallSet,
    CapabilitySet,
    Exec,
    FileUse,
    Listen,
    Origin,
    Phase,
    Socket,
    Use,
)
from slimtrace.reason.confine import apparmor
from slimtrace.reason.confine.apparmor.pathnames import volatile_glob
from slimtrace.reason.keep.rules import Rules

from ...keep.test_graph import SERVER
from ...trees import capture, read, selected
from .profiles import Policy

pytestmark = pytest.mark.requires("apparmor-parser")
APP = (CallSet(Phase.APP, Origin.CONTAINER, ("openat", "socket")),)


def text(
    seen: Capture,
    confinement: Confinement | None = None,
    repairs: Repairs = Repairs(),  # noqa: B008
    rules: Rules | None = None,
) -> str:
    return apparmor.profile(
        apparmor.profile_name(seen.image), seen, selected(seen, rules), confinement, repairs
    )


def write(path: str, **more: object) -> FileUse:
    return FileUse(Use.WRITE, path, resolved=path, call="openat", **more)  # type: ignore[arg-type]


def change(call: str, path: str) -> FileUse:
    return FileUse(Use.CHANGE, path, call=call)


RUN = Exec("/usr/bin/app", "", "/usr/bin/app", 1, 0)


@pytest.mark.parametrize(
    ("event", "allowed", "refused"),
    [
        (
            read("/real/c.txt"),
            {"/real/c.txt": "r"},
            {"/real/c.txt": "w", "/real/d.txt": "r", "/real/c.txt2": "r"},
        ),
        (write("/real/c.txt"), {"/real/c.txt": "rwk"}, {"/real/c.txt": "l", "/real/d.txt": "w"}),
        (write("/etc/new.conf"), {"/etc/new.conf": "rwk"}, {"/etc/other.conf": "w"}),
        (write("/run/app-4711.pid"), {"/run/app-12.pid": "rwk"}, {"/run/app-x.pid": "w", "/run/other": "w"}),
        (write("/var/spool/job.aB3xYz"), {"/var/spool/job.Q9z8Yx": "rwkl"}, {"/var/other": "w"}),
        (
            write("/made/here/x"),
            {"/made/here/y": "rwkl", "/made/here/": "rw"},
            {"/made/here/y": "m", "/made/x": "w"},
        ),
        (write("/tmp/x"), {"/tmp/y/z": "rwkl"}, {"/tmp/y": "x"}),
        (write("/var/lib/#1234"), {"/var/lib/#99": "rw"}, {"/var/lib/x": "w"}),
        (change("rename", "/etc/a.new"), {"/etc/a.new": "rw", "/etc/a.new/": "rw"}, {"/etc/a": "w"}),
        (change("mkdir", "/etc/d"), {"/etc/d/": "w"}, {"/etc/d": "w", "/etc/d/x": "w"}),
        (change("linkat", "/desk/l"), {"/desk/l": "rwkl"}, {"/desk/m": "l"}),
        (change("bind", "/run/s.sock"), {"/run/s.sock": "rw"}, {"/run/t.sock": "w"}),
        (FileUse(Use.WRITE, "/run/s.sock", call="connect"), {"/run/s.sock": "rw"}, {"/run/s.sock": "k"}),
        (FileUse(Use.MAP, "", resolved="/tmp/jna1234.so"), {"/tmp/jna987.so": "rm"}, {}),
        (read("/proc/1/personality", foreign=True), {"/proc/99/personality": "r"}, {"/proc/99/mem": "r"}),
        (read("/proc/1/fdinfo/4", foreign=True), {"/proc/9/fdinfo/12": "r"}, {"/proc/9/fdinfo/x": "r"}),
        (write("/proc/1/oom_score_adj", foreign=True), {"/proc/7/oom_score_adj": "w"}, {"/proc/7/mem": "w"}),
        (write("/proc/sysrq-trigger", foreign=True), {}, {"/proc/sysrq-trigger": "w"}),
        (read("/sys/devices/system/cpu/cpu0/x", foreign=True), {"/sys/devices/system/cpu/cpu31/x": "r"}, {}),
        (write("/real/c.txt", error=13), {}, {"/real/c.txt": "w"}),
        (write("/etc/none", error=2), {}, {"/etc/none": "r"}),
        (
            FileUse(Use.WRITE, "/var/log/e", resolved="/", filesystem="pipefs", foreign=True),
            {},
            {"/var/log/e": "w"},
        ),
    ],
)
def test_by_use(event: FileUse, allowed: dict[str, str], refused: dict[str, str]) -> None:
    policy = Policy(text(capture(SERVER, [event], calls=APP)))
    assert {path for path, letters in allowed.items() if not policy.allows(path, letters)} == set()
    assert {path for path, letters in refused.items() if policy.allows(path, letters)} == set()


def test_every_seen_use_is_allowed_in_the_next_run_too() -> None:
    names = ("/data/db-1/wal.000001", "/data/db-1/wal.000002", "/data/db-1/lock")
    first = capture(SERVER, [write(name, created=True) for name in names], calls=APP)
    policy = Policy(text(first))
    assert all(policy.allows(name, "rwk") for name in (*names, "/data/db-1/wal.000003"))
    assert not policy.allows("/data/db-2/x", "w")


READ_ONLY = Confinement(cap_add=("chown",), writable=(Writable("/run/app"), Writable("/link/x")))
CONFINED = {**SERVER, "/link": "link /real", "/run": "dir", "/vol": "dir", "/pipe": "fifo"}


@pytest.mark.parametrize(
    ("path", "letters", "allowed"),
    [
        ("/run/app/any", "rwkl", True),
        ("/run/app/", "rw", True),
        ("/run/app/any", "m", False),
        ("/run/apple", "w", False),
        ("/real/x/any", "w", True),  # where the link leads
        ("/link/x/any", "w", False),
        ("/vol/any", "rwkl", True),  # a VOLUME
        ("/real/c.txt", "rk", True),
        ("/real/c.txt", "w", False),  # was written, and the root is read-only
        ("/etc/new", "w", False),
        ("/dev/shm/x", "rw", True),
        ("/pipe", "w", True),  # a read-only file system does not refuse it
        ("/mnt/bound/x", "w", True),  # what the user mounts is writable
        ("/repaired/x", "w", True),
    ],
)
def test_a_read_only_root(path: str, letters: str, allowed: bool) -> None:
    events = [write("/real/c.txt"), write("/etc/new"), write("/pipe"), write("/mnt/bound/x", foreign=True)]
    seen = capture(CONFINED, events, config={"Volumes": {"/vol": {}}}, calls=APP)
    policy = Policy(text(seen, READ_ONLY, Repairs(writable=("/repaired",))))
    assert policy.allows(path, letters) is allowed


@pytest.mark.parametrize(
    ("spec", "path", "letters", "refused"),
    [
        ("elf 0755 interp=/lib/ld.so", "/opt/more/tool", "rmx", "w"),
        ("elf 0755 soname=libx.so", "/opt/more/libx.so", "rm", "x"),
        ("elf 0755", "/opt/more/ext.cpython-311.so", "rm", "x"),
        ("script 0755 #!/bin/sh", "/opt/more/run", "rx", "w"),
        ("file 0644", "/opt/more/data", "r", "x"),
    ],
)
def test_a_file_without_a_recorded_use_is_allowed_by_its_kind(
    spec: str, path: str, letters: str, refused: str
) -> None:
    seen = capture({**SERVER, path: spec}, calls=APP)
    policy = Policy(text(seen, rules=Rules(include_paths=(path,))))
    assert policy.allows(path, letters) and policy.allows("/opt/more/", "r")
    assert not policy.allows(path, refused)
    without = Policy(text(seen))
    assert not without.allows(path, "r")
    assert Policy(text(seen, repairs=Repairs(paths=(path,)))).allows(path, letters)


def test_capabilities() -> None:
    watched = (
        CapabilitySet(Phase.RUNTIME, Origin.CONTAINER, ("sys_admin",)),
        CapabilitySet(Phase.APP, Origin.CONTAINER, ("chown",), ("net_admin",)),
        CapabilitySet(Phase.APP, Origin.EXEC, ("kill",)),
    )

    def given(seen: Capture, *more: Confinement) -> set[str]:
        lines = text(seen, *more, repairs=Repairs(capabilities=("sys_nice",))).splitlines()
        return {line.split()[1].rstrip(",") for line in lines if line.startswith("  capability ")}

    assert given(capture({}, capabilities=watched)) == {"chown", "sys_nice"}
    assert given(capture({}, capabilities=watched, listens=(Listen(80, "::", 1),))) >= {"net_bind_service"}
    assert given(capture({}, capabilities=watched), Confinement(cap_add=("setuid",))) == {"setuid", "sys_nice"}
    assert len(given(capture({}))) == 15  # not watched: what Docker gives, and the repaired one
    healthy = {"Healthcheck": {"Test": ["CMD", "/x"]}}
    assert given(capture({}, config=healthy, capabilities=watched)) == {"chown", "kill", "sys_nice"}


def sockets(*pairs: tuple[str, str], **more: object) -> set[str]:
    made = tuple(Socket("socket", family, kind) for family, kind in pairs)
    lines = text(capture({}, sockets=made, **{"calls": APP, **more})).splitlines()  # type: ignore[arg-type]
    return {line.strip().removeprefix("network ") for line in lines if line.startswith("  network")}


def test_sockets_by_family_and_type() -> None:
    assert sockets(("unix", "stream")) == {"unix stream,"}
    assert sockets(("inet", "stream")) == {"inet stream,", "inet6 stream,"}
    assert sockets(("inet", "raw")) == {"inet raw,", "inet6 raw,"}
    names = {"inet dgram,", "inet6 dgram,", "inet stream,", "inet6 stream,", "netlink raw,"}
    assert sockets(("inet6", "dgram")) == names
    assert sockets(("netlink", "raw")) == names  # who asks for addresses looks up names
    assert sockets(("16", "dgram"), ("9999", "stream"), ("made up {", "raw")) == {"netlink dgram,"}
    assert sockets(calls=(CallSet(Phase.APP, Origin.CONTAINER, ("read",)),)) == set()
    assert sockets() == {"inet,", "inet6,", "netlink,", "unix,"}  # made, and nobody saw of which family
    ring = (CallSet(Phase.APP, Origin.CONTAINER, ("socket",), abi=Abi.IO_URING),)
    assert "inet," in sockets(("unix", "stream"), calls=ring)


def test_a_repaired_socket() -> None:
    repairs = Repairs(arguments=(CallArguments("socket", 0, (16, 40)), CallArguments("clone", 0, (2,))))
    quiet = (CallSet(Phase.APP, Origin.CONTAINER, ("read",)),)
    found = text(capture({}, calls=quiet), repairs=repairs)
    assert (
        "  network netlink,\n  network vsock,\n" in found and "inet" not in found.partition("  # What any")[0]
    )


def test_who_may_send_signals() -> None:
    name = apparmor.profile_name(capture({}).image)
    lines = text(capture({})).splitlines()
    for rule in ("signal (receive) peer=unconfined,", f'signal (send,receive) peer="{name}",'):
        assert f"  {rule}" in lines
    assert not any("change_profile" in line or line.strip() == "file," for line in lines)


@pytest.mark.parametrize(
    ("name", "glob"),
    [
        ("nginx.pid", "nginx.pid"),
        ("app-4711.pid", "app-[0-9]*.pid"),
        ("2026-11-27.log", "[0-9]*-[0-9]*-[0-9]*.log"),
        ("x.550e8400-e29b-41d4-a716-446655440000", "x.*"),
        ("d41d8cd98f00b204e9800998ecf8427e.cache", "*.cache"),
        ("php8.2-fpm.sock", "php8.[0-9]*-fpm.sock"),
        ("upload.aB3xYz", "upload.*"),
        ("tmpk3j9x_q1", "tmp*"),
        ("app.config", "app.config"),
        ("index.html", "index.html"),
        ("libssl.so.3", "libssl.so.[0-9]*"),
        ("a b", "a\\040b"),
    ],
)
def test_volatile_names(name: str, glob: str) -> None:
    assert volatile_glob(name) == glob


def test_locks_and_umount_where_the_program_calls_them() -> None:
    def found(phase: Phase, *calls: str) -> tuple[bool, bool]:
        seen = capture(SERVER, [read("/real/c.txt")], calls=(CallSet(phase, Origin.CONTAINER, calls),))
        written = text(seen)
        return Policy(written).allows("/real/c.txt", "rk"), "  umount,\n" in written

    assert found(Phase.APP, "read") == (False, False)
    assert found(Phase.APP, "flock", "umount2") == (True, True)
    assert found(Phase.RUNTIME, "umount2") == (False, False)  # the runtime's own
