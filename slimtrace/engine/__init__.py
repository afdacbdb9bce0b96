"""The container engine, through its API. The only package that imports docker-py.

Whatever is created here is removed here: every container carries its owner in a label, leaving the Engine
removes this process's containers, and `sweep` removes those of processes that are gone.
"""

from types import TracebackType
from typing import Self

from slimtrace import owner, signals
from slimtrace.engine.connection import REQUEST_TIMEOUT, TRANSFER_TIMEOUT
from slimtrace.engine.containers import Containers
from slimtrace.engine.errors import engine_errors
from slimtrace.engine.types import LABEL, EngineInfo, ExecResult, Launch, State
from slimtrace.errors import SlimtraceError


class Engine(Containers):
    """A connection to the engine. As a context manager it removes this process's containers at the end, however
    the block ends.

    Every method raises SlimtraceError: Exit.ENGINE when the engine refuses or does not answer, NO_SPACE
    when its disk is full, and the codes that the method names.
    """

    @classmethod
    def connect(cls) -> Self:
        """The engine that DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH name, else the local one."""
        with engine_errors(
            "reach the container engine", "start it (systemctl start docker), or set DOCKER_HOST"
        ):
            import docker
            from docker.utils import kwargs_from_env

            settings = kwargs_from_env()
            request_api = docker.APIClient(version="auto", timeout=REQUEST_TIMEOUT, **settings)
            transfer_api = docker.APIClient(
                version=request_api.api_version, timeout=TRANSFER_TIMEOUT, **settings
            )
            return cls(request_api, transfer_api)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with signals.deferred():
                self._remove_all(lambda name: name == owner.current())
                self._remove_candidates()
        except SlimtraceError:
            if error is None:  # the first failure is the one to tell
                raise
        finally:
            self._api.close()
            self._transfer_api.close()

    def leftovers(self) -> tuple[str, ...]:
        """The containers of slimtrace processes that are gone."""
        return tuple(self._owned(lambda name: not owner.alive(name)))

    def sweep(self) -> int:
        """Remove the `leftovers` and the tags of such processes; the number of containers removed."""
        removed = self._remove_all(lambda name: not owner.alive(name))
        self._remove_stale_tags()
        return removed


__all__ = ["LABEL", "Engine", "EngineInfo", "ExecResult", "Launch", "State"]
