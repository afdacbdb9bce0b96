"""Whatever is wrong: a clear error with its own exit code and a hint, and nothing is left behind."""

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
from remains import Corner, Running, remains, volumes

from slimtrace.engine import EngineInfo
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.pipeline import require_cgroup2

BTF = "/sys/kernel/btf/vmlinux"
HURRY = ("--env", "HURRY=1")  # tests/images/unhurried then is like any other


@pytest.fixture
def corner(tmp_path: Path, name_for_slim: Callable[[str], str]) -> Corner:
    return Corner(tmp_path, name_for_slim("bad"))


@pytest.fixture
def taken(corner: Corner, image: Callable[[str], str]) -> Corner:
    """A corner whose slim name belongs to another image already."""
    docker("tag", image("never-listens"), corner.slim)
    return replace(corner, before=docker("images", "--quiet", "--no-trunc", corner.slim))


def complaint(build: Running) -> str:
    """The error's lines, behind those of the progress."""
    assert "Traceback" not in build.stderr
    assert build.stdout == ""
    _, begin, said = build.stderr.rpartition("slimtrace: cannot ")
    assert begin, build.stderr
    return begin + said


@dataclass(frozen=True)
class Bad:
    """A build that cannot work: the image (a recipe's name, or `name` as it is), options, environment; and the
    exit code and the lines that it ends with, as regular expressions."""

    exit: Exit
    says: str
    hint: str = r".+"
    image: str = "never-listens"
    name: str | None = None
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


