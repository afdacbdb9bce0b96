"""The BPF programs, checked with small programs whose every system call is known (tests/workloads)."""

import mmap
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from workloads.harness import Seen, trace, until, watching

from slimtrace.engine import Engine, Launch
from slimtrace.errors import SlimtraceError
from slimtrace.facts.events import Abi, Exec, FileUse, Listen, Origin, Phase, Socket, Use
from slimtrace.observe.kernel import feature_programs, programs
from slimtrace.observe.kernel.probes import Probes

pytestmark = pytest.mark.requires("bpf", "docker", "cc")

STARTUP = FileUse(
    Use.LINK, "/proc/self/exe", call="readlink"
)  # each static glibc program makes this call first
EPERM, ENOENT, EINTR, EBADF, EACCES, EEXIST, ENOTDIR, EINVAL, ENAMETOOLONG, ELOOP, ENODATA, ECONNREFUSED = (
    1, 2, 4, 9, 13, 17, 20, 22, 36, 40, 61, 111,
)  # fmt: skip
LONG = "n" * 255
RAW = b"\xff\xfe".decode("utf-8", "surrogateescape")


def read(asked: str, base: str, resolved: str, call: str = "open", use: Use = Use.READ) -> FileUse:
    return FileUse(use, asked, base, resolved, call=call)


def failed(asked: str, base: str, error: int, call: str = "open", use: Use = Use.READ) -> FileUse:
    return FileUse(use, asked, base, error=error, call=call)


def made(asked: str, base: str, resolved: str, call: str = "open") -> FileUse:
    return FileUse(Use.WRITE, asked, base, resolved, created=True, call=call)


def entered(asked: str, base: str, resolved: str, call: str = "chdir") -> FileUse:
    return FileUse(Use.ENTER, asked, base, resolved, call=call)


def reached(call: str, resolved: str, use: Use) -> FileUse:
    """A file that was used by a descriptor alone."""
    return FileUse(use, "", "", resolved, call=call)


def named(use: Use, *rows: tuple[str, str, str]) -> list[FileUse]:
    """Successful calls that open nothing: call, asked, base."""
    return [FileUse(use, asked, base, call=call) for call, asked, base in rows]


def file_uses(seen: Seen, origin: Origin = Origin.CONTAINER) -> list[FileUse]:
    """The file uses of one origin, without the pids, which differ from run to run, and without the C library's
    first call."""
    found = [
        replace(use, pid=0, origin=Origin.CONTAINER, program="") for use in seen.uses if use.origin is origin
    ]
    assert found[:1] == [STARTUP]
    return found[1:]


