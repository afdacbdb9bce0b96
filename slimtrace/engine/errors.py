"""Failures between slimtrace and the engine, as SlimtraceErrors; a part of `engine`."""

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.paths import printable

_FULL = "no space left on device"


class engine_errors:
    """A context manager that turns the exceptions of docker-py, requests and the socket into SlimtraceErrors
    with the message ``cannot {doing}: REASON``.

    A class and not a generator: a signal may arrive between a generator's start and the block that would end
    it, and Python then complains when it ends the generator itself."""

    def __init__(self, doing: str, hint: str = "") -> None:
        self._doing = doing
        self._hint = hint

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, SlimtraceError) or not isinstance(error, Exception):
            return
        if (translated := _translated(error, self._doing, self._hint)) is not None:
            raise translated from (None if translated.exit_code is Exit.USAGE else error)


def _translated(error: Exception, doing: str, hint: str) -> SlimtraceError | None:
    """The SlimtraceError for `error`; None for an exception that is not the engine's doing."""
    from docker.errors import APIError, DockerException, NullResource
    from requests.exceptions import RequestException

    if isinstance(error, NullResource):
        return SlimtraceError(f"cannot {doing}: its name is empty", exit_code=Exit.USAGE)
    if isinstance(error, APIError):
        if "invalid reference format" in str(error):
            return SlimtraceError(f"cannot {doing}: that is no image name", hint, Exit.NO_IMAGE)
        return refused(doing, error.explanation or str(error), hint)
    if not isinstance(error, DockerException | RequestException | OSError):
        return None
    text = str(error)
    if "Permission denied" in text or "PermissionError" in text:
        return SlimtraceError(f"cannot {doing}: permission denied", "run slimtrace with sudo", Exit.ENGINE)
    if "timed out" in text.lower():
        text = "it does not answer"
    elif "Connection refused" in text or "FileNotFoundError" in text or "No such file" in text:
        text = "it is not running"
    return refused(doing, text, hint or "see whether the engine still runs: docker info")


def refused(doing: str, why: str, hint: str = "") -> SlimtraceError:
    """The error for a request that the engine answered with `why`: NO_SPACE when its disk is full, else
    ENGINE."""
    why = printable(why.strip().rstrip("."))[:500]
    if _FULL in why.lower():
        return SlimtraceError(
            f"cannot {doing}: {_FULL}",
            "make room where the engine keeps its images: docker system df",
            Exit.NO_SPACE,
        )
    return SlimtraceError(f"cannot {doing}: {why}", hint, Exit.ENGINE)


def check(line: Mapping[str, Any], doing: str) -> None:
    """Raise SlimtraceError if a line of the engine's progress stream reports a failure: the response of a
    stream has HTTP status 200 all the same."""
    if error := line.get("error"):
        raise refused(doing, str(error))


def no_image(reference: str) -> SlimtraceError:
    """The error for an image that the engine does not have."""
    name = printable(reference)
    return SlimtraceError(f"cannot find the image {name!r}", f"docker pull {name}, or --pull", Exit.NO_IMAGE)


_PREFIX = re.compile(
    r"(OCI runtime create failed|runc create failed|unable to start container process|crun|runc"
    r"|failed to create (shim task|task for container)|(container|process|rootfs)_linux\.go:\d+"
    r"|starting container process caused): *"
)
# What podman appends to the reason (libpod/define/errors.go).
_SUFFIX = re.compile(
    r": OCI (runtime attempted to invoke a command that was not found|permission denied|runtime error)$"
)


def runtime_reason(text: str) -> str:
    """The part of the runtime's message that a user can act upon, without the prefixes of the layers
    of software that passed it on."""
    text = _SUFFIX.sub("", text.strip().removesuffix(": unknown"))
    while match := _PREFIX.match(text):
        text = text[match.end() :]
    return printable(text)[:500]
