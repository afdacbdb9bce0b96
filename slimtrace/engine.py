"""The container engine, spoken to through its API. The only place that knows docker-py.

Whatever is created here is removed here: every container carries its owner in a label, leaving the Engine
removes this process's containers, and `sweep` removes those of processes that are gone.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from slimtrace import owner, signals
from slimtrace.engine_errors import check, no_image, runtime_reason, speaking
from slimtrace.engine_values import EngineInfo, ExecResult, Launch, State, history
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.image import Image

LABEL = "slimtrace.run"
KEPT = "slimtrace-kept"  # the name of what a build may have to bring back
QUICK = 60  # seconds for a request that only looks or changes state
PATIENT = 900  # seconds without a byte for one that moves an image
CHUNK = 1 << 20
IMAGES_ASKED = 1000  # of all that the engine has, the newest, when a base image is looked for
_SNAPSHOTTER = "io.containerd.snapshotter.v1"  # the driver type of the containerd image store
OUTPUT_LIMIT = 1 << 20  # bytes kept of what an exec'd command prints, the last ones


class Engine:
    """A connection to the engine. As a context manager it takes this process's containers down at the end,
    whichever way the end came about.

    Every method raises SlimtraceError: Exit.ENGINE when the engine refuses or does not answer, NO_SPACE
    when its disk is full, and what the method names.
    """

    def __init__(self, quick: Any, patient: Any) -> None:
        self._api = quick
        self._patient = patient
        self._info: EngineInfo | None = None

    @classmethod
    def connect(cls) -> Self:
        """The engine that DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH name, else the local one."""
        with speaking("reach the container engine", "start it (systemctl start docker), or set DOCKER_HOST"):
            import docker
            from docker.utils import kwargs_from_env

            settings = kwargs_from_env()
            quick = docker.APIClient(version="auto", timeout=QUICK, **settings)
            patient = docker.APIClient(version=quick.api_version, timeout=PATIENT, **settings)
            return cls(quick, patient)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with signals.deferred():
                self._remove_all(lambda name: name == owner.current())
        except SlimtraceError:
            if error is None:  # the first failure is the one to tell
                raise
        finally:
            self._api.close()
            self._patient.close()

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
                containerd_store=_SNAPSHOTTER in dict(facts.get("DriverStatus") or ()).values(),
            )
        return self._info

    def raw_info(self) -> Mapping[str, Any]:
        """The engine's own answer to GET /info."""
        with speaking("ask the container engine what it is"):
            found: Mapping[str, Any] = self._api.info()
            return found

    # Images

    def image(self, reference: str) -> Image:
        """The image by name or id. Raises NO_IMAGE when the engine does not have it."""
        from docker.errors import NotFound

        with speaking(f"inspect the image {reference!r}"):
            try:
                found = self._api.inspect_image(reference)
                lines = self._api.history(found["Id"])
            except NotFound:
                raise no_image(reference) from None
        layers = tuple((found.get("RootFS") or {}).get("Layers") or ())
        size = found.get("Size", 0)
        if self.info().containerd_store:  # that is the size of what was pulled, compressed or not
            size = sum(int(line.get("Size") or 0) for line in lines) or size
        return Image(
            id=found["Id"],
            reference=reference,
            architecture=found.get("Architecture", ""),
            variant=found.get("Variant", ""),
            os=found.get("Os", ""),
            created=found.get("Created") or "1970-01-01T00:00:00Z",
            size=size,
            tags=tuple(found.get("RepoTags") or ()),
            config=found.get("Config") or {},
            layers=layers,
            history=history(lines, len(layers)),
            lower_dirs=self._lower_dirs(found.get("GraphDriver") or {}),
        )

    def _lower_dirs(self, driver: Mapping[str, Any]) -> tuple[str, ...]:
        """The overlay directories, top first, if they are on this machine and show the true owners. What docker
        calls overlay2 is podman's "overlay"; docker's own old "overlay" names no upper directory."""
        data = driver.get("Data") or {}
        if (
            driver.get("Name") not in ("overlay2", "overlay")
            or not data.get("UpperDir")
            or self.info().remapped
        ):
            return ()
        found = (data["UpperDir"], *filter(None, (data.get("LowerDir") or "").split(":")))
        try:
            return found if all(Path(directory).is_dir() for directory in found) else ()
        except PermissionError:  # we are not root: `info` has no need of them
            return ()

    def ancestors(self, image: Image) -> tuple[Image, ...]:
        """The other images with a name whose layers are the lowest ones of `image`, or all of them."""
        from docker.errors import NotFound

        found = []
        with speaking("list the images"):
            listed = self._api.images()
        for item in listed[:IMAGES_ASKED]:
            names = sorted(name for name in item.get("RepoTags") or () if name != "<none>:<none>")
            if not names or item["Id"] == image.id:
                continue
            with speaking(f"inspect the image {names[0]!r}"), suppress(NotFound):
                layers = tuple((self._api.inspect_image(item["Id"]).get("RootFS") or {}).get("Layers") or ())
                if layers and image.layers[: len(layers)] == layers:
                    found.append(self.image(names[0]))
        return tuple(found)

    def image_id(self, reference: str) -> str | None:
        """The ``sha256:…`` of an image, None if the engine does not have it."""
        from docker.errors import NotFound

        with speaking(f"inspect the image {reference!r}"):
            try:
                return str(self._api.inspect_image(reference)["Id"])
            except NotFound:
                return None

    def pull(self, reference: str) -> Image:
        """Fetch the image from its registry (tag ``latest`` where none is named)."""
        tagged = "@" in reference or ":" in reference.rpartition("/")[2]
        name = reference if tagged else f"{reference}:latest"
        doing = f"pull the image {reference!r}"
        with speaking(doing):
            for line in self._patient.pull(name, stream=True, decode=True):
                check(line, doing)
        return self.image(reference)

    def load(self, archive: Path | Iterable[bytes]) -> str:
        """Load an image archive, given as a file or as its bytes piece by piece; the image's id.

        A signal breaks in only while the archive is incomplete: once the engine has all of it, it finishes
        the work whether we wait or not, so we wait, and know what there is to undo."""
        stream = _pieces(archive) if isinstance(archive, Path) else iter(archive)
        name = ""
        with speaking("load the image"), signals.deferred():
            for line in self._patient.load_image(_breakable(stream)):
                check(line, "load the image")
                text = str(line.get("stream", "")).strip()
                if text.startswith(("Loaded image: ", "Loaded image ID: ")):
                    name = text.partition(": ")[2]
        found = self.image_id(name) if name else None
        if found is None:
            raise SlimtraceError("cannot load the image: the engine named none", exit_code=Exit.ENGINE)
        return found

    def save(self, image: str) -> Iterator[bytes]:
        """The image as the archive that `load` takes, piece by piece."""
        with speaking(f"save the image {image!r}"):
            yield from self._patient.get_image(image, chunk_size=CHUNK)

    def tag(self, image: str, reference: str) -> None:
        """Give the image one more name."""
        repository, _, name = reference.rpartition(":")
        if not repository or "/" in name:
            repository, name = reference, "latest"
        with speaking(f"tag the image {image!r} as {reference!r}"):
            self._api.tag(image, repository, name, force=True)

    def remove_image(self, reference: str) -> None:
        """Remove the name, and the image with its last one; nothing happens if it is not there."""
        from docker.errors import NotFound

        with speaking(f"remove the image {reference!r}"):
            try:
                self._api.remove_image(reference)
            except NotFound:
                return

    @contextmanager
    def keeping(self, reference: str) -> Iterator[None]:
        """If the block fails, the name `reference` means again what it meant before: nothing, or its image."""
        before = self.image_id(reference)
        kept = ""
        if before is not None and self.info().containerd_store:  # there an image goes with its last name
            kept = f"{KEPT}:{owner.current().replace(':', '-')}"
            self.tag(before, kept)
        try:
            yield
        except BaseException:
            with signals.deferred(), suppress(SlimtraceError):  # the first failure is the one to tell
                self._restore(reference, before)
            raise
        finally:
            if kept:
                with signals.deferred(), suppress(SlimtraceError):
                    self.remove_image(kept)

    def _restore(self, reference: str, before: str | None) -> None:
        now = self.image_id(reference)
        if now is None or now == before:
            return
        if before is None:
            self.remove_image(reference)
            return
        self.tag(before, reference)
        if self.image_id(now) is None:
            return
        with speaking(f"inspect the image {now!r}"):
            nameless = not self._api.inspect_image(now).get("RepoTags")
        if nameless:
            self.remove_image(now)

    # Containers

    def create(self, image: str, launch: Launch | None = None) -> str:
        """A container of the image as it is, not started; its id. Raises NO_IMAGE, and START_FAILED where
        neither the image nor `launch` says what to run."""
        from docker.errors import APIError, ImageNotFound

        launch = launch or Launch()
        with speaking(f"create a container of {image!r}"):
            host = self._api.create_host_config(
                binds=list(launch.binds) or None,
                network_mode=launch.network or None,
                security_opt=list(launch.security_opt) or None,
                cap_add=list(launch.cap_add) or None,
                cap_drop=list(launch.cap_drop) or None,
                read_only=launch.read_only or None,
            )
            # A signal between the engine's work and its answer would leave a container nobody knows of.
            with signals.deferred():
                try:
                    made = self._patient.create_container(
                        image,
                        command=None if launch.cmd is None else list(launch.cmd),
                        entrypoint=None if launch.entrypoint is None else list(launch.entrypoint),
                        environment=dict(launch.env) or None,
                        user=launch.user or None,
                        working_dir=launch.workdir or None,
                        labels={**launch.labels, LABEL: owner.current()},
                        stdin_open=launch.stdin,
                        tty=launch.tty,
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

    def start(self, container: str) -> None:
        """Raises START_FAILED with the runtime's own reason, such as an entrypoint that does not exist."""
        from docker.errors import APIError

        with speaking(f"start the container {container[:12]}"):
            try:
                self._api.start(container)
            except APIError as error:
                raise SlimtraceError(
                    f"cannot start the container: {runtime_reason(error.explanation or str(error))}",
                    "try it with docker run; --entrypoint, --user and --env change how it starts",
                    Exit.START_FAILED,
                ) from error

    def state(self, container: str) -> State:
        """How the container is now."""
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
        """The image of a container that runs (its name where it still has that, else its id) and its host pid,
        by the container's name or id. Raises SlimtraceError: NO_IMAGE for a container that is not there,
        START_FAILED for one that does not run."""
        from docker.errors import NotFound

        with speaking(f"inspect the container {container!r}"):
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
        """The places in the container where a volume or a directory of the host is mounted, sorted."""
        return tuple(sorted(item["Destination"] for item in self._inspect(container).get("Mounts") or ()))

    def _inspect(self, container: str) -> Mapping[str, Any]:
        with speaking(f"inspect the container {container[:12]}"):
            found: Mapping[str, Any] = self._api.inspect_container(container)
            return found

    def wait(self, container: str, timeout: float) -> int | None:
        """The exit code, or None if the container has not ended after `timeout` seconds."""
        from requests.exceptions import ConnectionError as Disconnected
        from requests.exceptions import Timeout

        with speaking(f"wait for the container {container[:12]}"):
            try:
                return int(self._api.wait(container, timeout=max(timeout, 0.001))["StatusCode"])
            except (Timeout, Disconnected) as error:
                # urllib3 reports a read that timed out as either of the two.
                if isinstance(error, Timeout) or "timed out" in str(error).lower():
                    return None
                raise

    def stop(self, container: str, timeout: int = 10) -> None:
        """Send the image's STOPSIGNAL, and SIGKILL when it has not ended after `timeout` seconds."""
        with speaking(f"stop the container {container[:12]}"):
            self._api.stop(container, timeout=timeout)

    def kill(self, container: str, name: str = "SIGKILL") -> None:
        """Send a signal to the container's first process; nothing happens if it does not run."""
        from docker.errors import APIError

        with speaking(f"kill the container {container[:12]}"):
            try:
                self._api.kill(container, name)
            except APIError as error:
                if error.status_code != 409:
                    raise

    def logs(self, container: str, tail: int = 50) -> str:
        """The last `tail` lines of its output, undecodable bytes replaced."""
        with speaking(f"read the logs of the container {container[:12]}"):
            return bytes(self._api.logs(container, tail=tail))[-OUTPUT_LIMIT:].decode("utf-8", "replace")

    def exec(self, container: str, argv: Iterable[str], user: str = "", timeout: float = 60) -> ExecResult:
        """Run a command in the container to its end. Raises EXERCISE_FAILED when it takes longer than
        `timeout` seconds (it then goes on until the container ends)."""
        words = list(argv)
        with speaking(f"run {words[0]!r} in the container {container[:12]}"):
            made = self._api.exec_create(container, words, user=user)["Id"]
            stream = self._patient.exec_start(made, stream=True)
            late = threading.Event()

            def give_up() -> None:
                late.set()
                stream.close()

            timer = threading.Timer(timeout, give_up)
            timer.start()
            output = b""
            try:
                for piece in stream:
                    output = (output + piece)[-OUTPUT_LIMIT:]
            except (OSError, ValueError):  # what reading a stream that was closed under it raises
                if not late.is_set():
                    raise
            finally:
                timer.cancel()
            if late.is_set():
                raise SlimtraceError(
                    f"cannot wait longer for {words[0]!r} in the container: {timeout:g} s are over",
                    "give the command an end, or let it run in the background with its output redirected",
                    Exit.EXERCISE_FAILED,
                )
            ended = self._api.exec_inspect(made)
        return ExecResult(int(ended.get("Pid") or 0), int(ended.get("ExitCode") or 0), output)

    def remove(self, container: str) -> None:
        """Remove the container, running or not, with its anonymous volumes; nothing if it is not there."""
        from docker.errors import APIError

        with speaking(f"remove the container {container[:12]}"):
            try:
                self._api.remove_container(container, force=True, v=True)
            except APIError as error:
                if error.status_code not in (404, 409):  # gone, or being removed by someone else
                    raise

    @contextmanager
    def exporting(self, container: str) -> Iterator[None]:
        """In the block the engine is about to hand out the container's files, and so has them mounted if it
        must mount them for that (unless they are so few that it is done at once)."""
        api = self._patient
        with speaking(f"export the container {container[:12]}"):
            url = f"{api.base_url}/v{api.api_version}/containers/{container}/export"
            answer = api.get(url, stream=True, timeout=QUICK)
        try:
            with speaking(f"export the container {container[:12]}"):
                answer.raise_for_status()
                answer.raw.read(1)  # it has begun
            yield
        finally:
            answer.close()

    def leftovers(self) -> tuple[str, ...]:
        """The containers of slimtrace processes that are gone."""
        return tuple(self._owned(lambda name: not owner.alive(name)))

    def sweep(self) -> int:
        """Remove the leftovers; how many containers there were."""
        self._forget_kept()
        return self._remove_all(lambda name: not owner.alive(name))

    def _forget_kept(self) -> None:
        """Names that `keeping` gave to images, in processes that are gone."""
        if not self.info().containerd_store:
            return
        with speaking("list the images"):
            found = self._api.images(filters={"reference": KEPT})
        for name in [name for image in found for name in image.get("RepoTags") or ()]:
            repository, _, tag = name.rpartition(":")
            if repository == KEPT and not owner.alive(tag.replace("-", ":")):
                self.remove_image(name)

    def _owned(self, wanted: Callable[[str], bool]) -> list[str]:
        with speaking("list the containers"):
            found = self._api.containers(all=True, filters={"label": LABEL})
        return [item["Id"] for item in found if wanted((item.get("Labels") or {}).get(LABEL, ""))]

    def _remove_all(self, wanted: Callable[[str], bool]) -> int:
        found = self._owned(wanted)
        for container in found:
            self.remove(container)
        return len(found)


def _breakable(stream: Iterator[bytes]) -> Iterator[bytes]:
    for piece in stream:
        signals.admit()
        yield piece


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            while piece := stream.read(CHUNK):
                yield piece
    except OSError as error:
        raise SlimtraceError(f"cannot read {path}: {error.strerror}") from error


__all__ = ["LABEL", "Engine", "EngineInfo", "ExecResult", "Launch", "State"]
