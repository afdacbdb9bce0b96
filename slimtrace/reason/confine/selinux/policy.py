"""The SELinux policy of a slim container: a CIL module in the manner of udica (github.com/containers/udica).

The container gets a type of its own, NAME.process, that inherits what every container needs from the block
`container` of udica's template base_container.cil (the package container-selinux has it), and is allowed what
the trace shows besides: capabilities, sockets by class, ports by their types, directories of the host.
docs/selinux.md says what a policy cannot express, as all files of an image have one label.

Sources: the CIL reference guide (github.com/SELinuxProject/selinux, secilc/docs) for the language; the kernel's
security/selinux/hooks.c for the permissions that are checked.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import Confinement
from slimtrace.facts.events import CAPABILITIES
from slimtrace.facts.image import Image
from slimtrace.facts.selection import Selection
from slimtrace.reason.confine.selinux import host_directories
from slimtrace.reason.confine.selinux.port_types import types
from slimtrace.reason.confine.selinux.socket_classes import (
    ADDRESS_CHECKED_CLASSES,
    COMMON_CLASSES,
    PORT_CHECKED_CLASSES,
    permissions,
    socket_class,
)
from slimtrace.reason.keep.evidence import exec_session_test

TEMPLATES = "/usr/share/udica/templates"  # where udica and container-selinux install them
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_PLAIN = re.compile(r"[A-Za-z0-9]{1,40}")
_SECOND_CLASS = 32  # capability numbers from here on are of the class capability2 (CAP_TO_INDEX)
# Every policy forbids these to containers (neverallow), and so does container-selinux's boolean
# virt_sandbox_use_all_caps.
_NEVER = frozenset(("sys_module", "mac_override", "mac_admin"))
_DNS = 53

_HEAD = """\
; {name}: made by slimtrace from what the container did.
; Load it: semodule -i {name}.cil {files}
; Use it:  docker run --security-opt label=type:{name}.process (podman takes the same)
"""


def policy_name(image: Image) -> str:
    """``slimtrace_`` and the image's reference, in letters, digits and underscores; at most 59 of them. Where
    something had to be left out or replaced a short hash of the whole reference keeps two images apart; a name
    without one has no second underscore, so that the two kinds cannot meet."""
    reference = image.reference or image.id
    if _PLAIN.fullmatch(reference):
        return f"slimtrace_{reference}"
    slug = re.sub(r"[^A-Za-z0-9]+", "_", reference).strip("_")[:40].rstrip("_") or "image"
    digest = hashlib.sha256(reference.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"slimtrace_{slug}_{digest}"


def cil_policy(name: str, capture: Capture, selection: Selection, confinement: Confinement) -> str:
    """The module as text in ASCII, the same for the same facts. `name` is one of `policy_name`; it becomes the
    name of the file, too, as semodule names a module by its file. `selection` is not used: a policy cannot
    tell the files of an image apart."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"internal error: no name for a policy: {name!r}")
    del selection
    lines = [
        "(blockinherit container)",
        *(f"(blockinherit {block})" for block in host_directories.blocks(capture)),
        *_capabilities(confinement),
        *_sockets(capture, "net_admin" in confinement.cap_add),
        *(f"; {note}" for note in host_directories.notes(capture)),
    ]
    head = _HEAD.format(name=name, files=" ".join(templates(capture)))
    return head + f"(block {name}\n" + "".join(f"    {line}\n" for line in lines) + ")\n"


def templates(capture: Capture) -> tuple[str, ...]:
    """The template files of udica that the policy needs, to be given to semodule with it; sorted."""
    blocks = {block.replace("_rw_", "_") for block in host_directories.blocks(capture)}
    return tuple(f"{TEMPLATES}/{name}.cil" for name in sorted({"base_container", *blocks}))


def _capabilities(confinement: Confinement) -> Iterator[str]:
    """The rules for the capabilities of `--cap-add`, for the machine's own user namespace and for others
    (rootless podman, userns-remap), which the kernel checks by classes of their own (hooks.c,
    cred_has_capability)."""
    added = [each for each in CAPABILITIES if each in confinement.cap_add and each not in _NEVER]
    first_class = [each for each in added if CAPABILITIES.index(each) < _SECOND_CLASS]
    for kind in ("capability", "cap_userns"):
        if first_class:
            yield _allow("process", kind, first_class)
    # Some of these are younger than some policies: perfmon, bpf, checkpoint_restore.
    for each in added[len(first_class) :]:
        for kind in ("capability2", "cap2_userns"):
            yield _optional(f"{kind}_{each}", _allow("process", kind, (each,)))
    for each in sorted(_NEVER & set(confinement.cap_add)):
        yield f"; {each} is used too, and no policy allows it to a container"


def _sockets(capture: Capture, is_net_admin: bool) -> Iterator[str]:
    """The rules for the sockets that were seen, by class, and for their ports, by type. A rule with a name that
    not every policy has stands in an optional block: a policy without the name leaves the rule out, and does
    not refuse the module."""
    used = _used_sockets(capture)
    for kind in sorted(used.classes):
        rules_of_class = [_allow("process", kind, permissions(kind, used.listens, is_net_admin))]
        if kind in ADDRESS_CHECKED_CLASSES:
            rules_of_class.append(_allow("node_t", kind, ("node_bind",)))
        yield from rules_of_class if kind in COMMON_CLASSES else (_optional(kind, *rules_of_class),)
    port_uses = {("name_bind", *bind) for bind in used.binds} | {
        ("name_connect", *each) for each in used.connects
    }
    rules = {(each, verb, name) for verb, each, port in port_uses for name in types(each, port)}
    for kind, verb, name in sorted(rules):
        yield _optional(f"{kind}_{verb}_{name}", _allow(name, kind, (verb,)))


@dataclass(slots=True)
class _UsedSockets:
    """The classes of the container's sockets, and by class the ports that it bound and connected to."""

    classes: set[str] = field(default_factory=set)
    binds: set[tuple[str, int]] = field(default_factory=set)
    connects: set[tuple[str, int]] = field(default_factory=set)
    listens: bool = False


def _used_sockets(capture: Capture) -> _UsedSockets:
    trace, used = capture.trace, _UsedSockets()
    in_exec_session = exec_session_test(trace, capture.image)
    for listen in trace.listens:
        if not in_exec_session(listen.pid, listen.origin):
            used.listens = True
            used.classes.add("tcp_socket")
            used.binds.add(("tcp_socket", listen.port))
    for socket in trace.sockets:
        # A socket that the kernel could not make needs no rule; any other failed call may succeed in another
        # run.
        if in_exec_session(socket.pid, socket.origin) or (
            socket.error and socket.call in ("socket", "socketpair")
        ):
            continue
        if socket.family == "unspec":  # the address of a connect(2) that dissolves an association
            continue
        kind = socket_class(socket.family, socket.kind, socket.protocol)
        used.classes.add(kind)
        if socket.call == "bind":
            used.binds.add((kind, socket.port))
            continue
        if kind in PORT_CHECKED_CLASSES:
            used.connects.add((kind, socket.port))
        if kind == "udp_socket" and socket.port == _DNS:
            # A resolver repeats a query by TCP where the answer was too long for UDP (RFC 7766).
            used.classes.add("tcp_socket")
            used.connects.add(("tcp_socket", _DNS))
    return used


def _allow(target: str, kind: str, allowed: Iterable[str]) -> str:
    return f"(allow process {target} ({kind} ({' '.join(allowed)})))"


def _optional(name: str, *rules: str) -> str:
    """A block with `rules` that counts only where the policy has all the names in them."""
    return f"(optional {name} {' '.join(rules)})"
