"""A container's confinement as options of ``docker run`` (docs.docker.com, CLI reference)."""

import shlex
from collections.abc import Iterator

from slimtrace.facts.confinement import Confinement, Writable


def command_line(image: str, confinement: Confinement, seccomp_file: str = "", apparmor_name: str = "") -> str:
    """A command for a shell, an option a line. `seccomp_file` is the path of the profile, `apparmor_name` the
    name of the loaded profile; "" leaves either out."""
    lines = [shlex.join(words) for words in options(confinement, seccomp_file, apparmor_name)]
    return " \\\n  ".join(("docker run", *lines, shlex.quote(image))) + "\n"


def options(
    confinement: Confinement, seccomp_file: str = "", apparmor_name: str = ""
) -> Iterator[tuple[str, ...]]:
    """The options, each as its words."""
    yield "--cap-drop", "ALL"
    for capability in confinement.cap_add:
        yield "--cap-add", capability.upper()
    if confinement.no_new_privileges:
        yield "--security-opt", "no-new-privileges"
    if seccomp_file:
        yield "--security-opt", f"seccomp={seccomp_file}"
    if apparmor_name:
        yield "--security-opt", f"apparmor={apparmor_name}"
    if confinement.read_only:
        yield ("--read-only",)
    for place in confinement.writable:
        yield ("--volume", place.path) if place.volume else ("--tmpfs", f"{place.path}:{tmpfs_options(place)}")
    if confinement.user:
        yield "--user", confinement.user


def tmpfs_options(place: Writable) -> str:
    """The mount options of a tmpfs (tmpfs(5)); the engine adds nosuid and nodev, and noexec unless exec is
    among the options."""
    code = "exec," if place.executable else ""
    return f"{code}mode={place.mode:04o},uid={place.uid},gid={place.gid}"
