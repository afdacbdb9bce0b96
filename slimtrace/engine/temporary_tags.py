"""Tags that images have for a time: a backup of the image that a build replaces, and the candidates of a
build."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from slimtrace import owner, signals
from slimtrace.engine.errors import engine_errors
from slimtrace.engine.images import Images
from slimtrace.errors import SlimtraceError

BACKUP_REPOSITORY = "slimtrace-kept"
CANDIDATE_REPOSITORY = "slimtrace-candidate"


class TemporaryTags(Images):
    """The methods of Engine that concern temporary tags."""

    def __init__(self, request_api: Any, transfer_api: Any) -> None:
        super().__init__(request_api, transfer_api)
        self._candidate_tags: list[str] = []  # of candidates whose tags are not removed yet

    @contextmanager
    def candidates(self) -> Iterator[Callable[[], str]]:
        """Gives a function that makes a new tag for a candidate image at each call. The tags are removed at the
        end of the block, and with them the images that have no other name; an image that a container still uses
        is removed at the Engine's end, after its containers."""
        tags: list[str] = []

        def name() -> str:
            tags.append(f"{CANDIDATE_REPOSITORY}:{owner.current().replace(':', '-')}-{len(tags)}")
            self._candidate_tags.append(tags[-1])
            return tags[-1]

        try:
            yield name
        finally:
            with signals.deferred():
                self._remove_candidates()

    def _remove_candidates(self) -> None:
        """Remove the candidates' tags, except those that the engine refuses to remove."""
        for name in tuple(self._candidate_tags):
            with suppress(SlimtraceError):  # the first failure is the one to tell
                self.remove_image(name)
                self._candidate_tags.remove(name)

    @contextmanager
    def restoring_tag(self, reference: str) -> Iterator[None]:
        """If the block fails, the name `reference` is given back to the image that had it before, or removed if
        none had it."""
        before = self.image_id(reference)
        backup = ""
        # The containerd image store removes an image with its last name.
        if before is not None and self.info().containerd_store:
            backup = f"{BACKUP_REPOSITORY}:{owner.current().replace(':', '-')}"
            self.tag(before, backup)
        try:
            yield
        except BaseException:
            with signals.deferred(), suppress(SlimtraceError):  # the first failure is the one to tell
                self._restore(reference, before)
            raise
        finally:
            if backup:
                with signals.deferred(), suppress(SlimtraceError):
                    self.remove_image(backup)

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
        with engine_errors(f"inspect the image {now!r}"):
            nameless = not self._api.inspect_image(now).get("RepoTags")
        if nameless:
            self.remove_image(now)

    def _remove_stale_tags(self) -> None:
        """Remove the temporary tags of processes that are gone. Such a tag is BACKUP_REPOSITORY:PID-START or
        CANDIDATE_REPOSITORY:PID-START-N."""
        with engine_errors("list the images"):
            listed = self._api.images(filters={"reference": [BACKUP_REPOSITORY, CANDIDATE_REPOSITORY]})
        for name in [name for image in listed for name in image.get("RepoTags") or ()]:
            repository, _, tag = name.rpartition(":")
            # Podman prefixes the repository with localhost/.
            ours = repository.rpartition("/")[2] in (BACKUP_REPOSITORY, CANDIDATE_REPOSITORY)
            if ours and not owner.alive(":".join(tag.split("-")[:2])):
                self.remove_image(name)
