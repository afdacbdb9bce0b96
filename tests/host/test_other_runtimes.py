"""`slimtrace record --cgroup`: containers that runc and crun start without an engine."""

import contextlib
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from workloads.harness import pack_image

from slimtrace.facts.events import Origin, Phase, Use
from slimtrace.observe.container import attach
from slimtrace.observe.container.plan import Until
from slimtrace.observe.recorder import Outcome, Recorder
from slimtrace.reason.confine.seccomp.margin import MARGIN

pytestmark = pytest.mark.requires("bpf", "cc", "docker")

SECONDS = 30.0
RUNTIMES = [pytest.param(name, marks=pytest.mark.requires(name)) for name in ("runc", "crun")]
NAMESPACES = ("pid", "mount", "ipc", "uts", "network")
SECCOMP = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system with the workloads."""
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "rootfs").mkdir()
    subprocess.run(["tar", "-xf", pack_image(folder), "-C", folder / "rootfs"], check=True)
    return folder / "rootfs"


@pytest.fixture
def cgroup(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty cgroup."""
    folder = attach.cgroup_mount() / f"slimtrace-test-{abs(hash(request.node.name)) % 10**6}"
    folder.mkdir()
    yield folder
    for nested in (*sorted(folder.glob("*/")), folder):
        with contextlib.suppress(OSError):
            nested.rmdir()
    assert not folder.exists()


def call_runtime(runtime: str, root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Call the runtime with these words."""
    command = [runtime, "--root", str(root.parent / "state"), *words]
    if attach.cgroup_mount() != Path(
        "/sys/fs/cgroup"
    ):  # hybrid hierarchy: only the engine's mount namespace has cgroup2 at /sys/fs/cgroup
        engine = Path("/var/run/docker.pid").read_text().strip()
        command = ["nsenter", "--target", engine, "--mount", *command]
    # A file, not a pipe: a detached container would keep the pipe open.
    with (root.parent / "said").open("w+") as said:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=SECONDS, check=False
        )
        said.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, stderr=said.read())


def run_container(
    runtime: str, root: Path, cgroup: Path, *args: str, options: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """`runtime run` of a container with the command `args`, in a new cgroup below `cgroup`."""
    mounts = [{"destination": "/proc", "type": "proc", "source": "proc"}]
    mounts += [{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}]
    config = {
        "ociVersion": "1.0.2",
        "process": {"args": args, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}},
        "root": {"path": str(root)},
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": name} for name in NAMESPACES],
            "cgroupsPath": f"/{cgroup.name}/inner",
            "seccomp": SECCOMP,
        },
    }
    (root.parent / "config.json").write_text(json.dumps(config))
    return call_runtime(runtime, root, "run", *options, "--bundle", str(root.parent), cgroup.name)


def record_cgroup(cgroup: Path, run: Callable[[], None]) -> Outcome:
    """The outcome of a recording of the cgroup: it is attached before `run` starts a container there, and lasts
    until the container has ended."""
    recorder, ready, outcomes = Recorder(), threading.Event(), []
    target = attach.target_at_path(str(cgroup))

    def watch() -> None:
        outcomes.append(recorder.watch(target, Until("exit"), threading.Event(), lambda _: ready.set()))

    try:
        recorder.load()
        thread = threading.Thread(target=watch)
        thread.start()
        assert ready.wait(SECONDS)
        run()
        thread.join(SECONDS)
    finally:
        recorder.close()
    return outcomes[0]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_container_is_seen_from_its_start(runtime: str, root: Path, cgroup: Path) -> None:
    assert shutil.which(runtime)

    def run() -> None:
        ended = run_container(runtime, root, cgroup, "/bin/repeats")
        assert ended.returncode == 0, ended.stderr

    trace = record_cgroup(cgroup, run).trace
    assert [(run.asked, run.origin) for run in trace.execs] == [("/bin/repeats", Origin.CONTAINER)]
    assert {(use.use, use.asked, use.resolved) for use in trace.uses if not use.asked.startswith("/proc")} == {
        (Use.READ, "/tree/plain", "/tree/plain"),
        (Use.READ, "/tree/dir/inner", "/tree/dir/inner"),
        (Use.READ, "/tree/link/inner", "/tree/dir/inner"),
        (Use.READ, "/tree/far", "/tree/dir/inner"),
    }
    calls = {(group.phase, group.origin): set(group.calls) for group in trace.calls if not group.abi}
    assert {"mount", "pivot_root"} & calls[Phase.RUNTIME, Origin.CONTAINER]
    assert {"execve", "execveat"} & calls[Phase.FILTERED, Origin.CONTAINER]
    assert "mount" not in calls[Phase.APP, Origin.CONTAINER]
    assert not calls[Phase.APP, Origin.EXEC]
    assert {mount.path: mount.filesystem for mount in trace.mounts}["/proc"] in ("proc", "")
    assert (trace.lost, trace.doubts) == (0, ())


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_empty_program_shows_what_an_exec_calls_behind_the_filter(
    runtime: str, root: Path, cgroup: Path
) -> None:
    """The exec of an empty program, as observe/container/exec_footprint.py makes it, and that of a real program
    cause the same system calls behind the filter."""
    (root / "mark").touch(mode=0o755)
    found = []
    for program, codes in (("/mark", (1, 126, 255)), ("/bin/leaf", (5,))):

        def run(program: str = program, codes: tuple[int, ...] = codes) -> None:
            ended = run_container(runtime, root, cgroup, "/bin/nap", options=("--detach",))
            assert ended.returncode == 0, ended.stderr
            done = call_runtime(runtime, root, "exec", cgroup.name, program)
            call_runtime(runtime, root, "delete", "--force", cgroup.name)
            assert done.returncode in codes, done.stderr

        trace = record_cgroup(cgroup, run).trace
        calls = {(group.phase, group.origin): set(group.calls) for group in trace.calls if not group.abi}
        assert bool(calls[Phase.APP, Origin.EXEC]) is (program == "/bin/leaf")
        assert "capset" in calls[Phase.FILTERED, Origin.EXEC]
        found.append(calls[Phase.FILTERED, Origin.EXEC] - MARGIN.keys())
    assert found[0] == found[1]
