"""What is mounted in a container: files on these mounts are not the image's."""

from collections.abc import Iterable
from pathlib import Path

from slimtrace.facts.events import Mount
from slimtrace.facts.paths import decode

# Where every OCI runtime mounts something that is not the image's (runtime-spec config-linux.md, "Default
# Filesystems", runc's default for /dev; the three files are the engine's). Completed by what mountinfo says,
# which cannot be read any more when a program has ended at once.
RUNTIME_MOUNTS = (
    Mount("/proc", "proc"),
    Mount("/sys", "sysfs"),
    Mount("/dev", "tmpfs"),
    *map(Mount, ("/etc/resolv.conf", "/etc/hostname", "/etc/hosts")),
)
_ESCAPES = ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\"))


def mounted(pid: int) -> tuple[Mount, ...]:
    """The mounts in the mount namespace of `pid`, its root first (proc(5), mountinfo); nothing when the process
    is gone."""
    try:
        lines = Path(f"/proc/{pid}/mountinfo").read_bytes().splitlines()
    except OSError:
        return ()
    return tuple(mount for line in lines if (mount := _mount(line)))


def _mount(line: bytes) -> Mount | None:
    """One line: id, parent, device, root, mount point, options, any optional fields, "-", kind, source, …"""
    before, dash, behind = line.partition(b" - ")
    fields, more = before.split(b" "), behind.split(b" ")
    if not dash or len(fields) < 5 or len(more) < 2:
        return None
    return Mount(*(decode(unescaped(raw)) for raw in (fields[4], more[0], more[1], fields[3])))


def unescaped(raw: bytes) -> bytes:
    """A field of mountinfo as it was before the kernel escaped it (mangle_path, "\\040" for a space)."""
    for code, char in _ESCAPES:
        raw = raw.replace(code, char)
    return raw


def joined(mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    """Each mount point once, sorted, without the root; of several mounts at one mount point the last whose file
    system is known."""
    found: dict[str, Mount] = {}
    for mount in mounts:
        if mount.path != "/" and (mount.filesystem or mount.path not in found):
            found[mount.path] = mount
    return tuple(found[path] for path in sorted(found))