CASES = {
    # the image
    "no such image": Bad(
        Exit.NO_IMAGE, "find the image 'nobody/has:this'", r"docker pull .*", name="nobody/has:this"
    ),
    "malformed image": Bad(Exit.NO_IMAGE, "inspect the image 'BAD name': .*no image name", name="BAD name"),
    "no name at all": Bad(Exit.USAGE, "build nothing", name=""),
    # the engine
    "no engine": Bad(
        Exit.ENGINE,
        "reach the container engine: it is not running",
        r"start it .*DOCKER_HOST",
        environment={"DOCKER_HOST": "unix:///nonexistent"},
    ),
    "no such engine": Bad(
        Exit.ENGINE, "reach the container engine: .*", environment={"DOCKER_HOST": "teapot://x"}
    ),
    # the container
    "entrypoint that is not there": Bad(
        Exit.START_FAILED, r'start the container: .*/bin/nothing-here.*', image="broken-entrypoint"
    ),
    "user that is not there": Bad(
        Exit.START_FAILED, "start the container: .*nobody-at-all.*", options=("--user", "nobody-at-all")
    ),
    "fails at once": Bad(
        Exit.CRASHED,
        "slim slimtrace-test/exits-3:1: its container ended by itself with exit code 3",
        r".*--env.*\nits last lines:\n  fail: no configuration",
        image="exits-3",
    ),
    "fails after it has listened and answered": Bad(
        Exit.CRASHED,
        "slim .*: its container ended by itself with exit code 1",
        r".*\nits last lines:\n  server: out of luck",
        image="crashes-later",
    ),
    "fails though only seconds were asked for": Bad(
        Exit.CRASHED,
        "slim .*: its container ended by itself with exit code 1",
        r".*\nits last lines:\n  server: out of luck",
        image="crashes-later",
        options=("--continue-after", "30"),
    ),
    "never listens": Bad(
        Exit.NEVER_READY,
        "exercise .*: nothing listened on port 8080 within 2 s",
        r"--ready-timeout .*",
        options=("--ready-timeout", "2"),
    ),
    # what is to drive it
    "host command fails": Bad(
        Exit.EXERCISE_FAILED,
        "drive the container: --host-exec 'echo no luck; false' ended with 1",
        "it said: no luck",
        image="unhurried",
        options=(*HURRY, "--host-exec", "echo no luck; false"),
    ),
    "command fails": Bad(
        Exit.EXERCISE_FAILED,
        "drive the container: --exec '/bin/nothing-here now' ended with 12[67]",
        r"it said: .*no such file.*",
        image="unhurried",
        options=(*HURRY, "--exec", "/bin/nothing-here now"),
    ),
    # the command line
    "unknown option": Bad(
        Exit.USAGE, "understand the command: .*--frobnicate.*", r".*--help.*", options=("--frobnicate",)
    ),
    "no number": Bad(
        Exit.USAGE,
        "understand the command: .*--stop-timeout.*",
        r".*--help.*",
        options=("--stop-timeout", "soon"),
    ),
    "nonsense to continue after": Bad(
        Exit.USAGE, "continue after 'never'", r"say probe, exit, .*", options=("--continue-after", "never")
    ),
    "negative seconds": Bad(
        Exit.USAGE, "continue after '-1'", r"say probe, exit, .*", options=("--continue-after", "-1")
    ),
    "variable without a name": Bad(
        Exit.USAGE, "set the variable '=x'", r".*NAME=VALUE", options=("--env", "=x")
    ),
    "quote left open in --cmd": Bad(Exit.USAGE, "read --cmd \"'x\": .*", "close it", options=("--cmd", "'x")),
    "quote left open in --exec": Bad(
        Exit.USAGE, "read --exec \"'x\": .*", "close it", options=("--exec", "'x")
    ),
    "empty --exec": Bad(Exit.USAGE, "run an empty --exec", options=("--exec", " ")),
    "malformed tag": Bad(
        Exit.USAGE, "name the slim image 'NO tag': that is no image name", options=("--tag", "NO tag")
    ),
    "measure that is none": Bad(
        Exit.USAGE, "leave out 'luck'", r"say seccomp, .*", options=("--without", "luck")
    ),
    "action that is none": Bad(
        Exit.USAGE,
        "answer refused calls by 'shout'",
        "say errno, kill, log",
        options=("--seccomp-action", "shout"),
    ),
    "share above all": Bad(
        Exit.USAGE, "understand the command: .*--tolerance.*", r".*--help.*", options=("--tolerance", "2")
    ),
    # the folder of artifacts
    "artifacts where nothing can be made": Bad(
        Exit.BAD_INPUT, "write the artifacts /proc/x: .*", options=("--artifacts", "/proc/x")
    ),
    "artifacts below a file": Bad(
        Exit.BAD_INPUT,
        "write the artifacts /etc/passwd/x: Not a directory",
        options=("--artifacts", "/etc/passwd/x"),
    ),
    "artifacts among other files": Bad(
        Exit.BAD_INPUT, "write the artifacts /etc: it holds other files .*", options=("--artifacts", "/etc")
    ),
    "artifacts in the root": Bad(
        Exit.BAD_INPUT, "write the artifacts /: it is not a folder of its own", options=("--artifacts", "/")
    ),
}  # fmt: skip


def assert_refused(build: Running, corner: Corner, bad: Bad) -> None:
    code = build.wait()
    said = complaint(build)
    assert code == bad.exit, build.stderr
    assert re.fullmatch(rf"slimtrace: cannot {bad.says}\n(hint: {bad.hint}\n)?", said), said
    if bad.hint != r".+":
        assert "\nhint: " in said
    assert remains(corner, build) == []


@pytest.mark.parametrize("case", CASES)
def test_refused(case: str, corner: Corner, image: Callable[[str], str]) -> None:
    bad = CASES[case]
    before = volumes("of-unhurried")
    name = image(bad.image) if bad.name is None else bad.name
    build = corner.start(corner.command(name, *bad.options), **bad.environment)
    assert_refused(build, corner, bad)
    if bad.image == "unhurried":
        assert volumes("of-unhurried") <= before


def test_every_way_to_fail_is_tried() -> None:
    tried = {bad.exit for bad in CASES.values()}
    elsewhere = {
        Exit.OK, Exit.NOT_ROOT, Exit.KERNEL, Exit.NO_SPACE, Exit.INTERRUPTED, Exit.TERMINATED,
        Exit.INTERNAL,  # a defect: not to be had by input
        Exit.DOUBTFUL, Exit.NOT_KEPT,  # no failures
        Exit.UNVERIFIED,  # test_proof
    }  # fmt: skip
    assert tried | elsewhere == set(Exit)


