"""The engine's images: looked up, pulled, loaded, saved, named and removed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from slimtrace import signals
from slimtrace.engine.connection import Connection
from slimtrace.engine.errors import check, engine_errors, no_image
from slimtrace.engine.types import CHUNK, history
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.image import Image

LOADS = 5  # attempts to load an image that something else removes each time
IMAGES_INSPECTED = 1000  # the engine's newest ones, when a base image is looked for


class Images(Connection):
    """The methods of Engine that concern images."""

    def image(self, reference: str) -> Image:
        """The image by name or id. Raises NO_IMAGE when the engine does not have it."""
        from docker.errors import NotFound

        with engine_errors(f"inspect the image {reference!r}"):
            try:
                found = self._api.inspect_image(reference)
                lines = self._api.history(found["Id"])
            except NotFound:
                raise no_image(reference) from None
        layers = tuple((found.get("RootFS") or {}).get("Layers") or ())
        size = found.get("Size", 0)
        if self.info().containerd_store:  # whose Size is that of the pulled content, compressed or not
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
        """The overlay directories, top first, if they are on this machine and the files in them have the owners
        that the image gives them. What docker calls overlay2 is podman's "overlay"; docker's own old "overlay"
        names no upper directory."""
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
        except PermissionError:  # not root: `slimtrace info` needs no directories
            return ()

    def ancestors(self, image: Image) -> tuple[Image, ...]:
        """The other named images whose layers are the lowest layers of `image`, or all of them."""
        from docker.errors import NotFound

        found = []
        with engine_errors("list the images"):
            listed = self._api.images()
        for item in listed[:IMAGES_INSPECTED]:
            names = sorted(name for name in item.get("RepoTags") or () if name != "<none>:<none>")
            if not names or item["Id"] == image.id:
                continue
            with engine_errors(f"inspect the image {names[0]!r}"), suppress(NotFound):
                layers = tuple((self._api.inspect_image(item["Id"]).get("RootFS") or {}).get("Layers") or ())
                if layers and image.layers[: len(layers)] == layers:
                    found.append(self.image(names[0]))
        return tuple(found)

    def image_id(self, reference: str) -> str | None:
        """The ``sha256:…`` of an image, None if the engine does not have it."""
        from docker.errors import NotFound

        with engine_errors(f"inspect the image {reference!r}"):
            try:
                return str(self._api.inspect_image(reference)["Id"])
            except NotFound:
                return None

    def pull(self, reference: str) -> Image:
        """Fetch the image from its registry (tag ``latest`` where none is named)."""
        tagged = "@" in reference or ":" in reference.rpartition("/")[2]
        name = reference if tagged else f"{reference}:latest"
        doing = f"pull the image {reference!r}"
        with engine_errors(doing):
            for line in self._transfer_api.pull(name, stream=True, decode=True):
                check(line, doing)
        return self.image(reference)

    def load(self, archive: Path | Iterable[bytes]) -> str:
        """Load an image archive, given as a file or as its bytes piece by piece; the image's id.

        A signal breaks in only while the archive is incomplete: once the engine has all of it, it finishes
        the work whether we wait or not, so we wait, and know what there is to undo."""
        stream = _pieces(archive) if isinstance(archive, Path) else iter(archive)
        name = ""
        with engine_errors("load the image"), signals.deferred():
            for line in self._transfer_api.load_image(_breakable(stream)):
                check(line, "load the image")
                text = str(line.get("stream", "")).strip()
                if text.startswith(("Loaded image: ", "Loaded image ID: ")):
                    name = text.partition(": ")[2]
        if not name:
            raise SlimtraceError("cannot load the image: the engine named none", exit_code=Exit.ENGINE)
        if (found := self.image_id(name)) is None:
            raise no_image(name)
        return found

    def load_as(self, reference: str, archive: Callable[[], Iterable[bytes]]) -> Image:
        """Load the archive that `archive` gives, the same each time it is called, and find its image under the
        name `reference`. Raises SlimtraceError (ENGINE) when that name leads nowhere LOADS times.

        An image can be gone as soon as it is loaded. When another process removes the last name of the same
        image meanwhile, the engine deletes the image after it has found it complete for us and before it gives
        it our name, or takes our name away with the image (moby daemon/internal/image/tarexport/load.go, Create
        and setLoadedTag; daemon/images/image_delete.go, removeAllReferencesToImageID). Two builds of one image
        do that to each other: their slim images are the same, byte for byte."""
        for _ in range(LOADS):
            try:
                self.load(archive())
                return self.image(reference)
            except SlimtraceError as problem:
                if problem.exit_code != Exit.NO_IMAGE:
                    raise
        raise SlimtraceError(
            f"cannot load the image {reference!r}: it is removed as soon as it is there",
            "let builds of one image run one after the other on this engine",
            Exit.ENGINE,
        )

    def save(self, image: str) -> Iterator[bytes]:
        """The image as the archive that `load` takes, in chunks."""
        with engine_errors(f"save the image {image!r}"):
            yield from self._transfer_api.get_image(image, chunk_size=CHUNK)

    def tag(self, image: str, reference: str) -> None:
        """Give the image the additional name `reference`."""
        repository, _, name = reference.rpartition(":")
        if not repository or "/" in name:
            repository, name = reference, "latest"
        with engine_errors(f"tag the image {image!r} as {reference!r}"):
            self._api.tag(image, repository, name, force=True)

    def remove_image(self, reference: str) -> None:
        """Remove the name `reference`, and the image with its last name; nothing happens if there is no such
        name."""
        from docker.errors import APIError, NotFound

        with engine_errors(f"remove the image {reference!r}"):
            try:
                self._api.remove_image(reference)
            except NotFound:
                return
            except APIError:
                # Of two processes that remove an image at once one is told "unrecognized image ID".
                if self.image_id(reference) is not None:
                    raise


def _breakable(stream: Iterator[bytes]) -> Iterator[bytes]:
    for piece in stream:
        signals.deliver_pending()
        yield piece


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            while piece := stream.read(CHUNK):
                yield piece
    except OSError as error:
        raise SlimtraceError(f"cannot read {path}: {error.strerror}") from error