OPENS = [
    read("/tree/plain", "", "/tree/plain"),
    entered("/tree", "", "/tree"),
    read("plain", "/tree", "/tree/plain"),
    read("./dir/../plain", "/tree", "/tree/plain"),
    read("dir", "/tree", "/tree/dir"),
    read("dir", "/tree", "/tree/dir", "openat"),
    read("inner", "/tree/dir", "/tree/dir/inner", "openat"),
    read("/tree/plain", "", "/tree/plain", "openat"),
    read("inner", "/tree/dir", "/tree/dir/inner", "openat2"),
    read("../plain", "/tree/dir", "/tree/plain", "openat", Use.WRITE),
    made("made", "/tree", "/tree/made", "creat"),
    made("made too", "/tree", "/tree/made too"),
    read("plain", "/tree", "/tree/plain", use=Use.STAT),
    read("link/inner", "/tree", "/tree/dir/inner"),
    read("far", "/tree", "/tree/dir/inner"),
    failed("absent", "/tree", ENOENT),
    failed("absent/too", "/tree/dir", ENOENT, "openat"),
    failed("plain/below", "/tree", ENOTDIR),
    failed("loop", "/tree", ELOOP),
    failed("nowhere", "", EBADF, "openat"),  # relative to no directory
    entered("", "", "/tree/dir", "fchdir"),
    read("inner", "/tree/dir", "/tree/dir/inner"),
]
NO_PERMISSION = [
    failed("/tree/secret", "", EACCES),
    failed("/closed/file", "", EACCES),
    failed("/tree/plain", "", EACCES, "execve", Use.EXEC),
    failed("/closed", "", EACCES, "chdir", Use.ENTER),
]
CHROOTS = [
    entered("/tree", "", "/tree"),
    entered("dir", "/tree", "/tree/dir"),
    read("inner", "/tree/dir", "/tree/dir/inner"),
    failed("absent", "/tree/dir", ENOENT, "chdir", Use.ENTER),
    entered("../../jail", "/tree/dir", "/jail", "chroot"),
    read("/file", "/jail", "/jail/file"),
    # "inner" again from the directory outside the jail: text, directory and file are equal to a use above
    failed("/tree/plain", "/jail", ENOENT),
    entered("/sub", "/jail", "/jail/sub"),
    read("file", "/jail/sub", "/jail/sub/file"),
    read("../../../file", "/jail/sub", "/jail/file"),
    entered("/sub", "/jail", "/jail/sub", "chroot"),
    read("/file", "/jail/sub", "/jail/sub/file"),
]
NAMES = [
    entered("/odd", "", "/odd"),
    read(LONG, "/odd", f"/odd/{LONG}"),
    read(RAW, "/odd", f"/odd/{RAW}"),
    read("new\nline", "/odd", "/odd/new\nline"),
    read("é", "/odd", "/odd/é"),
    read("/" * 4082 + "/tree/plain", "", "/tree/plain"),
    read("/" * 4084 + "/tree/plain", "", "/tree/plain"),
    replace(failed(("/" * 4085 + "/tree/plain")[:4095], "", ENAMETOOLONG), truncated=True),
]
CHANGES = [
    entered("/desk", "", "/desk"),
    read("/tree", "", "/tree"),
    *named(
        Use.CHANGE,
        ("mkdir", "m", "/desk"),
        ("mkdirat", "n", "/tree"),
        ("mknod", "m/fifo", "/desk"),
        ("symlink", "s", "/desk"),
        ("symlinkat", "s", "/tree"),
        ("link", "one", "/desk"),
        ("link", "two", "/desk"),
        ("linkat", "one", "/desk"),
        ("linkat", "three", "/tree"),
        ("rename", "two", "/desk"),
        ("rename", "m/four", "/desk"),
        ("renameat", "m/four", "/desk"),
        ("renameat", "five", "/tree"),
        ("renameat2", "five", "/tree"),
        ("renameat2", "/desk/six", ""),
    ),
    failed("six", "/desk", EEXIST, "renameat2", Use.CHANGE),
    failed("one", "/desk", EEXIST, "renameat2", Use.CHANGE),
    *named(
        Use.CHANGE,
        ("chmod", "six", "/desk"),
        ("fchmodat", "three", "/tree"),
        ("chown", "six", "/desk"),
        ("lchown", "s", "/desk"),
        ("fchownat", "s", "/tree"),
        ("utime", "six", "/desk"),
        ("utimes", "six", "/desk"),
        ("futimesat", "three", "/tree"),
        ("utimensat", "six", "/desk"),
    ),
    reached("utimensat", "/tree", Use.CHANGE),  # without a path: the file of the descriptor
    *named(
        Use.CHANGE,
        ("setxattr", "six", "/desk"),
        ("removexattr", "six", "/desk"),
    ),
    *named(Use.WRITE, ("truncate", "six", "/desk")),
    *named(
        Use.CHANGE,
        ("unlink", "six", "/desk"),
        ("unlinkat", "three", "/tree"),
        ("unlink", "m/fifo", "/desk"),
        ("rmdir", "m", "/desk"),
        ("unlinkat", "n", "/tree"),
    ),
    failed("absent", "/desk", ENOENT, "unlink", Use.CHANGE),
]
LOOKS = [
    entered("/tree", "", "/tree"),
    read("/tree/dir", "", "/tree/dir"),
    *named(Use.STAT, ("stat", "link/inner", "/tree")),
    *named(Use.LINK, ("lstat", "far", "/tree")),
    *named(Use.STAT, ("newfstatat", "inner", "/tree/dir")),
    *named(Use.LINK, ("newfstatat", "far", "/tree")),
    *named(Use.STAT, ("statx", "../plain", "/tree/dir")),
    *named(Use.LINK, ("statx", "far", "/tree")),
    *named(
        Use.STAT,
        ("access", "plain", "/tree"),
        ("faccessat", "inner", "/tree/dir"),
        ("faccessat2", "inner", "/tree/dir"),
    ),
    *named(Use.LINK, ("readlink", "far", "/tree"), ("readlinkat", "../link", "/tree/dir")),
    failed("plain", "/tree", EINVAL, "readlink", Use.LINK),
    *named(Use.STAT, ("statfs", "plain", "/tree")),
    failed("plain", "/tree", ENODATA, "getxattr", Use.STAT),
    failed("plain", "/tree", ENODATA, "lgetxattr", Use.LINK),
    *named(Use.STAT, ("listxattr", "plain", "/tree")),
    *named(Use.LINK, ("llistxattr", "plain", "/tree")),
    *named(Use.STAT, ("inotify_add_watch", "dir", "/tree")),
    failed("absent", "/tree", ENOENT, "stat", Use.STAT),
]
REPEATS = [  # 3,027 opens of one file, by 3 processes
    read("/tree/plain", "", "/tree/plain"),
    read("/tree/dir/inner", "", "/tree/dir/inner"),
    read("/tree/link/inner", "", "/tree/dir/inner"),
    read("/tree/far", "", "/tree/dir/inner"),
]
INTERRUPTED = [
    *named(Use.CHANGE, ("mknodat", "/desk/fifo", "")),
    failed("/desk/fifo", "", EINTR),  # the kernel's own ERESTARTSYS never reaches a program
]