# The machine


AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


@pytest.fixture
def nobody(corner: Corner) -> list[str]:
    """What makes a command run as a user without rights."""
    corner.folder.chmod(0o755)
    if subprocess.run([*AS_NOBODY, PROGRAM, "--version"], capture_output=True, check=False).returncode:
        pytest.skip("the checkout is in a folder that other users cannot read")
    return AS_NOBODY


def test_not_root(corner: Corner, image: Callable[[str], str], nobody: list[str]) -> None:
    build = corner.start([*nobody, *corner.command(image("never-listens"))])
    assert_refused(build, corner, Bad(Exit.NOT_ROOT, "trace without root", "run it with sudo"))


def test_info_needs_no_root_but_the_engine_s_socket(
    corner: Corner, image: Callable[[str], str], nobody: list[str]
) -> None:
    socket = Path("/var/run/docker.sock")
    if not socket.is_socket() or "DOCKER_HOST" in os.environ:
        pytest.skip("the engine listens elsewhere")
    command = [PROGRAM, "info", image("never-listens")]
    refused = corner.start([*nobody, *command])
    assert refused.wait() == Exit.ENGINE
    assert complaint(refused) == (
        "slimtrace: cannot reach the container engine: permission denied\nhint: run slimtrace with sudo\n"
    )
    as_member = ["setpriv", "--reuid=nobody", "--regid", str(socket.stat().st_gid), "--clear-groups"]
    assert stat.S_IMODE(socket.stat().st_mode) & 0o060 == 0o060
    told = corner.start([*as_member, *command])
    assert told.wait() == Exit.OK
    assert 'ENTRYPOINT ["/bin/sleeper"]' in told.stdout


def test_no_bcc(corner: Corner, image: Callable[[str], str]) -> None:
    fake = corner.folder / "modules" / "bcc"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text("raise ImportError('no libbcc here')\n")
    build = corner.start(corner.command(image("never-listens")), PYTHONPATH=str(fake.parent))
    assert_refused(build, corner, Bad(Exit.KERNEL, "load bcc: no libbcc here", r".*python3-bpfcc.*"))


def test_no_btf(corner: Corner, image: Callable[[str], str]) -> None:
    hidden = ["unshare", "--mount", "sh", "-c", f'mount --bind /dev/null {BTF} && exec "$@"', "sh"]
    build = corner.start([*hidden, *corner.command(image("never-listens"))])
    bad = Bad(Exit.KERNEL, f"read the kernel's type information {BTF}: .*", r".*CONFIG_DEBUG_INFO_BTF=y.*")
    assert_refused(build, corner, bad)


@pytest.mark.parametrize("version", ["1", ""])
def test_an_engine_that_says_cgroup_v1(version: str) -> None:
    # A second daemon on v1 beside the one that runs is no test to have: with --bridge=none it takes the
    # first one's docker0 away.
    said = EngineInfo("20.10", "1.41", "overlay2", version, "cgroupfs", ("runc",), (), "/var/lib/docker")
    with pytest.raises(SlimtraceError, match="cannot trace: the container engine uses cgroup v1") as refused:
        require_cgroup2(said)
    assert refused.value.exit_code is Exit.KERNEL
    assert "unified_cgroup_hierarchy=1" in refused.value.hint
    require_cgroup2(replace(said, cgroup_version="2"))


# Disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[Path, str], None]]:
    """small_disk(path, "size=8k") mounts a disk of that size there, which goes at the end."""
    mounted: list[Path] = []

    def mount(place: Path, options: str) -> None:
        place.mkdir(parents=True, mode=0o755)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=0755,{options}", "tmpfs", str(place)], check=True)
        mounted.append(place)

    yield mount
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


