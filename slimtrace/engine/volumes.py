"""Volumes of ours: file systems in memory that several containers can share."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from slimtrace import owner, signals
from slimtrace.engine.errors import speaking
from slimtrace.engine.names import Names
from slimtrace.engine.values import LABEL
from slimtrace.errors import SlimtraceError


class Volumes(Names):
    """What an Engine does with volumes."""

    @contextmanager
    def memory(self, options: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
        """For each path of `options` (whose value are mount options, as of docker run's --tmpfs) an empty tmpfs
        that is a volume: unlike a --tmpfs, containers can share it. Yields the binds, ``VOLUME:PATH``, and
        takes the volumes away at the end, when no container may have them any more."""
        made: list[str] = []
        binds = []
        try:
            for path, wanted in options.items():
                settings = {"type": "tmpfs", "device": "tmpfs", "o": wanted}
                with speaking(f"make a volume for {path}"), signals.deferred():
                    volume = self._api.create_volume(
                        driver="local", driver_opts=settings, labels={LABEL: owner.current()}
                    )
                    made.append(str(volume["Name"]))
                binds.append(f"{made[-1]}:{path}")
            yield tuple(binds)
        finally:
            with signals.deferred(), suppress(SlimtraceError):  # the first failure is the one to tell
                for name in made:
                    self._remove_volume(name)

    def _remove_volume(self, name: str) -> None:
        from docker.errors import APIError

        with speaking(f"remove the volume {name}"):
            try:
                self._api.remove_volume(name, force=True)
            except APIError as error:
                if error.status_code not in (404, 409):  # gone, or still in use: the next run sweeps it
                    raise

    def _remove_volumes(self, wanted: Callable[[str], bool]) -> None:
        """Remove those of ours whose owner is `wanted`."""
        with speaking("list the volumes"):
            found = self._api.volumes(filters={"label": LABEL}).get("Volumes") or ()
        for volume in found:
            if wanted((volume.get("Labels") or {}).get(LABEL, "")):
                self._remove_volume(str(volume["Name"]))
