"""A container's confinement as a Compose file (github.com/compose-spec/compose-spec, 05-services.md)."""

import re
from collections.abc import Mapping
from typing import Any

from slimtrace.facts.confinement import Confinement
from slimtrace.reason.confine import yaml_text
from slimtrace.reason.confine.docker_run import tmpfs_options


def service_yaml(image: str, confinement: Confinement, seccomp_file: str = "", apparmor_name: str = "") -> str:
    """A Compose file with one service, to be merged into the user's own. `seccomp_file` is the path of the
    profile, `apparmor_name` the name of the loaded profile; "" leaves either out."""
    security = ["no-new-privileges:true"] if confinement.no_new_privileges else []
    security += [f"seccomp={seccomp_file}"] if seccomp_file else []
    security += [f"apparmor={apparmor_name}"] if apparmor_name else []
    service: dict[str, Any] = {
        "image": image,
        "user": confinement.user or (),
        "cap_drop": ["ALL"],
        "cap_add": [name.upper() for name in confinement.cap_add],
        "security_opt": security,
        "read_only": confinement.read_only,
        "tmpfs": [f"{place.path}:{tmpfs_options(place)}" for place in confinement.writable if not place.volume],
        "volumes": [{"type": "volume", "target": place.path} for place in confinement.writable if place.volume],
    }
    return yaml_text.document({"services": {service_name(image): _literal(service)}}, ("Made by slimtrace.",))


def service_name(image: str) -> str:
    """The last part of the image's name, in the characters that a Compose service and a Kubernetes object may
    have."""
    name = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:50].strip("-") or "app"


def _literal(value: Any) -> Any:
    """`value` with every ``$`` doubled: Compose interpolates variables (12-interpolation.md)."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    return [_literal(item) for item in value] if isinstance(value, list) else value
