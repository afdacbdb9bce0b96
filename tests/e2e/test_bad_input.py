"""Bad input, a missing feature of the machine, a full disk: each gives an error with its own exit code and a
hint, and the failed build leaves nothing behind."""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from builds import PROGRAM
from containers import docker
from sandbox import RunningBuild, Sandbox, leftovers, volumes

from slimtrace.engine import EngineInfo
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.pipeline import require_cgroup2

BTF = "/sys/kernel/btf/vmlinux"
HURRY = ("--env", "HURRY=1")  # without it tests/images/unhurried waits before it listens


@pytest.fixture
def sandbox(tmp_path: Path, name_for_slim: Callable[[str], str]) -> Sandbox:
    return Sandbox(tmp_path, name_for_slim("bad"))


@pytest.fixture
def taken_sandbox(sandbox: Sandbox, image: Callable[[str], str]) -> Sandbox:
    """A sandbox whose slim name another image has already."""
    docker("tag", image("never-listens"), sandbox.slim)
    return replace(sandbox, before=docker("images", "--quiet", "--no-trunc", sandbox.slim))


def complaint(build: RunningBuild) -> str:
    """The lines of the error on stderr, without the progress lines before them."""
    assert "Traceback" not in build.stderr
    assert build.stdout == ""
    _, begin, said = build.stderr.rpartition("slimtrace: cannot ")
    assert begin, build.stderr
    return begin + said


@dataclass(frozen=True)
class BadBuild:
    """A build that cannot work, and the error that is expected. `image` is the name of a recipe, `name` an
    image name to be used as it is; `says` and `hint` are regular expressions for the lines of the error."""

    exit: Exit
    says: str
    hint: str = r".+"
    image: str = "never-listens"
    name: str | None = None
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


