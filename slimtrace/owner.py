"""The owner of what a run creates: containers, work directories and temporary names carry the identity of their
process, so that a later run can tell the leftovers of a killed run from what a living run still uses."""

import os
from pathlib import Path


def identity(pid: int) -> str:
    """``pid:starttime`` of a process, start time in clock ticks since boot (proc_pid_stat(5), field 22), so
    that a reused pid is told apart. Empty when there is no such process, or it is a zombie."""
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
    """Whether the process with the identity `owner` still runs; False for a malformed identity."""
    pid = owner.partition(":")[0]
    return pid.isascii() and pid.isdigit() and len(pid) < 10 and identity(int(pid)) == owner
