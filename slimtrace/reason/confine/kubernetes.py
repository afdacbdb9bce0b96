"""A container's confinement as a Kubernetes Pod (kubernetes.io, reference of the Pod and its SecurityContext).

What Docker does by itself is said here: ports below 1024 for anyone (the sysctl is among the safe ones since
Kubernetes 1.22), and that a volume begins with what the image has there (an init container copies it, since an
emptyDir begins empty).
"""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from slimtrace.facts.confinement import Confinement, Writable
from slimtrace.reason.confine import yaml_text
from slimtrace.reason.confine.compose import service_name

FOLDER = "slimtrace"  # below the kubelet's folder of seccomp profiles
_FILLED = "/slimtrace-volume"
# What `cp -a` needs of root to keep owners and modes, also below directories of others.
_COPYING = ("CHOWN", "DAC_OVERRIDE", "FOWNER")


def kubernetes(
    image: str, confinement: Confinement, seccomp_file: str = "", apparmor_name: str = "", copier: str = ""
) -> str:
    """A manifest of a Pod with one container. `seccomp_file` is the profile's file, `apparmor_name` what the
    loaded profile is called; "" leaves either out. `copier` is the image that fills volumes, which must have
    cp and the files; by default `image`."""
    name = service_name(image)
    source = PurePosixPath(seccomp_file).name
    profile = f"{FOLDER}/{name}.json" if source else ""
    mounts = [(f"writable-{number}", place) for number, place in enumerate(confinement.writable)]
    filled = [(volume, place) for volume, place in mounts if place.volume]
    spec = {
        "securityContext": _of_pod(confinement),
        "initContainers": [_filling(copier or image, confinement, *each) for each in filled],
        "containers": [
            {
                "name": name,
                "image": image,
                "securityContext": _of_container(confinement, profile, apparmor_name),
                "volumeMounts": [{"name": volume, "mountPath": place.path} for volume, place in mounts],
            }
        ],
        "volumes": [
            {"name": volume, "emptyDir": None if place.volume else {"medium": "Memory"}}
            for volume, place in mounts
        ],
    }
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    return yaml_text.document(manifest, _comments(confinement, source, profile, apparmor_name, bool(filled)))


def _comments(
    confinement: Confinement, source: str, profile: str, apparmor_name: str, filled: bool
) -> Iterator[str]:
    yield "Made by slimtrace."
    if confinement.user and confinement.uid is None:
        yield f"The number of the user {confinement.user} is not known: say it as runAsUser."
    if profile:
        yield f"On each node, {source} is to be seccomp/{profile} in the kubelet's root directory."
    if apparmor_name:
        yield "On each node, the AppArmor profile is to be loaded (Kubernetes 1.30 and later)."
    if filled:
        yield "The image of the init containers needs cp: where the slim image has none, name the original one."
        yield "An emptyDir ends with the Pod: what is to last longer needs a persistentVolumeClaim."
    if any(not place.volume for place in confinement.writable):
        yield "An emptyDir cannot be mounted noexec, and anyone in the container may write in it."


def _of_pod(confinement: Confinement) -> dict[str, Any]:
    if not confinement.low_ports:
        return {}
    lowest = str(min(confinement.low_ports))
    return {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": lowest}]}


def _of_container(confinement: Confinement, profile: str, apparmor_name: str) -> dict[str, Any]:
    localhost = {"type": "Localhost"}
    return {
        **_user(confinement),
        "allowPrivilegeEscalation": not confinement.no_new_privileges,
        "readOnlyRootFilesystem": confinement.read_only,
        "capabilities": {"drop": ["ALL"], "add": [name.upper() for name in confinement.cap_add]},
        "seccompProfile": {**localhost, "localhostProfile": profile} if profile else {},
        "appArmorProfile": {**localhost, "localhostProfile": apparmor_name} if apparmor_name else {},
    }


def _user(confinement: Confinement) -> dict[str, Any]:
    """In numbers: the kubelet cannot tell of a name whether it is root's. The image's own root goes without
    saying."""
    if confinement.uid is None or (confinement.uid == 0 and not confinement.user):
        return {}
    group = {} if confinement.gid is None else {"runAsGroup": confinement.gid}
    return {"runAsNonRoot": confinement.uid != 0, "runAsUser": confinement.uid, **group}


def _filling(image: str, confinement: Confinement, volume: str, place: Writable) -> dict[str, Any]:
    """An init container that copies what the image has in a place into the volume that goes there. One that
    is not root cannot give the volume's top another owner or time; it may write there all the same."""
    root = confinement.uid == 0
    return {
        "name": f"fill-{volume}",
        "image": image,
        "command": ["cp", "-a" if root else "-RP", "--", f"{place.path}/.", _FILLED],
        "securityContext": {
            **_user(confinement),
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": list(_COPYING) if root else []},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": volume, "mountPath": _FILLED}],
    }
