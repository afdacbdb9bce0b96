"""A container's confinement as a Kubernetes Pod (kubernetes.io, reference of the Pod and its SecurityContext).

The manifest says what Docker does by itself: ports below 1024 are for anyone (the sysctl is among the safe ones
since Kubernetes 1.22), and a volume begins with what the image has at its path (an init container copies that,
since an emptyDir begins empty).
"""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from slimtrace.facts.confinement import Confinement, Writable
from slimtrace.reason.confine import yaml_text
from slimtrace.reason.confine.compose import service_name

PROFILE_FOLDER = "slimtrace"  # below the kubelet's folder of seccomp profiles
_VOLUME_MOUNT = "/slimtrace-volume"
# What `cp -a` needs of root to keep owners and modes, also below directories of others.
_COPY_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER")


def pod_manifest(
    image: str, confinement: Confinement, seccomp_file: str = "", apparmor_name: str = "", copier: str = ""
) -> str:
    """The manifest of a Pod with one container. `seccomp_file` is the profile's file, `apparmor_name` the name
    of the loaded profile; "" leaves either out. `copier` is the image whose init containers copy the content of
    volumes, which must have cp and the files; by default `image`."""
    name = service_name(image)
    source = PurePosixPath(seccomp_file).name
    profile = f"{PROFILE_FOLDER}/{name}.json" if source else ""
    mounts = [(f"writable-{number}", place) for number, place in enumerate(confinement.writable)]
    copied = [(volume, place) for volume, place in mounts if place.volume]
    spec = {
        "securityContext": _pod_security_context(confinement),
        "initContainers": [_copying_container(copier or image, confinement, *each) for each in copied],
        "containers": [
            {
                "name": name,
                "image": image,
                "securityContext": _container_security_context(confinement, profile, apparmor_name),
                "volumeMounts": [{"name": volume, "mountPath": place.path} for volume, place in mounts],
            }
        ],
        "volumes": [
            {"name": volume, "emptyDir": None if place.volume else {"medium": "Memory"}}
            for volume, place in mounts
        ],
    }
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    return yaml_text.document(manifest, _comments(confinement, source, profile, apparmor_name, bool(copied)))


def _comments(
    confinement: Confinement, source: str, profile: str, apparmor_name: str, copied: bool
) -> Iterator[str]:
    yield "Made by slimtrace."
    if confinement.user and confinement.uid is None:
        yield f"The number of the user {confinement.user} is not known: say it as runAsUser."
    if profile:
        yield f"On each node, {source} is to be seccomp/{profile} in the kubelet's root directory."
    if apparmor_name:
        yield "On each node, the AppArmor profile is to be loaded (Kubernetes 1.30 and later)."
    if copied:
        yield "The image of the init containers needs cp: where the slim image has none, name the original one."
        yield "An emptyDir ends with the Pod: what is to last longer needs a persistentVolumeClaim."
    if any(not place.volume for place in confinement.writable):
        yield "An emptyDir cannot be mounted noexec, and anyone in the container may write in it."


def _pod_security_context(confinement: Confinement) -> dict[str, Any]:
    if not confinement.low_ports:
        return {}
    lowest = str(min(confinement.low_ports))
    return {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": lowest}]}


def _container_security_context(confinement: Confinement, profile: str, apparmor_name: str) -> dict[str, Any]:
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
    """The user as numbers: the kubelet cannot tell whether a name is root's. Nothing where the image's own user
    is root."""
    if confinement.uid is None or (confinement.uid == 0 and not confinement.user):
        return {}
    group = {} if confinement.gid is None else {"runAsGroup": confinement.gid}
    return {"runAsNonRoot": confinement.uid != 0, "runAsUser": confinement.uid, **group}


def _copying_container(image: str, confinement: Confinement, volume: str, place: Writable) -> dict[str, Any]:
    """An init container that copies what the image has at `place.path` into the volume that will be mounted
    there. Without root the container cannot give the volume's top another owner or time; it may write there all
    the same."""
    root = confinement.uid == 0
    return {
        "name": f"fill-{volume}",
        "image": image,
        "command": ["cp", "-a" if root else "-RP", "--", f"{place.path}/.", _VOLUME_MOUNT],
        "securityContext": {
            **_user(confinement),
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": list(_COPY_CAPABILITIES) if root else []},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": volume, "mountPath": _VOLUME_MOUNT}],
    }
