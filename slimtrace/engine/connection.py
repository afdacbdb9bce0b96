"""A connection to the engine, and what the engine says of itself."""

from collections.abc import Mapping
from typing import Any

from slimtrace.engine.errors import engine_errors
from slimtrace.engine.types import EngineInfo

REQUEST_TIMEOUT = 60  # seconds for a request that only reads or changes state
TRANSFER_TIMEOUT = 900  # seconds without a byte, for a request that moves an image
_SNAPSHOTTER = "io.containerd.snapshotter.v1"  # the driver type of the containerd image store


class Connection:
    """Two clients of the engine's API, which differ in their timeouts: `request_api` for requests that are
    answered at once, `transfer_api` for those that move images."""

    def __init__(self, request_api: Any, transfer_api: Any) -> None:
        self._api = request_api
        self._transfer_api = transfer_api
        self._info: EngineInfo | None = None

    def info(self) -> EngineInfo:
        """What the engine says of itself; it is asked once per connection."""
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
        with engine_errors("ask the container engine what it is"):
            found: Mapping[str, Any] = self._api.info()
            return found
