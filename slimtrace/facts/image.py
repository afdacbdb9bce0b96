"""An image as the engine describes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line of the image's history, oldest first. `created_by` is the builder's text, `size` the bytes of
    the layer it made, 0 and `empty` for one that made none."""

    created_by: str
    created: str = ""
    comment: str = ""
    size: int = 0
    empty: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """What the engine knows of an image, before anything runs.

    `reference` is the name that the user gave, `id` the ``sha256:…`` of the configuration, `size` the bytes
    of its layers. `config` is the engine's ``Config`` object as it is (OCI image-spec config.md): Env, Cmd,
    Entrypoint, User, WorkingDir, ExposedPorts, Volumes, Labels, Healthcheck, StopSignal, Shell, OnBuild.
    `lower_dirs` are the overlay directories that hold its files, top layer first; empty where the storage
    driver is not overlay.
    """

    id: str
    reference: str
    architecture: str = "amd64"
    variant: str = ""
    os: str = "linux"
    created: str = "1970-01-01T00:00:00Z"
    size: int = 0
    tags: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    lower_dirs: tuple[str, ...] = ()

    def strings(self, key: str) -> tuple[str, ...]:
        """A list of the configuration (Entrypoint, Cmd, Env, Shell, OnBuild); empty where it is null."""
        return tuple(self.config.get(key) or ())

    def text(self, key: str) -> str:
        """A string of the configuration (User, WorkingDir, StopSignal); empty where it is null."""
        return str(self.config.get(key) or "")

    @property
    def environment(self) -> dict[str, str]:
        """ENV by name."""
        return dict(item.partition("=")[::2] for item in self.strings("Env"))

    @property
    def volumes(self) -> tuple[str, ...]:
        """The paths of VOLUME, sorted."""
        return tuple(sorted(self.config.get("Volumes") or ()))

    @property
    def tcp_ports(self) -> tuple[int, ...]:
        """The TCP ports of EXPOSE, sorted; a malformed entry is passed over."""
        found = set()
        for spec in self.config.get("ExposedPorts") or ():
            number, _, protocol = str(spec).partition("/")
            if protocol in ("", "tcp") and number.isdigit():
                found.add(int(number))
        return tuple(sorted(found))

    @property
    def healthcheck(self) -> tuple[str, ...]:
        """The Test of HEALTHCHECK; empty for none, inherited, or NONE."""
        test = tuple((self.config.get("Healthcheck") or {}).get("Test") or ())
        return () if test[:1] == ("NONE",) else test

    @property
    def healthcheck_command(self) -> tuple[str, ...]:
        """The words that the engine runs for HEALTHCHECK; empty without one (moby daemon/health.go: CMD-SHELL
        goes through the image's SHELL)."""
        test = self.healthcheck
        shell = self.strings("Shell") or ("/bin/sh", "-c")
        return (*shell, *test[1:2]) if test[:1] == ("CMD-SHELL",) else test[1:]
