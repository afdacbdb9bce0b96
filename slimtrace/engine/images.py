"""The engine's images: looked up, pulled, loaded, saved, named and removed."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from slimtrace import signals
from slimtrace.engine.connection import Connection
from slimtrace.engine.errors import check, no_image, speaking
from slimtrace.engine.types import CHUNK, history
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.image import Image

IMAGES_ASKED = 1000  # of all that the engine has, the newest, when a base image is looked for


class Images(Connection):
    """What an Engine does with images."""

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
