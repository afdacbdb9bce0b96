"""A command of the user's that runs beside the container which it drives, in one of another image.

The slim image has not the programs that ``--exec`` runs, since they are not the application's; the fat image
has. What the command sees is the container's as far as an engine can share it: network, processes, volumes. The
directories that only the container has (tmpfs, those of its UNIX sockets) are reached by way of
/proc/1/root (proc(5)), which is the container's since its processes are shared.
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
from slimtrace.observe.container.exchange import Asked

OUTPUT_LINES = 10_000  # of a command
LINKS = 40  # that are followed, as by the kernel (MAXSYMLINKS)


def run(
    engine: Engine,
    image: str,
    container: str,
    launch: Launch,
    command: str,
    seconds: float,
    own: Collection[str] = (),
) -> Asked:
    """Run a command to its end as an exec in `container`, launched by `launch`, would: as the same user, with
    the same variables. `own` are the container's own directories. Raises SlimtraceError: EXERCISE_FAILED when
    it has not ended after `seconds`, START_FAILED for a program that is not in `image` either."""
    one = engine.create(image, beside(launch, container, command))
    try:
        if own:
            engine.put(one, links(own))
        engine.start(one)
        code = engine.wait(one, seconds)
        if code is None:
            raise SlimtraceError(
                f"cannot wait longer for --exec {command!r}: {seconds:g} s are over",
                "give the command an end",
                Exit.EXERCISE_FAILED,
            )
        return user_commands.executed(command, code, engine.logs(one, OUTPUT_LINES).encode())
    finally:
        engine.remove(one)


def beside(launch: Launch, container: str, command: str) -> Launch:
    """How the container of the command is launched. It may look at processes of other users, else /proc/1/root
    would be closed to it (ptrace(2)); an AppArmor profile would forbid it too."""
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


def real(pid: int, path: str) -> str:
    """Where a path of the container of `pid` leads there, without a symlink in it: one that is absolute would
    lead a reader out of /proc/1/root."""
    todo, done, followed = path.split("/")[::-1], "", 0
    while todo:
        name = todo.pop()
        if name in ("", ".", ".."):
            done = paths.parent(done or "/").rstrip("/") if name == ".." else done
            continue
        try:
            target = os.readlink(f"/proc/{pid}/root{done}/{name}")
        except OSError:  # no symlink, or nothing
            done = f"{done}/{name}"
            continue
        followed += 1
        if followed > LINKS:
            return path
        done = "" if target.startswith("/") else done
        todo += target.split("/")[::-1]
    return done or "/"


def links(own: Collection[str]) -> bytes:
    """A tar archive with links to the container's own directories; of two that lie in each other the outer."""
    found = {paths.clean(path) for path in own} - {"/"}
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(found):
            if found.isdisjoint(paths.parents(path)):
                link = tarfile.TarInfo(path.lstrip("/"))
                link.type = tarfile.SYMTYPE
                link.linkname = f"/proc/1/root{path}"
                archive.addfile(link)
    return buffer.getvalue()
