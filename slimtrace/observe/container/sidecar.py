"""A sidecar: a container of another image in which a command of the user runs beside the container that it
drives.

The slim image has not the programs that ``--exec`` runs, since they are not the application's; the fat image
has. The sidecar shares with the container all that an engine can share: network, processes, volumes. The
directories that only the container has (tmpfs, those of its UNIX sockets) are reached by way of /proc/1/root
(proc(5)), which is the container's root, since the processes are shared.
"""

import os
import shlex
import tarfile
from collections.abc import Collection
from io import BytesIO

from slimtrace.engine import Engine, Launch
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts import paths
from slimtrace.observe.container import user_commands
from slimtrace.observe.container.exchange import Exchange

OUTPUT_LINES = 10_000  # of a command
MAX_SYMLINKS = 40  # that are followed in a path, as by the kernel (MAXSYMLINKS)


def run(
    engine: Engine,
    image: str,
    container: str,
    launch: Launch,
    command: str,
    seconds: float,
    private_directories: Collection[str] = (),
) -> Exchange:
    """Run a command to its end as an exec in `container`, launched by `launch`, would: as the same user, with
    the same variables. `private_directories` are the directories that only the container has. Raises
    SlimtraceError: EXERCISE_FAILED when the command has not ended after `seconds`, START_FAILED for a program
    that `image` lacks too."""
    sidecar = engine.create(image, sidecar_launch(launch, container, command))
    try:
        if private_directories:
            engine.put(sidecar, links_archive(private_directories))
        engine.start(sidecar)
        code = engine.wait(sidecar, seconds)
        if code is None:
            raise SlimtraceError(
                f"cannot wait longer for --exec {command!r}: {seconds:g} s are over",
                "give the command an end",
                Exit.EXERCISE_FAILED,
            )
        return user_commands.exec_exchange(command, code, engine.logs(sidecar, OUTPUT_LINES).encode())
    finally:
        engine.remove(sidecar)


def sidecar_launch(launch: Launch, container: str, command: str) -> Launch:
    """How the sidecar is launched. It has CAP_SYS_PTRACE, without which it could not read /proc/1/root of
    another user's process (ptrace(2)), and no AppArmor profile, which would forbid that too."""
    return Launch(
        entrypoint=tuple(shlex.split(command)),
        env=launch.env,
        user=launch.user,
        workdir=launch.workdir,
        network=f"container:{container}",
        volumes_from=(container,),
        pid_mode=f"container:{container}",
        cap_add=("SYS_PTRACE",),
        security_opt=("apparmor=unconfined",),
    )


def resolve_in_container(pid: int, path: str) -> str:
    """A path in the container of process `pid` with its symlinks resolved inside the container: an absolute
    symlink would lead a reader of /proc/1/root out of it."""
    components, resolved, followed = path.split("/")[::-1], "", 0
    while components:
        component = components.pop()
        if component in ("", ".", ".."):
            resolved = paths.parent(resolved or "/").rstrip("/") if component == ".." else resolved
            continue
        try:
            target = os.readlink(f"/proc/{pid}/root{resolved}/{component}")
        except OSError:  # no symlink, or no file
            resolved = f"{resolved}/{component}"
            continue
        followed += 1
        if followed > MAX_SYMLINKS:
            return path
        resolved = "" if target.startswith("/") else resolved
        components += target.split("/")[::-1]
    return resolved or "/"


def links_archive(private_directories: Collection[str]) -> bytes:
    """A tar archive with a symlink to each of the container's `private_directories`, at the same path; of
    nested ones only to the outermost."""
    found = {paths.clean(path) for path in private_directories} - {"/"}
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(found):
            if found.isdisjoint(paths.parents(path)):
                link = tarfile.TarInfo(path.lstrip("/"))
                link.type = tarfile.SYMTYPE
                link.linkname = f"/proc/1/root{path}"
                archive.addfile(link)
    return buffer.getvalue()