DESCRIPTORS = [
    read("/tree", "", "/tree"),
    read("/bin/leaf", "", "/bin/leaf"),
    read("/desk/one", "", "/desk/one", use=Use.WRITE),
    reached("getdents64", "/tree", Use.LIST),
    reached("getdents", "/tree", Use.LIST),
    reached("mmap", "/bin/leaf", Use.MAP),
    reached("fstatfs", "/tree", Use.STAT),
    *(reached(call, "/desk/one", Use.CHANGE) for call in ("fchmod", "fchown", "fchownat", "fsetxattr")),
    *(reached(call, "/desk/one", Use.STAT) for call in ("fgetxattr", "flistxattr")),
    reached("fremovexattr", "/desk/one", Use.CHANGE),
    replace(made("/dev/shm/held", "", "/dev/shm/held"), foreign=True, filesystem="tmpfs"),
    *named(Use.STAT, ("name_to_handle_at", "/dev/shm/held", "")),
    replace(reached("open_by_handle_at", "/dev/shm/held", Use.READ), foreign=True, filesystem="tmpfs"),
    *named(Use.STAT, ("fanotify_mark", "dir/inner", "/tree")),
    reached("fanotify_mark", "/tree", Use.STAT),
    reached("fchdir", "/tree", Use.ENTER),
    read("plain", "/tree", "/tree/plain"),
]
DENIED_BY_SECCOMP = [  # refused by Docker's seccomp profile before the kernel looks at the path
    failed("/tree/dir", "", EPERM, "mount", Use.STAT),
    failed("/tree/plain", "", EPERM, "mount", Use.STAT),
    failed("/tree/dir", "", EPERM, "umount2", Use.STAT),
    failed("/jail", "", EPERM, "pivot_root", Use.ENTER),
    failed("/jail/sub", "", EPERM, "pivot_root", Use.ENTER),
    failed("/tree/plain", "", EPERM, "acct", Use.WRITE),
    failed("/tree/secret", "", EPERM, "swapon", Use.WRITE),
    failed("/tree", "", EPERM, "open_tree", Use.STAT),
]
LONGEST = "/desk/" + "l" * 102
SOCKETS = [
    entered("/desk", "", "/desk"),
    *named(Use.CHANGE, ("bind", "door", "/desk")),
    *named(Use.WRITE, ("connect", "door", "/desk")),
    failed("/desk/absent", "", ENOENT, "connect", Use.WRITE),
    *named(Use.CHANGE, ("bind", LONGEST, "")),
    *named(Use.WRITE, ("sendto", LONGEST, ""), ("sendmsg", LONGEST, "")),
]
IN_32_BITS = [
    replace(use, abi=Abi.COMPAT)
    for use in (
        read("/tree/plain", "", "/tree/plain"),
        failed("/tree/plain", "", ENOTDIR, "rmdir", Use.CHANGE),
        failed("/tree/plain", "", EEXIST, "symlink", Use.CHANGE),
    )
]
IO_URING = [  # the results are not reported: /absent does not exist
    entered("/tree", "", "/tree"),
    read("/desk", "", "/desk"),
    *named(Use.READ, ("io_uring openat", "link/inner", "/tree")),
    made("made", "/desk", "", "io_uring openat"),
    *named(Use.READ, ("io_uring openat", "/absent", "")),
    *named(Use.STAT, ("io_uring statx", "one", "/desk")),
    *named(
        Use.CHANGE,
        ("io_uring mkdirat", "m", "/desk"),
        ("io_uring renameat", "made", "/desk"),
        ("io_uring renameat", "m/moved", "/desk"),
        ("io_uring linkat", "m/moved", "/desk"),
        ("io_uring linkat", "/desk/twin", ""),
        ("io_uring symlinkat", "soft", "/desk"),
        ("io_uring unlinkat", "twin", "/desk"),
    ),
]
LOOKS_BY_HANDLE = ("DAC_READ_SEARCH", "SYS_ADMIN")  # Docker's seccomp profile requires these for file handles