CASES = {
    # the image
    "no such image": BadBuild(
        Exit.NO_IMAGE, "find the image 'nobody/has:this'", r"docker pull .*", name="nobody/has:this"
    ),
    "malformed image": BadBuild(
        Exit.NO_IMAGE, "inspect the image 'BAD name': .*no image name", name="BAD name"
    ),
    "no name at all": BadBuild(Exit.USAGE, "build nothing", name=""),
    # the engine
    "no engine": BadBuild(
        Exit.ENGINE,
        "reach the container engine: it is not running",
        r"start it .*DOCKER_HOST",
        environment={"DOCKER_HOST": "unix:///nonexistent"},
    ),
    "no such engine": BadBuild(
        Exit.ENGINE, "reach the container engine: .*", environment={"DOCKER_HOST": "teapot://x"}
    ),
    # the container
    "entrypoint that is not there": BadBuild(
        Exit.START_FAILED, r'start the container: .*/bin/nothing-here.*', image="broken-entrypoint"
    ),
    "user that is not there": BadBuild(
        Exit.START_FAILED, "start the container: .*nobody-at-all.*", options=("--user", "nobody-at-all")
    ),
    "fails at once": BadBuild(
        Exit.CRASHED,
        "slim slimtrace-test/exits-3:1: its container ended by itself with exit code 3",
        r".*--env.*\nits last lines:\n  fail: no configuration",
        image="exits-3",
    ),
    "fails after it has listened and answered": BadBuild(
        Exit.CRASHED,
        "slim .*: its container ended by itself with exit code 1",
        r".*\nits last lines:\n  server: out of luck",
        image="crashes-later",
    ),
    "fails though only seconds were asked for": BadBuild(
        Exit.CRASHED,
        "slim .*: its container ended by itself with exit code 1",
        r".*\nits last lines:\n  server: out of luck",
        image="crashes-later",
        options=("--continue-after", "30"),
    ),
    "never listens": BadBuild(
        Exit.NEVER_READY,
        "exercise .*: nothing listened on port 8080 within 2 s",
        r"--ready-timeout .*",
        options=("--ready-timeout", "2"),
    ),
    # the commands that drive the container
    "host command fails": BadBuild(
        Exit.EXERCISE_FAILED,
        "drive the container: --host-exec 'echo no luck; false' ended with 1",
        "it said: no luck",
        image="unhurried",
        options=(*HURRY, "--host-exec", "echo no luck; false"),
    ),
    "command fails": BadBuild(
        Exit.EXERCISE_FAILED,
        "drive the container: --exec '/bin/nothing-here now' ended with 12[67]",
        r"it said: .*no such file.*",
        image="unhurried",
        options=(*HURRY, "--exec", "/bin/nothing-here now"),
    ),
    # the command line
    "unknown option": BadBuild(
        Exit.USAGE, "understand the command: .*--frobnicate.*", r".*--help.*", options=("--frobnicate",)
    ),
    "no number": BadBuild(
        Exit.USAGE,
        "understand the command: .*--stop-timeout.*",
        r".*--help.*",
        options=("--stop-timeout", "soon"),
    ),
    "nonsense to continue after": BadBuild(
        Exit.USAGE, "continue after 'never'", r"say probe, exit, .*", options=("--continue-after", "never")
    ),
    "negative seconds": BadBuild(
        Exit.USAGE, "continue after '-1'", r"say probe, exit, .*", options=("--continue-after", "-1")
    ),
    "variable without a name": BadBuild(
        Exit.USAGE, "set the variable '=x'", r".*NAME=VALUE", options=("--env", "=x")
    ),
    "quote left open in --cmd": BadBuild(
        Exit.USAGE, "read --cmd \"'x\": .*", "close it", options=("--cmd", "'x")
    ),
    "quote left open in --exec": BadBuild(
        Exit.USAGE, "read --exec \"'x\": .*", "close it", options=("--exec", "'x")
    ),
    "empty --exec": BadBuild(Exit.USAGE, "run an empty --exec", options=("--exec", " ")),
    "malformed tag": BadBuild(
        Exit.USAGE, "name the slim image 'NO tag': that is no image name", options=("--tag", "NO tag")
    ),
    "measure that is none": BadBuild(
        Exit.USAGE, "leave out 'luck'", r"say seccomp, .*", options=("--without", "luck")
    ),
    "action that is none": BadBuild(
        Exit.USAGE,
        "answer refused calls by 'shout'",
        "say errno, kill, log",
        options=("--seccomp-action", "shout"),
    ),
    "share above all": BadBuild(
        Exit.USAGE, "understand the command: .*--tolerance.*", r".*--help.*", options=("--tolerance", "2")
    ),
    # the folder of artifacts
    "artifacts where nothing can be made": BadBuild(
        Exit.BAD_INPUT, "write the artifacts /proc/x: .*", options=("--artifacts", "/proc/x")
    ),
    "artifacts below a file": BadBuild(
        Exit.BAD_INPUT,
        "write the artifacts /etc/passwd/x: Not a directory",
        options=("--artifacts", "/etc/passwd/x"),
    ),
    "artifacts among other files": BadBuild(
        Exit.BAD_INPUT, "write the artifacts /etc: it holds other files .*", options=("--artifacts", "/etc")
    ),
    "artifacts in the root": BadBuild(
        Exit.BAD_INPUT, "write the artifacts /: it is not a folder of its own", options=("--artifacts", "/")
    ),
}  # fmt: skip


def assert_refused(build: RunningBuild, sandbox: Sandbox, bad: BadBuild) -> None:
    code = build.wait()
    said = complaint(build)
    assert code == bad.exit, build.stderr
    assert re.fullmatch(rf"slimtrace: cannot {bad.says}\n(hint: {bad.hint}\n)?", said), said
    if bad.hint != r".+":
        assert "\nhint: " in said
    assert leftovers(sandbox, build) == []


@pytest.mark.parametrize("case", CASES)
def test_refused(case: str, sandbox: Sandbox, image: Callable[[str], str]) -> None:
    bad = CASES[case]
    before = volumes("of-unhurried")
    name = image(bad.image) if bad.name is None else bad.name
    build = sandbox.start(sandbox.command(name, *bad.options), **bad.environment)
    assert_refused(build, sandbox, bad)
    if bad.image == "unhurried":
        assert volumes("of-unhurried") <= before


def test_every_way_to_fail_is_tried() -> None:
    tried = {bad.exit for bad in CASES.values()}
    elsewhere = {
        Exit.OK, Exit.NOT_ROOT, Exit.KERNEL, Exit.NO_SPACE, Exit.INTERRUPTED, Exit.TERMINATED,
        Exit.INTERNAL,  # a defect: not to be had by input
        Exit.DOUBTFUL, Exit.NOT_KEPT,  # these are not failures
        Exit.UNVERIFIED,  # test_proof
    }  # fmt: skip
    assert tried | elsewhere == set(Exit)


# The machine


AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


