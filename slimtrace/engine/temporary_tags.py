"""Names that images have for a time: of what a build may have to bring back, and of what it only tries."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from slimtrace import owner, signals
from slimtrace.engine.errors import speaking
from slimtrace.engine.images import Images
from slimtrace.errors import SlimtraceError

KEPT = "slimtrace-kept"
CANDIDATE = "slimtrace-candidate"


class Names(Images):
    """What an Engine does with the names of images."""

    def __init__(self, quick: Any, patient: Any) -> None:
        super().__init__(quick, patient)
        self._tried: list[str] = []  # names of images that are only tried, until they are gone

    @contextmanager
    def candidates(self) -> Iterator[Callable[[], str]]:
        """A maker of names for images that are only tried. At the end of the block the names go, and with them
        the images that have got no other; at the Engine's end, when its containers are gone too, those that a
        container still had."""
        given: list[str] = []

        def name() -> str:
            given.append(f"{CANDIDATE}:{owner.current().replace(':', '-')}-{len(given)}")
            self._tried.append(given[-1])
            return given[-1]

        try:
            yield name
        finally:
            with signals.deferred():
                self._forget_tried()

    def _forget_tried(self) -> None:
        """Remove the names of images that were only tried, but for those that the engine does not let go."""
        for name in tuple(self._tried):
            with suppress(SlimtraceError):  # the first failure is the one to tell
                self.remove_image(name)
                self._tried.remove(name)

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

    def _forget_names(self) -> None:
        """Names that processes that are gone gave to images. One is KEPT-PID-START, or
        CANDIDATE-PID-START-N."""
        with speaking("list the images"):
            found = self._api.images(filters={"reference": [KEPT, CANDIDATE]})
        for name in [name for image in found for name in image.get("RepoTags") or ()]:
            repository, _, tag = name.rpartition(":")
            ours = repository.rpartition("/")[2] in (KEPT, CANDIDATE)  # podman puts localhost/ before it
            if ours and not owner.alive(":".join(tag.split("-")[:2])):
                self.remove_image(name)