@pytest.mark.parametrize(
    ("program", "user", "expected"),
    [
        ("opens", "", OPENS),
        ("no_permission", "1009:1013", NO_PERMISSION),
        ("chroots", "", CHROOTS),
        ("names", "", NAMES),
        ("changes", "", CHANGES),
        ("looks", "", LOOKS),
        ("repeats", "", REPEATS),
        ("interrupted", "", INTERRUPTED),
        ("denied_by_seccomp", "", DENIED_BY_SECCOMP),
        ("sockets", "", SOCKETS),
        ("compat", "", IN_32_BITS),
        ("leaf", "", []),
    ],
)
def test_files(engine: Engine, tag: str, program: str, user: str, expected: list[FileUse]) -> None:
    """Every file use of a program, in order, and nothing else: no file of the runtime."""
    seen = trace(engine, tag, program, launch=Launch(user=user), code=5 if program == "leaf" else 0)
    assert file_uses(seen) == expected
    assert (seen.lost, seen.unreadable, seen.cgroups) == (0, 0, 1)


def test_files_by_descriptor(engine: Engine, tag: str) -> None:
    seen = trace(engine, tag, "descriptors", launch=Launch(cap_add=LOOKS_BY_HANDLE))
    assert file_uses(seen) == DESCRIPTORS
    assert (seen.lost, seen.unreadable) == (0, 0)


@pytest.mark.parametrize(
    ("count", "width", "from_root"),
    [(41, 97, True), (2003, 1, True), (47, 199, False)],
    ids=["long names", "many names", "longer than PATH_MAX"],
)
def test_deep_paths(engine: Engine, tag: str, count: int, width: int, from_root: bool) -> None:
    seen = trace(engine, tag, "deep", str(count), str(width))
    directory = "/deep" + ("/" + "d" * width) * count
    there = [made("f", directory, f"{directory}/f")]
    from_above = [read(f"{directory}/f", "", f"{directory}/f")]
    both = named(Use.CHANGE, ("rename", "f", directory), ("rename", "g", directory))
    found = [use for use in file_uses(seen) if use.call in ("open", "rename")]
    if from_root:
        assert found == there + from_above + both
    else:  # base and file together do not fit: the path is not wrong, but marked as truncated
        assert [(use.asked, use.base, use.truncated) for use in found[:1]] == [("f", directory, True)]
        assert found[1:] == both
    assert seen.lost == 0


def test_more_names_than_the_kernel_follows(engine: Engine, tag: str) -> None:
    """A path with more names than tail calls can walk is reported as truncated, not lost."""
    seen = trace(engine, tag, "deep", "3001", "1")
    found = [use for use in file_uses(seen) if use.call in ("open", "rename")]
    assert [(use.call, use.asked, use.truncated) for use in found] == [
        ("open", "f", True),
        ("rename", "f", True),
        ("rename", "g", True),
    ]
    assert seen.lost == 0