@pytest.fixture
def nobody(sandbox: Sandbox) -> list[str]:
    """The command prefix that runs a command as the user nobody."""
    sandbox.folder.chmod(0o755)
    if subprocess.run([*AS_NOBODY, PROGRAM, "--version"], capture_output=True, check=False).returncode:
        pytest.skip("the checkout is in a folder that other users cannot read")
    return AS_NOBODY


def test_not_root(sandbox: Sandbox, image: Callable[[str], str], nobody: list[str]) -> None:
    build = sandbox.start([*nobody, *sandbox.command(image("never-listens"))])
    assert_refused(build, sandbox, BadBuild(Exit.NOT_ROOT, "trace without root", "run it with sudo"))


def test_info_needs_no_root_but_the_engine_s_socket(
    sandbox: Sandbox, image: Callable[[str], str], nobody: list[str]
) -> None:
    socket = Path("/var/run/docker.sock")
    if not socket.is_socket() or "DOCKER_HOST" in os.environ:
        pytest.skip("the engine listens elsewhere")
    command = [PROGRAM, "info", image("never-listens")]
    refused = sandbox.start([*nobody, *command])
    assert refused.wait() == Exit.ENGINE
    assert complaint(refused) == (
        "slimtrace: cannot reach the container engine: permission denied\nhint: run slimtrace with sudo\n"
    )
    as_member = ["setpriv", "--reuid=nobody", "--regid", str(socket.stat().st_gid), "--clear-groups"]
    assert stat.S_IMODE(socket.stat().st_mode) & 0o060 == 0o060
    answered = sandbox.start([*as_member, *command])
    assert answered.wait() == Exit.OK
    assert 'ENTRYPOINT ["/bin/sleeper"]' in answered.stdout


def test_no_bcc(sandbox: Sandbox, image: Callable[[str], str]) -> None:
    fake = sandbox.folder / "modules" / "bcc"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text("raise ImportError('no libbcc here')\n")
    build = sandbox.start(sandbox.command(image("never-listens")), PYTHONPATH=str(fake.parent))
    assert_refused(build, sandbox, BadBuild(Exit.KERNEL, "load bcc: no libbcc here", r".*python3-bpfcc.*"))


def test_no_btf(sandbox: Sandbox, image: Callable[[str], str]) -> None:
    hidden = ["unshare", "--mount", "sh", "-c", f'mount --bind /dev/null {BTF} && exec "$@"', "sh"]
    build = sandbox.start([*hidden, *sandbox.command(image("never-listens"))])
    bad = BadBuild(Exit.KERNEL, f"read the kernel's type information {BTF}: .*", r".*CONFIG_DEBUG_INFO_BTF=y.*")
    assert_refused(build, sandbox, bad)


@pytest.mark.parametrize("version", ["1", ""])
def test_an_engine_that_says_cgroup_v1(version: str) -> None:
    # No second daemon on cgroup v1 is started for this: with --bridge=none it would remove docker0 of the
    # daemon that runs.
    said = EngineInfo("20.10", "1.41", "overlay2", version, "cgroupfs", ("runc",), (), "/var/lib/docker")
    with pytest.raises(SlimtraceError, match="cannot trace: the container engine uses cgroup v1") as refused:
        require_cgroup2(said)
    assert refused.value.exit_code is Exit.KERNEL
    assert "unified_cgroup_hierarchy=1" in refused.value.hint
    require_cgroup2(replace(said, cgroup_version="2"))


# Disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[Path, str], None]]:
    """small_disk(path, "size=8k") mounts a tmpfs of that size there; it is unmounted at the end."""
    mounted: list[Path] = []

    def mount(place: Path, options: str) -> None:
        place.mkdir(parents=True, mode=0o755)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=0755,{options}", "tmpfs", str(place)], check=True)
        mounted.append(place)

    yield mount
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


def assert_no_room(build: RunningBuild, says: str, hint: str) -> None:
    assert build.wait() == Exit.NO_SPACE, build.stderr
    assert re.fullmatch(rf"slimtrace: cannot {says}\nhint: {hint}\n", complaint(build)), build.stderr


def test_no_room_for_the_slim_image(
    taken_sandbox: Sandbox, image: Callable[[str], str], small_disk: Callable[[Path, str], None]
) -> None:
    elsewhere = replace(taken_sandbox, folder=taken_sandbox.folder / "x")
    small_disk(elsewhere.state, "size=40m")
    build = elsewhere.start(elsewhere.command(image("unhurried")))
    assert_no_room(build, r"work in .*: \d+ MiB are needed, \d+ MiB are free", r".*SLIMTRACE_STATE.*")
    left = [line for line in leftovers(elsewhere, build) if not line.startswith("tmpfs ")]
    assert left == []


