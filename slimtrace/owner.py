"""Who owns what a run puts into the world: containers and work directories carry their process's identity,
so that a later run can tell the leavings of a killed one from the property of one that still works."""

import os
from pathlib import Path


def identity(pid: int) -> str:
    """``pid:starttime`` of a process, start time in clock ticks since boot (proc_pid_stat(5), field 22), so
    that a recycled pid is told apart. Empty when there is no such process, or it is dead and unreaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    # The name in field 2 may hold spaces and parentheses: count from the last one.
    fields = stat.rpartition(b")")[2].split()
    return "" if fields[0] in (b"Z", b"X") else f"{pid}:{int(fields[19])}"


def current() -> str:
    """The identity of this process."""
    return identity(os.getpid())


def alive(owner: str) -> bool:
    """Whether the process that `owner` names still runs; False for a malformed name."""
    pid = owner.partition(":")[0]
    return pid.isascii() and pid.isdigit() and len(pid) < 10 and identity(int(pid)) == owner
