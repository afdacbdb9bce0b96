"""A connection to the engine, and what it says of itself."""

from collections.abc import Mapping
from typing import Any

from slimtrace.engine.errors import speaking
from slimtrace.engine.types import EngineInfo

QUICK = 60  # seconds for a request that only looks or changes state
PATIENT = 900  # seconds without a byte for one that moves an image
_SNAPSHOTTER = "io.containerd.snapshotter.v1"  # the driver type of the containerd image store


class Connection:
    """Two clients of the engine's API: one for what is quick, one for what may take its time."""

    def __init__(self, quick: Any, patient: Any) -> None:
        self._api = quick
        self._patient = patient
        self._info: EngineInfo | None = None

    def info(self) -> EngineInfo:
        """Asked once per connection."""
        if self._info is None:
            facts = self.raw_info()
            options = [str(item).split(",")[0] for item in facts.get("SecurityOptions") or ()]
            self._info = EngineInfo(
                version=facts.get("ServerVersion", ""),
                api=self._api.api_version,
                storage=facts.get("Driver", ""),
                cgroup_version=str(facts.get("CgroupVersion") or "1"),
                cgroup_driver=facts.get("CgroupDriver", ""),
                runtimes=tuple(sorted(facts.get("Runtimes") or ())),
                security=tuple(item.removeprefix("name=") for item in options),
                root_dir=facts.get("DockerRootDir", ""),
                podman="BuildahVersion" in facts,  # pkg/api/handlers/compat/info.go
                containerd_store=_SNAPSHOTTER in dict(facts.get("DriverStatus") or ()).values(),
            )
        return self._info

    def raw_info(self) -> Mapping[str, Any]:
        """The engine's own answer to GET /info."""
        with speaking("ask the container engine what it is"):
            found: Mapping[str, Any] = self._api.info()
            return found
