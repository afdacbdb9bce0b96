"""The AppArmor profile of a slim image: its files by use, and of everything else what Docker's template has.

Sources: apparmor.d(5); Docker's template (github.com/moby/profiles, apparmor/template.go) for the deny rules,
the peers of signals and ptrace; security/apparmor/file.c (stat is never refused, symlinks are resolved
before the check, so that rules name real paths).
"""

import re
from collections.abc import Iterator

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import FileUse, Use
from slimtrace.facts.image import Image
from slimtrace.facts.selection import Selection, Why
from slimtrace.facts.tree import FileTree, Kind
from slimtrace.reason.evidence import strangers

# What Docker gives to a container that asks for nothing (moby oci/caps/defaults.go).
CAPABILITIES = (
    *("audit_write", "chown", "dac_override", "fowner", "fsetid", "kill", "mknod", "net_bind_service"),
    *("net_raw", "setfcap", "setgid", "setpcap", "setuid", "sys_chroot"),
)
_PERMISSIONS = "rwklmx"  # the order in which a rule is written; x stands for ix
_PLAIN = re.compile(rb"[A-Za-z0-9/._+:=~%-]")
_BY_REASON = {
    Why.EXECUTED: "rmx",
    Why.INTERPRETER: "rmx",
    Why.CONFIGURED: "r",
    Why.NEEDED: "rm",
    Why.OPENED: "r",
    Why.RULE: "r",
    Why.REPAIR: "r",
    Why.LOOKED_AT: "r",  # its content is in the image too: the next run may read it
    Why.CHANGED: "rwk",
}
_OF_DIRECTORIES = frozenset((Why.OPENED, Why.LISTED, Why.ENTERED, Why.CHANGED, Why.CONFIGURED, Why.RULE))
_BY_USE = {
    Use.READ: "r",
    Use.MAP: "rm",
    Use.EXEC: "rmx",
    Use.LIST: "r",
    Use.WRITE: "wk",
    Use.CHANGE: "wk",
}
_PID = re.compile(r"/proc/\d+(/task/\d+)?(?=/|$)")
# A directory in which names come and go; a rule over all of these would be one over everything.
_TOO_BROAD = frozenset(("/", "/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/proc", "/sys", "/dev"))

_HEAD = """\
# Made by slimtrace from what the container did. Load it: apparmor_parser -r FILE; use it:
# docker run --security-opt apparmor={name}
abi <abi/3.0>,

@{{slimtrace_pid}}={{[1-9],[1-9][0-9],[1-9][0-9][0-9],[1-9][0-9][0-9][0-9],[1-9][0-9][0-9][0-9][0-9],[1-9][0-9][0-9]\
[0-9][0-9][0-9],[1-9][0-9][0-9][0-9][0-9][0-9][0-9]}}

profile "{name}" flags=(attach_disconnected,mediate_deleted) {{
"""
_TAIL = """\
  # docker stop and docker kill, by the daemon or the runtime; the container's processes among themselves.
  signal (receive) peer=unconfined,
  signal (receive) peer=runc,
  signal (receive) peer=crun,
  signal (receive) peer=docker,
  signal (send,receive) peer="{name}",
  ptrace (trace,tracedby,read,readby) peer="{name}",

  # What the engine hands over: standard streams, terminals, and the devices that every container has.
  /dev/{{null,zero,full,random,urandom,tty,console,ptmx}} rw,
  /dev/pts/{{,[0-9]*}} rw,
  /dev/shm/{{,**}} rwkl,
  /dev/mqueue/{{,**}} rwk,

  # As Docker's own profile denies.
  deny mount,
  deny /proc/* w,
  deny /proc/{{[^1-9/],[^1-9/][^0-9/],[^1-9s/][^0-9y/][^0-9s/],[^1-9/][^0-9/][^0-9/][^0-9/]*}}/** w,
  deny /proc/sys/[^k]** w,
  deny /proc/sys/kernel/{{?,??,[^s][^h][^m]**}} w,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/kcore rwklx,
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}}
"""


def profile_name(image: Image) -> str:
    """``slimtrace-`` and the image's reference in letters, digits, dots and dashes."""
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", image.reference).strip("-.")
    return f"slimtrace-{slug or image.id.rpartition(':')[2][:12] or 'image'}"


