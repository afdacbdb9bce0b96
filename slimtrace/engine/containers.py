"""The engine's containers: created, started, inspected, driven, removed. The label LABEL names the process that
created one."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from slimtrace import owner, signals
from slimtrace.engine.connection import REQUEST_TIMEOUT
from slimtrace.engine.errors import engine_errors, no_image, runtime_reason
from slimtrace.engine.temporary_tags import TemporaryTags
from slimtrace.engine.types import LABEL, ExecResult, Launch, State
from slimtrace.errors import Exit, SlimtraceError

OUTPUT_LIMIT = 1 << 20  # bytes kept of what an exec'd command prints, the last ones


class Containers(TemporaryTags):
    """The methods of Engine that concern containers."""

    def create(self, image: str, launch: Launch | None = None) -> str:
        """Create a container of the unchanged image, without starting it; the container's id. Raises NO_IMAGE,
        and START_FAILED where neither the image nor `launch` says what to run."""
        from docker.errors import APIError, ImageNotFound

        launch = launch or Launch()
        with engine_errors(f"create a container of {image!r}"):
            host = self._api.create_host_config(
                binds=list(launch.binds) or None,
                network_mode=launch.network or None,
                security_opt=list(launch.security_opt) or None,
                cap_add=list(launch.cap_add) or None,
                cap_drop=list(launch.cap_drop) or None,
                read_only=launch.read_only or None,
                tmpfs=dict(launch.tmpfs) or None,
                volumes_from=list(launch.volumes_from) or None,
                pid_mode=launch.pid_mode or None,
            )
            # A signal between the engine's work and its answer would leave a container whose id nobody knows.
            with signals.deferred():
                try:
                    made = self._transfer_api.create_container(
                        image,
                        command=None if launch.cmd is None else list(launch.cmd),
                        entrypoint=None if launch.entrypoint is None else list(launch.entrypoint),
                        environment=dict(launch.env) or None,
                        user=launch.user or None,
                        working_dir=launch.workdir or None,
                        labels={**launch.labels, LABEL: owner.current()},
                        stdin_open=launch.stdin,
                        tty=launch.tty,
                        volumes=list(launch.volumes) or None,
                        host_config=host,
                    )
                except ImageNotFound:
                    raise no_image(image) from None
                except APIError as error:
                    if "no command specified" not in str(error).lower():
                        raise
                    raise SlimtraceError(
                        f"cannot run the image {image!r}: it says not what to run",
                        "say it with --entrypoint or --cmd",
                        Exit.START_FAILED,
                    ) from error
        return str(made["Id"])

    def put(self, container: str, archive: bytes) -> None:
        """Unpack a tar archive at the root of the container's files; files that exist already are replaced."""
        with engine_errors(f"put files into the container {container[:12]}"):
            self._api.put_archive(container, "/", archive)

    def start(self, container: str) -> None:
        """Start the container. Raises START_FAILED with the runtime's own reason, such as an entrypoint that
        does not exist."""
        from docker.errors import APIError

        with engine_errors(f"start the container {container[:12]}"):
            try:
                self._api.start(container)
            except APIError as error:
                raise SlimtraceError(
                    f"cannot start the container: {runtime_reason(error.explanation or str(error))}",
                    "try it with docker run; --entrypoint, --user and --env change how it starts",
                    Exit.START_FAILED,
                ) from error

    def state(self, container: str) -> State:
        """The container's present state (GET /containers/ID/json)."""
        found = self._inspect(container)
        state, network = found.get("State") or {}, found.get("NetworkSettings") or {}
        addresses = [item.get("IPAddress") or "" for item in (network.get("Networks") or {}).values()]
        return State(
            status=state.get("Status", ""),
            running=bool(state.get("Running")),
            pid=int(state.get("Pid") or 0),
            exit_code=int(state.get("ExitCode") or 0),
            oom_killed=bool(state.get("OOMKilled")),
            error=state.get("Error") or "",
            address=next(filter(None, addresses), ""),
            started=state.get("StartedAt") or "",
            finished=state.get("FinishedAt") or "",
            health=(state.get("Health") or {}).get("Status") or "",
        )

    def running(self, container: str) -> tuple[str, int]:
        """The image of a running container, by the container's name or id (the image's name where that still
        means the same image, else the image's id), and the host pid of the container's first process. Raises
        SlimtraceError: NO_IMAGE for a container that is not there, START_FAILED for one that does not run."""
        from docker.errors import NotFound

        with engine_errors(f"inspect the container {container!r}"):
            try:
                found = self._api.inspect_container(container)
            except NotFound:
                raise SlimtraceError(
                    f"cannot find the container {container!r}", "docker ps shows what runs", Exit.NO_IMAGE
                ) from None
        pid = int((found.get("State") or {}).get("Pid") or 0)
        if not pid:
            raise SlimtraceError(
                f"cannot attach to {container}: it does not run", "docker start it", Exit.START_FAILED
            )
        name = str((found.get("Config") or {}).get("Image") or "")
        return name if name and self.image_id(name) == found["Image"] else str(found["Image"]), pid

    def mounts(self, container: str) -> tuple[str, ...]:
        """The paths in the container at which a volume or a directory of the host is mounted, sorted."""
        return tuple(sorted(item["Destination"] for item in self._inspect(container).get("Mounts") or ()))

    def _inspect(self, container: str) -> Mapping[str, Any]:
        with engine_errors(f"inspect the container {container[:12]}"):
            found: Mapping[str, Any] = self._api.inspect_container(container)
            return found

    def wait(self, container: str, timeout: float) -> int | None:
        """The container's exit code, or None if the container has not ended after `timeout` seconds."""
        from requests.exceptions import ConnectionError as Disconnected
        from requests.exceptions import Timeout

        with engine_errors(f"wait for the container {container[:12]}"):
            try:
                return int(self._api.wait(container, timeout=max(timeout, 0.001))["StatusCode"])
            except (Timeout, Disconnected) as error:
                # urllib3 reports a read that timed out as either of these two errors.
                if isinstance(error, Timeout) or "timed out" in str(error).lower():
                    return None
                raise

    def stop(self, container: str, timeout: int = 10) -> None:
        """Send the image's STOPSIGNAL, and SIGKILL when the container has not ended after `timeout` seconds."""
        with engine_errors(f"stop the container {container[:12]}"):
            self._api.stop(container, timeout=timeout)

    def kill(self, container: str, name: str = "SIGKILL") -> None:
        """Send a signal to the container's first process; nothing happens if the container does not run."""
        from docker.errors import APIError

        with engine_errors(f"kill the container {container[:12]}"):
            try:
                self._api.kill(container, name)
            except APIError as error:
                if error.status_code != 409:
                    raise

    def logs(self, container: str, tail: int = 50) -> str:
        """The last `tail` lines of the container's output, undecodable bytes replaced."""
        with engine_errors(f"read the logs of the container {container[:12]}"):
            return bytes(self._api.logs(container, tail=tail))[-OUTPUT_LIMIT:].decode("utf-8", "replace")

    def exec(self, container: str, argv: Iterable[str], user: str = "", timeout: float = 60) -> ExecResult:
        """Run a command in the container to its end. Raises EXERCISE_FAILED when the command takes
        longer than `timeout` seconds (it then goes on until the container ends)."""
        words = list(argv)
        with engine_errors(f"run {words[0]!r} in the container {container[:12]}"):
            made = self._api.exec_create(container, words, user=user)["Id"]
            stream = self._transfer_api.exec_start(made, stream=True)
            timed_out = threading.Event()

            def give_up() -> None:
                timed_out.set()
                stream.close()

            timer = threading.Timer(timeout, give_up)
            timer.start()
            output = b""
            try:
                for piece in stream:
                    output = (output + piece)[-OUTPUT_LIMIT:]
            except (OSError, ValueError):  # raised by reading a stream that `give_up` has closed
                if not timed_out.is_set():
                    raise
            finally:
                timer.cancel()
            if timed_out.is_set():
                raise SlimtraceError(
                    f"cannot wait longer for {words[0]!r} in the container: {timeout:g} s are over",
                    "give the command an end, or let it run in the background with its output redirected",
                    Exit.EXERCISE_FAILED,
                )
            ended = self._api.exec_inspect(made)
        return ExecResult(int(ended.get("Pid") or 0), int(ended.get("ExitCode") or 0), output)

    def remove(self, container: str) -> None:
        """Remove the container, running or not, with its anonymous volumes; nothing happens if there is no such
        container."""
        from docker.errors import APIError

        with engine_errors(f"remove the container {container[:12]}"):
            try:
                self._api.remove_container(container, force=True, v=True)
            except APIError as error:
                if error.status_code not in (404, 409):  # gone, or being removed by someone else
                    raise

    @contextmanager
    def exporting(self, container: str) -> Iterator[None]:
        """In the block the engine is in the middle of an export of the container's files, and so keeps them
        mounted where its storage must mount them for that (unless they are so few that the export ends at
        once)."""
        api = self._transfer_api
        with engine_errors(f"export the container {container[:12]}"):
            url = f"{api.base_url}/v{api.api_version}/containers/{container}/export"
            answer = api.get(url, stream=True, timeout=REQUEST_TIMEOUT)
        try:
            with engine_errors(f"export the container {container[:12]}"):
                answer.raise_for_status()
                answer.raw.read(1)  # the export has begun
            yield
        finally:
            answer.close()

    def _owned(self, wanted: Callable[[str], bool]) -> list[str]:
        """The ids of the containers of slimtrace processes whose names (slimtrace.owner) are `wanted`."""
        with engine_errors("list the containers"):
            found = self._api.containers(all=True, filters={"label": LABEL})
        return [item["Id"] for item in found if wanted((item.get("Labels") or {}).get(LABEL, ""))]

    def _remove_all(self, wanted: Callable[[str], bool]) -> int:
        found = self._owned(wanted)
        for container in found:
            self.remove(container)
        return len(found)
