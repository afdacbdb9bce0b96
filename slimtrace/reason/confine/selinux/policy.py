"""The SELinux policy of a slim container: a CIL module in the manner of udica (github.com/containers/udica).

The container gets a type of its own, NAME.process, that inherits what every container needs from the block
`container` of udica's template base_container.cil (the package container-selinux has it), and is given of the
rest what the trace saw: capabilities, sockets by class, ports by their types, directories of the host. What a
policy cannot say, as all files of an image have one label, says docs/selinux.md.

Sources: the CIL reference guide (github.com/SELinuxProject/selinux, secilc/docs) for the language; the kernel's
security/selinux/hooks.c for what is asked of the policy.
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
from slimtrace.reason.confine.selinux.socket_classes import COMMON, CONNECTING, INET, permissions, socket_class
from slimtrace.reason.keep.evidence import strangers

TEMPLATES = "/usr/share/udica/templates"  # where udica and container-selinux install them
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_PLAIN = re.compile(r"[A-Za-z0-9]{1,40}")
_SECOND_CLASS = 32  # capability numbers from here on are of the class capability2 (CAP_TO_INDEX)
# No container's, says every policy (neverallow), and container-selinux's boolean virt_sandbox_use_all_caps.
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


def policy(name: str, capture: Capture, selection: Selection, confinement: Confinement) -> str:
    """The module as text in ASCII, the same for the same facts. `name` is one of `policy_name`; it becomes the
    name of the file, too, as semodule calls a module by its file. `selection` is not asked: a policy cannot
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
    """The files of udica's that the policy needs, and semodule is to be given with it; sorted."""
    blocks = {block.replace("_rw_", "_") for block in host_directories.blocks(capture)}
    return tuple(f"{TEMPLATES}/{name}.cil" for name in sorted({"base_container", *blocks}))


def _capabilities(confinement: Confinement) -> Iterator[str]:
    """What is left after ``--cap-drop ALL``, for the machine's own user namespace and for others (rootless
    podman, userns-remap), for which the kernel asks by classes of their own (hooks.c, cred_has_capability)."""
    left = [each for each in CAPABILITIES if each in confinement.cap_add and each not in _NEVER]
    first = [each for each in left if CAPABILITIES.index(each) < _SECOND_CLASS]
    for kind in ("capability", "cap_userns"):
        if first:
            yield _allow("process", kind, first)
    # Younger than some policies: perfmon, bpf, checkpoint_restore.
    for each in left[len(first) :]:
        for kind in ("capability2", "cap2_userns"):
            yield _optional(f"{kind}_{each}", _allow("process", kind, (each,)))
    for each in sorted(_NEVER & set(confinement.cap_add)):
        yield f"; {each} is used too, and no policy allows it to a container"


def _sockets(capture: Capture, administers: bool) -> Iterator[str]:
    """What is done with the sockets that were seen, by class, and the ports, by type. A name that not every
    policy has stands in an optional block: without it the rule is left out, not the module refused."""
    used = _used(capture)
    for kind in sorted(used.classes):
        own = [_allow("process", kind, permissions(kind, used.listens, administers))]
        if kind in INET:
            own.append(_allow("node_t", kind, ("node_bind",)))
        yield from own if kind in COMMON else (_optional(kind, *own),)
    asked = {("name_bind", *bind) for bind in used.binds} | {("name_connect", *each) for each in used.connects}
    rules = {(each, verb, name) for verb, each, port in asked for name in types(each, port)}
    for kind, verb, name in sorted(rules):
        yield _optional(f"{kind}_{verb}_{name}", _allow(name, kind, (verb,)))


@dataclass(slots=True)
class _Used:
    """The classes of the container's sockets, and by class the ports that it bound and connected to."""

    classes: set[str] = field(default_factory=set)
    binds: set[tuple[str, int]] = field(default_factory=set)
    connects: set[tuple[str, int]] = field(default_factory=set)
    listens: bool = False


def _used(capture: Capture) -> _Used:
    trace, used = capture.trace, _Used()
    stranger = strangers(trace, capture.image)
    for listen in trace.listens:
        if not stranger(listen.pid, listen.origin):
            used.listens = True
            used.classes.add("tcp_socket")
            used.binds.add(("tcp_socket", listen.port))
    for socket in trace.sockets:
        # One that the kernel could not make needs nothing; a call that failed is made again by another run.
        if stranger(socket.pid, socket.origin) or (socket.error and socket.call in ("socket", "socketpair")):
            continue
        if socket.family == "unspec":  # the address of a connect(2) that takes back the one before
            continue
        kind = socket_class(socket.family, socket.kind, socket.protocol)
        used.classes.add(kind)
        if socket.call == "bind":
            used.binds.add((kind, socket.port))
            continue
        if kind in CONNECTING:
            used.connects.add((kind, socket.port))
        if kind == "udp_socket" and socket.port == _DNS:
            # A resolver asks again by TCP where the answer was too long for UDP (RFC 7766).
            used.classes.add("tcp_socket")
            used.connects.add(("tcp_socket", _DNS))
    return used


def _allow(target: str, kind: str, allowed: Iterable[str]) -> str:
    return f"(allow process {target} ({kind} ({' '.join(allowed)})))"


def _optional(name: str, *rules: str) -> str:
    """The rules if the policy that they are loaded into has all the names in them, else nothing."""
    return f"(optional {name} {' '.join(rules)})"
