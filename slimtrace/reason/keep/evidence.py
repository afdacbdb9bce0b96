"""Evidence for keeping a path: the claims of the trace, of the image's configuration and of the runtime
(user_rules has those of the user's rules). The graph resolves the paths that are claimed; this module looks up
program names only.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.events import Doubt, Exec, FileUse, Origin, Trace, Use
from slimtrace.facts.image import Image
from slimtrace.facts.selection import Why
from slimtrace.reason.keep import shebangs

CONFIG = "the image's configuration"
RUNTIME = "the container runtime"
RULES = "the user's rules"
TRIAL = "the trial of the slim image"
START = "the container's start"
EXEC_SESSION = "an exec into the container"

ENOENT = 2
# runc mounts on these directories, or programs expect to write in them; they cannot be made later on a
# read-only root
# (OCI runtime-spec config-linux.md, "Default Filesystems"; hier(7), file-hierarchy(7)).
RUNTIME_PATHS = ("/proc", "/sys", "/dev", "/tmp", "/run", "/var/tmp", "/var/run", "/etc")
DEFAULT_SHELL = ("/bin/sh", "-c")  # of a shell-form instruction (Dockerfile reference, SHELL)

WHY = {
    Use.READ: Why.OPENED,
    Use.MAP: Why.OPENED,
    Use.WRITE: Why.CHANGED,
    Use.CHANGE: Why.CHANGED,
    Use.EXEC: Why.EXECUTED,
    Use.STAT: Why.LOOKED_AT,
    Use.LINK: Why.LOOKED_AT,
    Use.LIST: Why.LISTED,
    Use.ENTER: Why.ENTERED,
}
# System calls that do not follow a symlink that is the last part of their path.
_NOFOLLOW = """
lstat lstat64 readlink readlinkat unlink unlinkat rename renameat renameat2 symlink symlinkat link linkat mkdir
mkdirat mknod mknodat rmdir lchown lchown32 lsetxattr lgetxattr llistxattr lremovexattr
"""
NOFOLLOW_CALLS = frozenset(_NOFOLLOW.split())
_RENAMES = frozenset(("rename", "renameat", "renameat2"))


class Depth(IntEnum):
    """How much a claimed file brings with it: nothing; what the dynamic linker loads for it; or also the
    interpreters that executing it takes."""

    ALONE = 0
    LIBRARY = 1
    PROGRAM = 2


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """One reason to keep the file that `path` (absolute, links not yet followed) leads to. `source` is the
    graph node that makes the claim, `of` the words of the reason. If not `present`, the path was looked up in
    vain, or is the container's own: then the directories and links on the way are kept, and not the file that
    the image may have there. If not `follow`, a link at `path` itself is meant. `base` is the working directory
    for interpreters with a relative path."""

    path: str
    why: Why
    source: str
    of: str
    depth: Depth = Depth.ALONE
    follow: bool = True
    present: bool = True
    base: str = "/"


def process_node(path: str) -> str:
    """The graph node that stands for all processes that run the program at `path`."""
    return f"process {path}"


def exec_session_test(trace: Trace, image: Image) -> Callable[[int, Origin], bool]:
    """The test whether a process belongs to an exec session from outside (``docker exec``, slimtrace's
    ``--exec``): whether it was started by one or descends from such a process. What it did is not the
    container's doing. The engine starts the image's own HEALTHCHECK in the same way; that one is known by its
    command, and an exec whose arguments could not be read is taken for the HEALTHCHECK."""
    own = set(trace.own_execs)
    command = image.healthcheck_command
    healthchecks = {
        run.pid
        for run in trace.execs
        if command and run.origin is Origin.EXEC and run.pid not in own and run.argv in (command, ())
    }

    def in_exec_session(pid: int, origin: Origin) -> bool:
        seen = set()
        while origin is Origin.EXEC and pid not in seen:
            if pid in own:
                return True
            if pid in healthchecks:
                return False
            seen.add(pid)
            pid = trace.parents.get(pid, 0)
        return origin is Origin.EXEC

    return in_exec_session


def claims(capture: Capture) -> list[Claim]:
    """Every claim once, in an order that does not depend on the order of events."""
    found = {
        *_of_trace(capture),
        *_of_config(capture),
        *(Claim(path, Why.RUNTIME, RUNTIME, RUNTIME) for path in RUNTIME_PATHS if path in capture.tree),
    }
    return sorted(found)


def missing_programs(capture: Capture) -> Iterator[Doubt]:
    """A doubt for each program that the configuration names and the image does not have."""
    for setting, name in _configured_programs(capture.image, guessed=False):
        if not _find_program(capture, name):
            text = f"the image's {setting} names {paths.printable(name)}, which is not there"
            yield Doubt("missing-program", text, name)


def unknown_programs(capture: Capture) -> Iterator[Doubt]:
    """A doubt for each program that the container executed and the image does not hold, or that the container
    had overwritten before: its interpreter and libraries were seen, but what else it names is not known."""
    tree, trace = capture.tree, capture.trace
    in_exec_session = exec_session_test(trace, capture.image)
    written = {
        path
        for use in trace.uses
        if (use.use is Use.WRITE or use.call in _RENAMES) and not use.error
        for path in (use.resolved, paths.join(use.base, use.asked))
    }
    for run in trace.execs:
        asked = paths.join(run.base, run.asked)
        if in_exec_session(run.pid, run.origin) or (asked.startswith("/proc/") and run.binary in tree):
            continue
        found = tree.resolve(asked)
        outside = run.foreign and not any(paths.below(found.path, each) for each in capture.image.volumes)
        if found.entry is None or outside or found.path in written:
            text = f"{paths.printable(asked)} was executed, and is not as the image has it"
            yield Doubt("unknown-program", f"{text}: what it needs beyond what was seen is not known", asked)


def _of_trace(capture: Capture) -> Iterator[Claim]:
    tree, trace, volumes = capture.tree, capture.trace, capture.image.volumes
    in_exec_session = exec_session_test(trace, capture.image)
    programs: dict[int, str] = {}

    def program(pid: int) -> str:
        """The program that `pid`, or else its nearest ancestor with a known program, executed last."""
        seen = set()
        while pid not in programs and pid in trace.parents and pid not in seen:
            seen.add(pid)
            pid = trace.parents[pid]
        return programs.get(pid, "")

    for run in trace.execs:
        if in_exec_session(run.pid, run.origin):
            continue
        parent = programs.get(run.pid) or program(run.parent)
        source = process_node(parent) if parent else CONFIG
        of = parent or (START if run.origin is Origin.CONTAINER else EXEC_SESSION)
        path = tree.resolve(paths.join(run.base, run.asked)).path
        yield from _of_exec(run, path, source, of)
        programs[run.pid] = path
    resolved = {asked: tree.resolve(asked).path for asked in {use.program for use in trace.uses} if asked}
    for use in set(trace.uses):
        if not in_exec_session(use.pid, use.origin):
            path = resolved.get(use.program, "")
            source, of = process_node(path) if path else CONFIG, path or START
            yield from _of_use(use, source, of, volumes)
            if use.call in _RENAMES and not use.error:
                yield from _of_rename(capture, use, source, of)


def _of_exec(run: Exec, path: str, source: str, of: str) -> Iterator[Claim]:
    asked = paths.join(run.base, run.asked)
    base = run.base or "/"
    present = not run.foreign
    yield Claim(asked, Why.EXECUTED, source, of, Depth.PROGRAM, present=present, base=base)
    if run.binary.startswith("/") and run.binary != path:
        yield Claim(run.binary, Why.INTERPRETER, source, path, Depth.PROGRAM, present=present, base=base)


def _of_use(use: FileUse, source: str, of: str, volumes: tuple[str, ...]) -> Iterator[Claim]:
    why = WHY[use.use]
    depth = Depth.PROGRAM if use.use is Use.EXEC else Depth.LIBRARY if why is Why.OPENED else Depth.ALONE
    # The engine fills the volume of a VOLUME from the image: a file on it that the image has is the image's.
    of_image = not use.foreign or any(paths.below(use.resolved, volume) for volume in volumes)
    present = of_image and use.error != ENOENT
    # A call that failed with another error than ENOENT met a file there: that has to exist, no more.
    if use.error:
        why, depth = (Why.CHANGED if why is Why.CHANGED else Why.LOOKED_AT), Depth.ALONE
    follow = use.use is not Use.LINK and use.call not in NOFOLLOW_CALLS
    if not use.truncated and use.asked and (use.base or use.asked.startswith("/")):
        yield Claim(paths.join(use.base, use.asked), why, source, of, depth, follow, present)
    if use.resolved.startswith("/"):
        yield Claim(use.resolved, why, source, of, depth, follow, present)


def _of_rename(capture: Capture, use: FileUse, source: str, of: str) -> Iterator[Claim]:
    """Claims of all that the image has below a directory that was renamed: the container used it by names that
    the image does not have. overlayfs refuses to rename such a directory (Linux
    Documentation/filesystems/overlayfs.rst, redirect_dir); other storage drivers do not."""
    path = capture.tree.resolve(paths.join(use.base, use.asked), follow_last=False).path
    for below in capture.tree.subtree(path)[1:]:
        yield Claim(below, Why.CHANGED, source, of, follow=False)


def _of_config(capture: Capture) -> Iterator[Claim]:
    image = capture.image
    for setting, name in _configured_programs(image):
        for path in _find_program(capture, name):
            base = image.text("WorkingDir") or "/"
            yield Claim(path, Why.CONFIGURED, CONFIG, setting, Depth.PROGRAM, base=base)
    if image.text("WorkingDir"):
        yield Claim(paths.clean(image.text("WorkingDir")), Why.CONFIGURED, CONFIG, "WORKDIR")
    for volume in image.volumes:
        yield Claim(paths.clean(volume), Why.CONFIGURED, CONFIG, "VOLUME")
    # The runtime reads these files to turn USER into IDs, groups and a HOME, also where USER is not set.
    for path in ("/etc/passwd", "/etc/group"):
        if capture.tree.resolve(path).entry:
            yield Claim(path, Why.CONFIGURED, CONFIG, "USER")
    passwd = capture.contents.text(capture.tree.resolve("/etc/passwd").path) or ""
    if home := _home(passwd, image.text("User").partition(":")[0] or "0"):
        yield Claim(home, Why.CONFIGURED, CONFIG, "USER's home")


def _configured_programs(image: Image, guessed: bool = True) -> Iterator[tuple[str, str]]:
    """The setting and the name of each program that the configuration names. `guessed` adds words that may be
    a program: a CMD that follows an ENTRYPOINT, and the commands in the one line of a shell form."""
    shell = image.strings("Shell") or DEFAULT_SHELL
    for setting, key in (("ENTRYPOINT", "Entrypoint"), ("CMD", "Cmd")):
        words = image.strings(key)
        if words and (guessed or key == "Entrypoint" or not image.strings("Entrypoint")):
            yield setting, words[0]
        if guessed and len(words) > 1 and words[:-1] in (shell, DEFAULT_SHELL):
            yield from ((setting, name) for name in shebangs.commands(words[-1]))
    kind, *test = image.healthcheck or ("",)
    if kind == "CMD" and test:
        yield "HEALTHCHECK", test[0]
    elif kind == "CMD-SHELL" and test:
        yield "HEALTHCHECK", shell[0]
        yield from (("HEALTHCHECK", name) for name in shebangs.commands(test[0]) if guessed)


def _find_program(capture: Capture, name: str) -> tuple[str, ...]:
    search = capture.image.environment.get("PATH") or shebangs.DEFAULT_PATH
    base = capture.image.text("WorkingDir") or "/"
    found = shebangs.find_program(capture.tree, name, search, base)
    return (found,) if found else ()


def _home(passwd: str, user: str) -> str:
    """The home directory of `user`, a name or a number, in the text of passwd(5); "" for none."""
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and user in (fields[0], fields[2]):
            return fields[5] if fields[5].startswith("/") else ""
    return ""