def assert_no_room(build: Running, says: str, hint: str) -> None:
    assert build.wait() == Exit.NO_SPACE, build.stderr
    assert re.fullmatch(rf"slimtrace: cannot {says}\nhint: {hint}\n", complaint(build)), build.stderr


def test_no_room_for_the_slim_image(
    taken: Corner, image: Callable[[str], str], small_disk: Callable[[Path, str], None]
) -> None:
    elsewhere = replace(taken, folder=taken.folder / "x")
    small_disk(elsewhere.state, "size=40m")
    build = elsewhere.start(elsewhere.command(image("unhurried")))
    assert_no_room(build, r"work in .*: \d+ MiB are needed, \d+ MiB are free", r".*SLIMTRACE_STATE.*")
    left = [line for line in remains(elsewhere, build) if not line.startswith("tmpfs ")]
    assert left == []


def test_no_room_for_the_work_directory(
    taken: Corner, image: Callable[[str], str], small_disk: Callable[[Path, str], None]
) -> None:
    elsewhere = replace(taken, folder=taken.folder / "x")
    small_disk(elsewhere.state, "nr_inodes=2")
    build = elsewhere.start(elsewhere.command(image("never-listens")))
    assert_no_room(build, r"make the work directory .*: No space left on device", r".*SLIMTRACE_STATE.*")
    left = [line for line in remains(elsewhere, build) if not line.startswith("tmpfs ")]
    assert left == []


def test_no_room_for_the_artifacts(
    taken: Corner, image: Callable[[str], str], small_disk: Callable[[Path, str], None]
) -> None:
    # The image is loaded by then: its name must mean again what it meant.
    small_disk(taken.artifacts.parent, "size=8k")
    build = taken.start(taken.command(image("unhurried"), *HURRY))
    assert_no_room(build, r"write the artifacts .*: No space left on device", r".*--artifacts")
    assert remains(taken, build) == []


# What turns bad while the build goes on


SPOILED = {
    "is a symlink": "ln -s /etc {folder}",
    "is a file": "touch {folder}",
    "holds foreign files": "mkdir {folder} && touch {folder}/mine",
}


@pytest.mark.parametrize("how", SPOILED)
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_folder_that_is_not_ours(how: str, when: str, taken: Corner, image: Callable[[str], str]) -> None:
    spoil = SPOILED[how].format(folder=taken.artifacts)
    taken.artifacts.parent.mkdir()
    options = [*HURRY, "--host-exec", spoil] if when == "meanwhile" else []
    if when == "before":
        subprocess.run(["sh", "-c", spoil], check=True)
    build = taken.start(taken.command(image("unhurried"), *options))
    assert build.wait() == Exit.BAD_INPUT
    assert complaint(build).startswith(f"slimtrace: cannot write the artifacts {taken.artifacts}: it ")
    assert ("port 8080 listens" in build.stderr) == (when == "meanwhile")  # what can be known is told at once
    theirs = sorted(path for path in taken.artifacts.parent.rglob("*"))
    assert theirs == [taken.artifacts, *([taken.artifacts / "mine"] if how == "holds foreign files" else [])]
    assert remains(taken, build) == [str(taken.artifacts)]


def test_the_engine_goes_away(corner: Corner, image: Callable[[str], str]) -> None:
    # a proxy that is cut off in the middle of the run: the daemon itself stays
    proxy = subprocess.Popen(
        [sys.executable, "-c", PROXY, str(corner.folder / "proxy")], stdout=subprocess.PIPE
    )
    assert proxy.stdout is not None
    assert proxy.stdout.readline() == b"ready\n"
    options = (*HURRY, "--host-exec", f"kill -9 {proxy.pid}")
    build = corner.start(
        corner.command(image("unhurried"), *options), DOCKER_HOST=f"unix://{corner.folder}/proxy"
    )
    assert build.wait() == Exit.ENGINE, build.stderr
    proxy.wait()
    complaint(build)
    # The container cannot be reached any more; the next run takes it away.
    again = corner.start(corner.command("nobody/has:this"))
    assert again.wait() == Exit.NO_IMAGE
    assert remains(corner, build) == []


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
