"""How a container is to be confined beyond its seccomp and AppArmor profiles, and what verifying found
missing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from slimtrace.facts.events import CallArguments

# What confines the slim image when it is verified; each can be left out alone, to find which one is at fault.
MEASURES = ("seccomp", "capabilities", "no-new-privileges", "read-only", "apparmor")
# The capabilities that Docker gives to a container by default (moby oci/caps/defaults.go).
DOCKER_CAPABILITIES = (
    *("audit_write", "chown", "dac_override", "fowner", "fsetid", "kill", "mknod", "net_bind_service"),
    *("net_raw", "setfcap", "setgid", "setpcap", "setuid", "sys_chroot"),
)


@dataclass(frozen=True, slots=True)
class Writable:
    """A directory that must be writable under a read-only root. As a `volume` it begins with what the image has
    there, and lasts as long as the volume; else it is a tmpfs, empty, with `mode`, `uid` and `gid`. `reason` is
    a sentence that names a path written there. `executable` says that code was run from there: the tmpfs must
    not be mounted noexec."""

    path: str
    volume: bool = False
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    reason: str = ""
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Confinement:
    """The options that ``docker run`` is to get. `cap_add` are the capabilities that are added back after all
    were dropped, as capabilities(7) names them, without CAP_ and in lower case, sorted; `user` is "" where the
    image's own is right. `reasons` gives the reason for each measure (MEASURES), capability and writable path;
    `notes` are sentences on what could not be confined, and what would help. `uid` and `gid` are the numbers of
    the user that the container starts as, None where the image does not give them. `low_ports` are the ports
    below 1024 that the program bound: Docker lets anyone have these (ip_unprivileged_port_start is 0 there),
    others do not."""

    cap_add: tuple[str, ...] = ()
    no_new_privileges: bool = True
    read_only: bool = True
    writable: tuple[Writable, ...] = ()
    user: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None
    low_ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Repairs:
    """What a trial of the slim image found missing: paths of the fat image, system calls by name, arguments of
    calls, capabilities, directories to be writable. All sorted."""

    paths: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    arguments: tuple[CallArguments, ...] = ()
    capabilities: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()

    def __or__(self, other: "Repairs") -> "Repairs":
        return Repairs(
            paths=tuple(sorted({*self.paths, *other.paths})),
            calls=tuple(sorted({*self.calls, *other.calls})),
            arguments=tuple(sorted({*self.arguments, *other.arguments}, key=repr)),
            capabilities=tuple(sorted({*self.capabilities, *other.capabilities})),
            writable=tuple(sorted({*self.writable, *other.writable})),
        )

    def __bool__(self) -> bool:
        return bool(self.paths or self.calls or self.arguments or self.capabilities or self.writable)