def test_no_room_for_the_work_directory(
    taken_sandbox: Sandbox, image: Callable[[str], str], small_disk: Callable[[Path, str], None]
) -> None:
    elsewhere = replace(taken_sandbox, folder=taken_sandbox.folder / "x")
    small_disk(elsewhere.state, "nr_inodes=2")
    build = elsewhere.start(elsewhere.command(image("never-listens")))
    assert_no_room(build, r"make the work directory .*: No space left on device", r".*SLIMTRACE_STATE.*")
    left = [line for line in leftovers(elsewhere, build) if not line.startswith("tmpfs ")]
    assert left == []


def test_no_room_for_the_artifacts(
    taken_sandbox: Sandbox, image: Callable[[str], str], small_disk: Callable[[Path, str], None]
) -> None:
    # The slim image is loaded by then: its name has to be given back to the image that had it before.
    small_disk(taken_sandbox.artifacts.parent, "size=8k")
    build = taken_sandbox.start(taken_sandbox.command(image("unhurried"), *HURRY))
    assert_no_room(build, r"write the artifacts .*: No space left on device", r".*--artifacts")
    assert leftovers(taken_sandbox, build) == []


# What goes wrong during the build


SPOILED = {
    "is a symlink": "ln -s /etc {folder}",
    "is a file": "touch {folder}",
    "holds foreign files": "mkdir {folder} && touch {folder}/mine",
}


@pytest.mark.parametrize("how", SPOILED)
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_folder_that_is_not_ours(
    how: str, when: str, taken_sandbox: Sandbox, image: Callable[[str], str]
) -> None:
    spoil = SPOILED[how].format(folder=taken_sandbox.artifacts)
    taken_sandbox.artifacts.parent.mkdir()
    options = [*HURRY, "--host-exec", spoil] if when == "meanwhile" else []
    if when == "before":
        subprocess.run(["sh", "-c", spoil], check=True)
    build = taken_sandbox.start(taken_sandbox.command(image("unhurried"), *options))
    assert build.wait() == Exit.BAD_INPUT
    assert complaint(build).startswith(f"slimtrace: cannot write the artifacts {taken_sandbox.artifacts}: it ")
    assert ("port 8080 listens" in build.stderr) == (
        when == "meanwhile"
    )  # a folder that is wrong from the start is refused before the container runs
    found = sorted(path for path in taken_sandbox.artifacts.parent.rglob("*"))
    assert found == [
        taken_sandbox.artifacts,
        *([taken_sandbox.artifacts / "mine"] if how == "holds foreign files" else []),
    ]
    assert leftovers(taken_sandbox, build) == [str(taken_sandbox.artifacts)]


def test_the_engine_goes_away(sandbox: Sandbox, image: Callable[[str], str]) -> None:
    # A proxy that is killed in the middle of the run; the daemon itself stays.
    proxy = subprocess.Popen(
        [sys.executable, "-c", PROXY, str(sandbox.folder / "proxy")], stdout=subprocess.PIPE
    )
    assert proxy.stdout is not None
    assert proxy.stdout.readline() == b"ready\n"
    options = (*HURRY, "--host-exec", f"kill -9 {proxy.pid}")
    build = sandbox.start(
        sandbox.command(image("unhurried"), *options), DOCKER_HOST=f"unix://{sandbox.folder}/proxy"
    )
    assert build.wait() == Exit.ENGINE, build.stderr
    proxy.wait()
    complaint(build)
    # The container could not be removed without the engine; the next run removes it.
    again = sandbox.start(sandbox.command("nobody/has:this"))
    assert again.wait() == Exit.NO_IMAGE
    assert leftovers(sandbox, build) == []


PROXY = """
import socket, sys, threading
def carry(source, target):
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
with socket.socket(socket.AF_UNIX) as server:
    server.bind(sys.argv[1])
    server.listen()
    print("ready", flush=True)
    while True:
        ours, _ = server.accept()
        theirs = socket.socket(socket.AF_UNIX)
        theirs.connect("/var/run/docker.sock")
        threading.Thread(target=carry, args=(ours, theirs), daemon=True).start()
        threading.Thread(target=carry, args=(theirs, ours), daemon=True).start()
"""
