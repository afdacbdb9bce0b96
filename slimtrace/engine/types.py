"""The values that are passed to the engine and that it returns; a part of `engine`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from slimtrace.facts.image import HistoryEntry

# Instructions that make no layer; needed only to tell an instruction without a layer from an empty layer.
_NO_LAYER = frozenset({"ARG", "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER"}) | {
    "ONBUILD",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
}

LABEL = "slimtrace.run"  # its value names the process that a container belongs to
CHUNK = 1 << 20  # bytes of an image or of files that are moved at a time


@dataclass(frozen=True, slots=True)
class Launch:
    """How a container is to differ from what its image configures; by default in nothing.

    `entrypoint` and `cmd` are None to keep the image's (a given entrypoint drops the image's cmd, as with
    docker run). `env` and `labels` are added to the image's. `binds` are ``SOURCE:PATH[:ro]``; nothing is
    mounted that the user did not ask for, and no port is published. `tmpfs` maps a path to mount options as
    docker run's --tmpfs takes them; `volumes` are paths where an anonymous volume begins with what the image
    has there; `volumes_from` are containers whose volumes are mounted too; `pid_mode` is host,
    ``container:ID`` or empty.
    """

    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str = ""
    binds: tuple[str, ...] = ()
    network: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    security_opt: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    read_only: bool = False
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    volumes_from: tuple[str, ...] = ()
    pid_mode: str = ""
    stdin: bool = False
    tty: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """A container's state at one moment. `pid` is the host's, 0 when the container does not run; `exit_code`
    counts only when it has ended; `address` is its IP address, empty without a network of its own; `started`
    and `finished` are RFC 3339; `health` is empty without a HEALTHCHECK."""

    status: str
    running: bool
    pid: int
    exit_code: int
    oom_killed: bool
    error: str
    address: str
    started: str
    finished: str
    health: str


@dataclass(frozen=True, slots=True)
class ExecResult:
    """A command that ran inside a container: its `pid` on the host (0 if the engine did not tell), its exit
    code, and the last OUTPUT_LIMIT bytes of its standard output and error, in the order they came."""

    pid: int
    exit_code: int
    output: bytes


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What the engine says of itself (GET /info). `containerd_store`: images are in containerd's store, as is
    usual from Docker 29 on, and their ids are the digests of their manifests instead of their configurations.
    `podman`: the engine is podman, which differs in some options."""

    version: str
    api: str
    storage: str
    cgroup_version: str
    cgroup_driver: str
    runtimes: tuple[str, ...]
    security: tuple[str, ...]
    root_dir: str
    containerd_store: bool = False
    podman: bool = False

    @property
    def rootless(self) -> bool:
        return "rootless" in self.security

    @property
    def remapped(self) -> bool:
        """Whether files in the engine's store have other owners than in the container (user namespaces)."""
        return self.rootless or "userns" in self.security

    @property
    def seccomp(self) -> bool:
        return "seccomp" in self.security


def history(lines: Iterable[Mapping[str, Any]], layers: int) -> tuple[HistoryEntry, ...]:
    """The API's history, oldest first. The API does not say which lines made no layer: a line with bytes made
    one; if the image has more layers than such lines, so did the lines without bytes whose instruction can make
    one."""
    found = list(lines)[::-1]
    all_have_bytes = sum(1 for line in found if line.get("Size")) == layers
    entries = []
    for line in found:
        created_by, size = line.get("CreatedBy") or "", int(line.get("Size") or 0)
        instruction = (created_by.removeprefix("/bin/sh -c #(nop)").split() or [""])[0]
        created = datetime.fromtimestamp(line.get("Created") or 0, UTC)
        entries.append(
            HistoryEntry(
                created_by=created_by,
                created=created.strftime("%Y-%m-%dT%H:%M:%SZ"),
                comment=line.get("Comment") or "",
                size=size,
                empty=not size and (all_have_bytes or instruction in _NO_LAYER),
            )
        )
    return tuple(entries)
