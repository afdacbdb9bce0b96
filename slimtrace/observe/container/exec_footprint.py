"""The system calls of the container runtime itself under its seccomp filter when a program is exec'd into a
container, as ``docker exec`` and HEALTHCHECK do: measured for every image, with a HEALTHCHECK or not.

A runtime looks for the program before it installs the filter (crun) or after (runc), so the exec of an absent
program would not show all calls. The program that is executed is the empty file by which Docker marks a
container: the runtime goes all the way to execve(2), which fails with ENOEXEC, and no program of the image is
run. Podman's mark is not executable: there the name of an absent program is executed, which shows none of
crun's later calls (reason/confine/seccomp/margin.py lists these).
"""

import stat
from pathlib import Path

from slimtrace.engine import Engine
from slimtrace.errors import SlimtraceError

MARK = ".dockerenv"  # moby daemon/initlayer/setup_unix.go; podman: libpod, writeStringToPath
ABSENT = "/slimtrace-looks-for-what-is-absent"
SECONDS = 20.0


def measure_exec(engine: Engine, container: str) -> bool:
    """Have the runtime enter the running `container` as ``docker exec`` does. The recording then has a
    Phase.FILTERED of Origin.EXEC. False where the container has ended."""
    try:
        state = engine.state(container)
        if not state.running:
            return False
        mark = is_empty_program(Path(f"/proc/{state.pid}/root", MARK))
        command = f"/{MARK}" if mark else ABSENT
        engine.exec(container, [command], timeout=SECONDS)
    except SlimtraceError:
        pass  # engines report a failed execve by an exit code, an output, or an error
    return True


def is_empty_program(path: Path) -> bool:
    """Whether the path is an empty file, not a symlink, that everybody may execute."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == 0 and bool(found.st_mode & 0o001)
