"""The slim image's configuration: the original's, with other layers.

The format is the OCI image configuration (image-spec config.md) with Docker's additions. No clock goes into
it: the same image and the same kept files give the same bytes, and so the same image id.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slimtrace.facts.image import Image

# The keys that describe the image. Those of the engine's Config that describe the container in which the image
# was built (Hostname, AttachStdin, Image, …) are left out.
KEPT_KEYS = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "ArgsEscaped", "Volumes", "WorkingDir", "Labels",
    "StopSignal", "StopTimeout", "Healthcheck", "OnBuild", "Shell",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Edits:
    """The changes of the slim image's configuration to the original's; None and empty keep the original's
    value.

    In `env` and `labels` a value of None removes the name. `volumes` and `expose` are added; a leading
    ``-`` removes. A new `entrypoint` without `cmd` drops the original's cmd, as in a Dockerfile.
    """

    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str | None] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    user: str | None = None
    workdir: str | None = None


def image_config(image: Image, diff_ids: tuple[str, ...], edits: Edits | None = None) -> dict[str, Any]:
    """The configuration of the slim image whose layers have `diff_ids`."""
    config = {key: image.config[key] for key in KEPT_KEYS if image.config.get(key) not in (None, "", [], {})}
    _apply(config, edits or Edits(), image)
    history = {
        "created": image.created,
        "created_by": f"slimtrace build {image.reference}",
        "comment": image.id,
    }
    body: dict[str, Any] = {
        "architecture": image.architecture,
        "config": config,
        "created": image.created,
        "history": [history for _ in diff_ids],
        "os": image.os,
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
    }
    if image.variant:
        body["variant"] = image.variant
    return body


def _apply(config: dict[str, Any], edits: Edits, image: Image) -> None:
    if edits.entrypoint is not None:
        config["Entrypoint"] = list(edits.entrypoint)
        config.pop("Cmd", None)
        config.pop("ArgsEscaped", None)
    if edits.cmd is not None:
        config["Cmd"] = list(edits.cmd)
    if edits.user is not None:
        config["User"] = edits.user
    if edits.workdir is not None:
        config["WorkingDir"] = edits.workdir
    if edits.env:
        merged = {**image.environment, **edits.env}
        config["Env"] = [f"{name}={value}" for name, value in merged.items() if value is not None]
    if edits.labels:
        merged = {**(image.config.get("Labels") or {}), **edits.labels}
        config["Labels"] = {name: value for name, value in merged.items() if value is not None}
    _edit_set(config, "Volumes", edits.volumes)
    ports = tuple(port if "/" in port else f"{port}/tcp" for port in edits.expose)
    _edit_set(config, "ExposedPorts", ports)


def _edit_set(config: dict[str, Any], key: str, edits: tuple[str, ...]) -> None:
    """Add `edits` to, or with a leading ``-`` remove them from, one of the objects that stand for a set."""
    found = dict(config.get(key) or {})
    for edit in edits:
        if edit.startswith("-"):
            found.pop(edit[1:], None)
        else:
            found[edit] = {}
    if found:
        config[key] = found
    else:
        config.pop(key, None)


# distribution/reference, regexp.go: [host[:port]/]component[/component…][:tag]
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?"
)
_ID = re.compile(r"(?:sha256:)?([0-9a-f]{12}|[0-9a-f]{64})")


def is_reference(text: str) -> bool:
    """Whether an engine accepts `text` as a new name of an image: no id, no digest."""
    return len(text) <= 255 and bool(_REFERENCE.fullmatch(text))


def slim_reference(reference: str, tags: tuple[str, ...] = ()) -> str:
    """The name of the slim image of `reference`: ``.slim`` goes behind the repository, before the tag.

    A digest is dropped, since it names the original's content; a missing tag is ``latest``. For an image
    named by id the first of its own `tags` counts, and without any the id's first twelve digits.
    """
    match = _ID.fullmatch(reference)
    if match and reference not in (tag.removesuffix(":latest") for tag in tags):
        if not tags:
            return f"{match[1][:12]}.slim:latest"
        reference = tags[0]
    repository, _, tag = with_tag(reference.partition("@")[0]).rpartition(":")
    return f"{repository}.slim:{tag}"


def with_tag(name: str) -> str:
    """`name` with its tag, which is ``latest`` where it has none."""
    repository, _, tag = name.rpartition(":")
    # else the colon was a registry's port, or there was none
    return name if repository and "/" not in tag else f"{name}:latest"