def profile(name: str, capture: Capture, selection: Selection) -> str:
    """The profile, as text in ASCII; the same for the same facts."""
    return "".join(
        (
            _HEAD.format(name=name),
            *(f"  capability {capability},\n" for capability in CAPABILITIES),
            *_network(capture),
            "\n",
            *(f"  {rule},\n" for rule in _files(capture, selection)),
            "\n",
            _TAIL.format(name=name),
        )
    )


def quoted(path: str) -> str:
    """`path` as apparmor.d(5) writes the literal name: in quotes, every byte that could mean something as
    three octal digits (parser_misc.c, processquoted; the parser itself guards what stands for a glob)."""
    raw = paths.encode(path)
    return '"' + "".join(chr(b) if _PLAIN.match(bytes((b,))) else f"\\{b:03o}" for b in raw) + '"'


def _network(capture: Capture) -> Iterator[str]:
    groups = capture.trace.calls  # io_uring's requests among them: it makes sockets too
    calls = {name for group in groups for name in group.calls}
    if calls & {"socket", "socketpair", "socketcall"} or not calls:
        # netlink: the resolver and getifaddrs(3) ask the kernel for addresses by it.
        yield from (f"  network {family},\n" for family in ("inet", "inet6", "unix", "netlink"))


def _files(capture: Capture, selection: Selection) -> Iterator[str]:
    rules: dict[str, set[str]] = {}
    free: set[str] = set()
    tree = capture.tree
    for path, reasons in selection.kept.items():
        entry = tree.get(path)
        if entry is None or entry.kind is Kind.LINK:
            continue
        whys = {reason.why for reason in reasons}
        if entry.kind is Kind.DIR:
            if whys & _OF_DIRECTORIES:
                rules.setdefault(_folder(path), set()).add("r")
            continue
        allowed = set("".join(_BY_REASON.get(why, "") for why in whys))
        if Why.CONFIGURED in whys and entry.mode & 0o111:
            allowed |= set("rmx")
        if Why.OPENED in whys and capture.contents.elf(path):
            allowed.add("m")  # a library that was dlopened
        rules.setdefault(path, set()).update(allowed)
    stranger = strangers(capture.trace, capture.image)
    for use in capture.trace.uses:
        path = _real(tree, use)
        if not path or path == "/" or use.error or stranger(use.pid, use.origin):
            continue
        allowed = set(_BY_USE.get(use.use, ""))
        if use.call in ("link", "linkat"):
            allowed.add("l")
        directory = use.use is Use.LIST or ((entry := tree.get(path)) is not None and entry.kind is Kind.DIR)
        rules.setdefault(_folder(path) if directory else path, set()).update(allowed)
        if "w" in allowed and path not in tree and paths.parent(path) not in _TOO_BROAD:
            free.add(paths.parent(path))
    lines = {f"{_with_pid(path)} {_letters(allowed)}" for path, allowed in rules.items() if allowed}
    # Names in a directory that the program fills (temporary files, sockets, logs) differ from run to run.
    lines |= {f'{_with_pid(_folder(path))[:-1]}{{,**}}" rwkl' for path in free if not path.startswith("/proc/")}
    return iter(sorted(lines))


def _real(tree: FileTree, use: FileUse) -> str:
    """Where a use really went: an opened file's own path; of the rest the asked one, with its links followed
    as far as the image knows them."""
    if use.resolved.startswith("/"):
        return use.resolved
    if use.truncated or not (use.base or use.asked.startswith("/")):
        return ""
    return tree.resolve(paths.join(use.base, use.asked), follow_last=use.use is not Use.CHANGE).path


def _folder(path: str) -> str:
    return path if path == "/" else path + "/"


def _letters(allowed: set[str]) -> str:
    return "".join("ix" if letter == "x" else letter for letter in _PERMISSIONS if letter in allowed)


def _with_pid(path: str) -> str:
    """`path` quoted; the number of a process in it stands for any."""
    match = _PID.match(path)
    if not match:
        return quoted(path)
    task = "/task/@{slimtrace_pid}" if match[1] else ""
    return f'"/proc/@{{slimtrace_pid}}{task}{quoted(path[match.end() :])[1:]}'