def test_what_is_not_the_images(engine: Engine, tag: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("59\n")
    seen = trace(engine, tag, "foreign", launch=Launch(binds=(f"{tmp_path}:/volume",)))
    volume = next(use.filesystem for use in file_uses(seen) if use.asked == "/volume/file")
    assert volume  # the file system of the host's temporary folder
    assert [
        (use.asked, use.resolved, use.filesystem) for use in file_uses(seen) if "/fd/" not in use.asked
    ] == [
        ("/dev/shm/made", "/dev/shm/made", "tmpfs"),
        ("/volume/file", "/volume/file", volume),
        ("/proc/self/status", "/proc/1/status", "proc"),
        ("/dev/null", "/dev/null", "tmpfs"),
        ("/tree/plain", "/tree/plain", ""),
        ("/desk/gone", "/desk/gone", ""),
        ("/desk/gone", "", ""),  # unlink
        ("/volume", "/volume", volume),
        ("/file", "/volume/file", volume),  # chroot into the volume does not make its files the image's
    ]
    assert all(use.foreign == bool(use.filesystem) for use in file_uses(seen))
    gone = [use for use in file_uses(seen) if use.asked.startswith("/proc/self/fd/")]
    assert [(use.resolved, use.foreign, use.deleted) for use in gone] == [("/desk/gone", False, True)]
    assert [use for use in file_uses(seen) if use.deleted] == gone


def test_two_threads(engine: Engine, tag: str) -> None:
    """The files of the two threads are not mixed up."""
    seen = trace(engine, tag, "threads")
    names = [f"{thread}-{turn}" for thread in "ab" for turn in range(499)]
    expected = {failed(f"/absent/{name}", "", ENOENT) for name in names}
    expected |= {made(f"/desk/{name}", "", f"/desk/{name}") for name in names}
    found = file_uses(seen)
    assert (set(found), len(found)) == (expected, 4 * 499)
    assert len({use.pid for use in seen.uses}) == 1
    assert (len(seen.forks), len(seen.exits)) == (0, 1)  # a thread is no process
    assert {"exit", "exit_group"} <= set(seen.calls_in(Phase.APP).calls)  # neither call returns


def test_forks(engine: Engine, tag: str) -> None:
    seen = trace(engine, tag, "forks")
    first = seen.execs[0].pid
    chain = [first, *(fork.child for fork in seen.forks)]
    assert [fork.pid for fork in seen.forks] == chain[:-1]
    assert (len(seen.forks), len(set(chain))) == (13, 14)
    assert {ended.pid: ended.code for ended in seen.exits} == dict.fromkeys(chain, 7 << 8) | {first: 0}


def test_execs(engine: Engine, tag: str) -> None:
    seen = trace(engine, tag, "execs")
    argv = ("leaf", "", "with space", "\udcff", "new\nline")
    first, *rest = seen.execs
    assert (first.asked, first.binary, first.argv) == ("/bin/execs", "/bin/execs", ("/bin/execs",))

    def ran(asked: str, base: str = "", argv: tuple[str, ...] = argv) -> Exec:
        return Exec(asked, base, "/bin/leaf", 0, first.pid, argv=argv)

    assert (
        [replace(run, pid=0) for run in rest]
        == [
            ran("/bin/leaf"),
            ran("./leaf", "/bin"),
            ran("/tree/leaf"),
            ran("/dev/fd/3"),  # the name that execveat gives a descriptor (fs/exec.c, alloc_bprm)
            ran("/dev/fd/3/leaf"),
            ran("/tree/script", argv=("/bin/leaf", "-x", "/tree/script", *argv[1:])),
            ran("/bin/leaf"),  # from a thread: the pid is the process's
        ]
    )
    assert [run.pid for run in rest] == [fork.child for fork in seen.forks]
    assert {ended.pid: ended.code for ended in seen.exits} == {run.pid: 5 << 8 for run in rest} | {first.pid: 0}
    assert [use for use in file_uses(seen) if use.error] == [
        failed("/bin/absent", "", ENOENT, "execve", Use.EXEC)
    ]


def test_docker_exec_is_told_apart(engine: Engine, tag: str) -> None:
    with watching(engine, tag, ["/bin/nap", "/tree/far"], Launch()) as (container, seen):
        assert engine.exec(container, ["/bin/opens"]).exit_code == 0
        engine.kill(container, "SIGUSR1")
        until(lambda: "opened" in engine.logs(container))
    assert file_uses(seen, Origin.EXEC) == OPENS
    assert file_uses(seen) == [read("/tree/far", "", "/tree/dir/inner")]
    assert [(run.asked, run.origin) for run in seen.execs] == [
        ("/bin/nap", Origin.CONTAINER),
        ("/bin/opens", Origin.EXEC),
    ]
    assert "openat2" in seen.calls_in(Phase.APP, Origin.EXEC).calls
    assert "openat2" not in seen.calls_in(Phase.APP).calls


def cgroup_of(pid: int) -> Path:
    """The cgroup2 directory of a process, wherever cgroup2 is mounted."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    mount = next(fields[1] for fields in mounts if fields[2] == "cgroup2")
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return Path(mount) / next(line for line in lines if line.startswith("0::"))[4:]


def test_a_nested_cgroup_is_followed(engine: Engine, tag: str) -> None:
    with watching(engine, tag, ["/bin/nap", "/tree/plain"], Launch()) as (container, seen):
        pid = engine.state(container).pid
        nested = cgroup_of(pid) / "inner"
        nested.mkdir()
        try:
            until(lambda: "asleep" in engine.logs(container))
            (nested / "cgroup.procs").write_text(str(pid))
            assert cgroup_of(pid) == nested
            os.kill(pid, signal.SIGUSR1)
            until(lambda: "opened" in engine.logs(container))
            engine.stop(container)
        finally:
            engine.kill(container)
            until(lambda: not nested.exists() or not (nested / "cgroup.procs").read_text())
            if nested.exists():
                nested.rmdir()
    assert seen.cgroups == 2
    assert file_uses(seen) == [read("/tree/plain", "", "/tree/plain")]


def test_two_containers_do_not_mix(engine: Engine, tag: str) -> None:
    with (
        watching(engine, tag, ["/bin/nap", "/tree/plain"], Launch()) as (one, seen_of_one),
        watching(engine, tag, ["/bin/nap", "/tree/far"], Launch()) as (two, seen_of_two),
    ):
        for container in (one, two):
            engine.kill(container, "SIGUSR1")
        until(lambda: all("opened" in engine.logs(container) for container in (one, two)))
    assert file_uses(seen_of_one) == [read("/tree/plain", "", "/tree/plain")]
    assert file_uses(seen_of_two) == [read("/tree/far", "", "/tree/dir/inner")]
    assert [len(seen.execs) for seen in (seen_of_one, seen_of_two)] == [1, 1]


def test_listening_sockets(engine: Engine, tag: str) -> None:
    """Also sockets whose port the kernel chose: in bind(2), or, without bind(2), in listen(2) itself."""
    specs = ["127.0.0.1,8017", "0.0.0.0,8039", "::,8053", "127.0.0.53,0", "::,0", "-4", "-6"]
    addresses = ["127.0.0.1", "0.0.0.0", "::", "127.0.0.53", "::", "0.0.0.0", "::"]
    seen = trace(engine, tag, "listens", *specs)
    ports = [int(line) for line in seen.output.split()]
    pid = seen.execs[0].pid
    assert seen.listens == [Listen(port, at, pid) for port, at in zip(ports, addresses, strict=True)]
    assert (ports[:3], min(ports) > 0) == ([8017, 8039, 8053], True)


RARE = {
    "getcpu", "getitimer", "getpriority", "sched_get_priority_max", "sched_getparam", "sched_rr_get_interval",
    "times",
}  # fmt: skip


def test_calls_by_phase(engine: Engine, tag: str) -> None:
    usual = trace(engine, tag, "leaf", code=5)
    seen = trace(engine, tag, "rare")
    assert set(seen.calls_in(Phase.APP).calls) - set(usual.calls_in(Phase.APP).calls) == RARE
    assert not RARE & set(seen.calls_in(Phase.RUNTIME).calls + seen.calls_in(Phase.FILTERED).calls)
    assert not any(found.calls for found in seen.calls if found.origin is Origin.EXEC)
    assert {"pivot_root", "setns", "mount"} & set(seen.calls_in(Phase.RUNTIME).calls)
    assert "execve" in seen.calls_in(Phase.FILTERED).calls  # by runc, behind its filter
    assert not {"pivot_root", "mount", "execve"} & set(seen.calls_in(Phase.APP).calls)


def test_capabilities_by_verdict(engine: Engine, tag: str) -> None:
    seen = trace(engine, tag, "capable")
    (app,) = (
        found for found in seen.capabilities if found.phase is Phase.APP and found.origin is Origin.CONTAINER
    )
    # the kernel checks sys_admin whenever a process maps memory (security/commoncap.c, cap_vm_enough_memory)
    assert (app.granted, app.denied) == (("chown",), ("sys_admin", "sys_nice"))


def test_a_refused_call_is_known(engine: Engine, tag: str) -> None:
    seen = trace(engine, tag, "clone3")
    assert seen.calls_in(Phase.APP).refused == ("clone3",)
    assert "clone3" not in seen.calls_in(Phase.APP).calls  # the filter answers before the tracepoint sys_enter


def test_another_abi_is_not_taken_for_native(engine: Engine, tag: str) -> None:
    """32-bit calls have other numbers: none of them is reported as a native call."""
    usual = trace(engine, tag, "leaf", code=5)
    seen = trace(engine, tag, "compat")
    in_32_bits = {"getgroups", "getpid", "open", "rmdir", "symlink"}
    assert set(seen.calls_in(Phase.APP, abi=Abi.COMPAT).calls) == in_32_bits
    assert set(seen.calls_in(Phase.APP).calls) - set(usual.calls_in(Phase.APP).calls) == {"getpid"}


def test_x32_is_recognised_by_its_number(engine: Engine, tag: str) -> None:
    usual = trace(engine, tag, "leaf", code=5)
    seen = trace(engine, tag, "x32")
    by_number = seen.calls_in(Phase.APP, abi=Abi.X32)
    assert by_number.calls + by_number.refused == ("getpid",)  # refused by a kernel without x32
    assert set(seen.calls_in(Phase.APP).calls) == set(
        usual.calls_in(Phase.APP).calls
    )  # no call of x32 counts as native


def test_sockets(engine: Engine, tag: str) -> None:
    """Each kind of socket is reported once, with its addresses; calls on other files are not."""
    seen = trace(engine, tag, "sockets")

    def socket(family: str, kind: str, protocol: int = 0, call: str = "socket") -> Socket:
        return Socket(call, family, kind, protocol)

    def at(call: str, family: str, kind: str, protocol: int, address: str, port: int, error: int = 0) -> Socket:
        return Socket(call, family, kind, protocol, address, port, error)

    assert [replace(one, pid=0) for one in seen.sockets] == [
        socket("unix", "stream"),
        socket("unix", "seqpacket"),
        socket("unix", "dgram"),
        socket("unix", "stream", call="socketpair"),
        socket("inet", "dgram"),
        at("bind", "inet", "dgram", 17, "127.0.0.1", 8017),
        socket("inet", "dgram", 17),
        at("sendto", "inet", "dgram", 17, "127.0.0.1", 8017),
        at("connect", "inet", "dgram", 17, "127.0.0.1", 8017),
        socket("inet", "stream"),
        at("connect", "inet", "stream", 6, "127.0.0.1", 8017, ECONNREFUSED),
        socket("inet6", "dgram"),
        at("bind", "inet6", "dgram", 17, "::", 8039),
        socket("netlink", "raw"),
    ]


def test_io_uring(engine: Engine, tag: str) -> None:
    seen = trace(engine, tag, "io_uring")
    assert (file_uses(seen), seen.lost, seen.unreadable) == (IO_URING, 0, 0)
    operations = (
        "connect", "linkat", "mkdirat", "nop", "openat", "renameat", "statx", "symlinkat", "unlinkat",
    )  # fmt: skip
    assert seen.calls_in(Phase.APP, abi=Abi.IO_URING).calls == operations
    assert {"io_uring_setup", "io_uring_enter"} <= set(seen.calls_in(Phase.APP).calls)
    assert "exit" not in seen.calls_in(Phase.APP).calls  # io_uring's kernel threads end too, and must not count


def test_each_program_has_its_own_uses(engine: Engine, tag: str) -> None:
    """A file that two programs use is two facts; one that two processes of a program use is one."""
    with watching(engine, tag, ["/bin/nap", "/tree/plain"], Launch()) as (container, seen):
        assert engine.exec(container, ["/bin/repeats"]).exit_code == 0
        assert engine.exec(container, ["/bin/repeats"]).exit_code == 0
        assert engine.exec(container, ["/bin/opens"]).exit_code == 0
        engine.kill(container, "SIGUSR1")
        until(lambda: "opened" in engine.logs(container))
    users = [use.program for use in seen.uses if use.asked == "/tree/plain"]
    assert list(dict.fromkeys(users)) == ["/bin/repeats", "/bin/opens", "/bin/nap"]
    assert users.count("/bin/repeats") == 1


FILES, PROCESSES = 50_021, 8
# cgroup, exec, the C library's readlink; a fork and an exit for each process, and the first one's exit
OTHER_RECORDS = 3 + 2 * PROCESSES + 1


def test_a_storm_is_recorded_whole(engine: Engine, tag: str) -> None:
    seen = trace(engine, tag, "storm", str(FILES), str(PROCESSES))
    names = {use.asked for use in file_uses(seen)}
    assert seen.events + seen.lost == FILES + OTHER_RECORDS
    assert (seen.lost, len(names)) == (0, FILES)
    seconds = seen.last - seen.first
    print(f"{seen.events} events in {seconds:.2f} s: {seen.events / seconds:,.0f} a second")


def test_what_is_lost_is_counted(engine: Engine, tag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a ring buffer of one page the reader cannot keep up: each record arrives or is counted as lost."""
    monkeypatch.setattr(programs, "RING_BYTES", mmap.PAGESIZE)
    seen = trace(engine, tag, "storm", str(FILES), str(PROCESSES))
    assert seen.lost > 0
    assert seen.events + seen.lost == FILES + OTHER_RECORDS
    print(f"{seen.lost} of {FILES + OTHER_RECORDS} records lost with a ring of {mmap.PAGESIZE} bytes")


def test_watching_ends_while_the_container_floods(engine: Engine, tag: str) -> None:
    seconds = 20
    watched = Probes(lambda _: None)
    try:
        container = engine.create(tag, Launch(entrypoint=("/bin/flood", str(seconds))))
        watched.arm(container)
        watched.start()
        engine.start(container)
        until(lambda: bool(watched.program_calls()))
        time.sleep(0.5)
        begun = time.monotonic()
        watched.drain()
        assert time.monotonic() - begun < seconds / 2
        assert engine.state(container).running
    finally:
        watched.close()
        engine.remove(container)


def test_an_error_of_the_reader_is_raised(engine: Engine, tag: str) -> None:
    def fail(_: bytes) -> None:
        raise ValueError("a prime was expected")

    with Probes(fail) as loaded:
        container = engine.create(tag)
        try:
            loaded.arm(container)
            loaded.start()
            engine.start(container)
            assert engine.wait(container, 30) == 5
        finally:
            engine.remove(container)
        with pytest.raises(SlimtraceError, match="cannot read the trace: ValueError"):
            loaded.drain()


def test_probes_are_closed_twice_without_harm() -> None:
    before = threading.active_count()
    loaded = Probes(lambda record: None)
    loaded.start()
    loaded.close()
    loaded.close()
    assert threading.active_count() == before


def test_a_container_id_too_short_is_refused() -> None:
    with Probes(lambda record: None) as loaded, pytest.raises(ValueError, match="too short"):
        loaded.arm("0123456789")


@pytest.mark.parametrize(
    ("kind", "name", "works"),
    [
        ("import", "", True),
        ("raw_tracepoint", "sys_enter", True),
        ("raw_tracepoint", "no_such_tracepoint", False),
        ("ring_buffer", "", True),
    ],
)
def test_trying_a_program(kind: str, name: str, works: bool, capfd: pytest.CaptureFixture[str]) -> None:
    assert (feature_programs.try_program(kind, name) == "") is works
    assert capfd.readouterr().err == ""
