"""Real images: the slim image is small, and does what the fat one does, also under its own seccomp profile."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from builds import PROGRAM, Build
from containers import Entry, Page, address, docker, entries, eventually, inspect, page, redis, running, stop
from terminal import Terminal

from slimtrace import store
from slimtrace.assemble.layer import file_bytes
from slimtrace.reason.keep import graph_builder
from slimtrace.reason.keep.rules import Keep, PackageDb, Rules
from slimtrace.reason.keep.select import select_paths

# Bytes of the slim image that mint 1.41.8 makes of images built like these: the table in README.md.
MINT_BYTES = {
    "node": 98_600_000,
    "python": 28_100_000,
    "ruby": 16_900_000,
    "java": 175_000_000,
    "nginx": 10_400_000,
    "redis": 18_200_000,
    "jq": 4_600_000,
}
HTTP_PORTS = {"node": 3000, "python": 8000, "ruby": 4567, "java": 8080, "nginx": 80}
REDIS_PORT = 6379
REDIS_COMMANDS = ("PING", "SET greeting hello", "GET greeting")
ONE_SHOT = ("jq", "edge", "hostile")

# Fields of an image's configuration that affect its containers (OCI image-spec, config.md; Docker's additions).
CONFIG = (
    "User", "Env", "WorkingDir", "Entrypoint", "Cmd", "ExposedPorts", "StopSignal", "Labels", "Volumes",
    "Healthcheck", "Shell", "OnBuild",
)  # fmt: skip

KILLED = 137
MARGIN = 5.0  # seconds that a slim container may take longer to stop


@dataclass(frozen=True)
class Behaviour:
    """What a container answers or prints, its exit code, and how long it takes to stop."""

    said: object
    exit_code: int
    stop_seconds: float


def behaviour(name: str, image: str, *options: str) -> Behaviour:
    if name in ONE_SHOT:
        done = subprocess.run(
            ["docker", "run", "--rm", *options, image], capture_output=True, check=False, timeout=60
        )
        return Behaviour((done.stdout, done.stderr), done.returncode, 0.0)
    with running(image, *options) as container:
        said = eventually(lambda: ask(name, address(container)), f"an answer of {image} {' '.join(options)}")
        return Behaviour(said, *stop(container))


# The Accept-Encoding of curl and of browsers: nginx answers the one by sendfile(2), the other by writev(2).
ACCEPT_ENCODINGS = ("identity", "gzip, deflate")


def ask(name: str, host: str) -> list[Page] | list[bytes] | None:
    if name == "redis":
        return redis(host, REDIS_PORT, *REDIS_COMMANDS)
    pages = [page(host, HTTP_PORTS[name], coding=coding) for coding in ACCEPT_ENCODINGS]
    return None if None in pages else [page for page in pages if page]


@cache
def fat_behaviour(name: str, image: str) -> Behaviour:
    return behaviour(name, image)


def seccomp(build: Build) -> tuple[str, str]:
    return "--security-opt", f"seccomp={build.artifacts / 'seccomp.json'}"


@pytest.fixture(scope="module", params=[*MINT_BYTES, "edge", "hostile"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def sample(name: str, built: Callable[[str], Build]) -> Build:
    done = built(name)
    assert done.completed.returncode == 0, done.completed.stderr
    return done


def test_stdout_is_the_report_and_nothing_else(sample: Build) -> None:
    report = json.loads(sample.completed.stdout)
    assert next(iter(report)) == "schema"
    assert report["schema"] == 1
    assert report["slim"]["reference"] == sample.slim
    assert report["slim"]["id"] == inspect(sample.slim, ".Id")
    assert report["slim"]["size"] == inspect(sample.slim, ".Size")


def test_nothing_is_lost_or_doubtful(sample: Build) -> None:
    assert (sample.report["lost"], sample.report["doubts"]) == (0, [])


@pytest.mark.parametrize("name", MINT_BYTES, scope="module")
def test_what_was_used_is_no_larger_than_mints_image(sample: Build, name: str) -> None:
    """mint keeps the files that it saw used, not those that the code in use names: --keep exact is compared."""
    capture = store.load(sample.artifacts / "capture")
    rules = Rules(keep=Keep.EXACT, package_db=PackageDb.NONE)
    kept = select_paths(graph_builder.build_graph(capture, rules), capture, rules).kept
    assert file_bytes(capture.tree, kept)[0] <= MINT_BYTES[name]


@pytest.mark.parametrize("name", MINT_BYTES, scope="module")
def test_with_what_its_code_names_it_is_hardly_larger_than_mints_image(sample: Build, name: str) -> None:
    assert sample.report["slim"]["size"] <= MINT_BYTES[name] * 1.02


def test_the_configuration_is_kept(sample: Build) -> None:
    fat, slim = inspect(sample.fat, ".Config"), inspect(sample.slim, ".Config")
    assert {key: slim.get(key) for key in CONFIG} == {key: fat.get(key) for key in CONFIG}


@pytest.mark.parametrize("profile", ["plain", "own seccomp profile"])
def test_it_does_what_the_fat_one_does(sample: Build, name: str, profile: str) -> None:
    options = () if profile == "plain" else seccomp(sample)
    fat, slim = fat_behaviour(name, sample.fat), behaviour(name, sample.slim, *options)
    assert slim.said == fat.said
    assert slim.exit_code == fat.exit_code != KILLED
    assert slim.stop_seconds <= fat.stop_seconds + MARGIN


def test_the_fat_ones_do_what_their_recipes_say(sample: Build, name: str) -> None:
    # Two containers that fail in the same way would be equal too.
    said = fat_behaviour(name, sample.fat).said
    match said:
        case [Page(), Page()]:
            assert [page.status for page in said] == [200, 200]
            assert name.encode() in said[0].body
        case [*_] if name == "redis":
            assert said == [b"+PONG\r\n", b"+OK\r\n", b"$5\r\nhello\r\n"]
        case out, err:
            expected = {
                "jq": b"Ada, Grace, Margaret\n",
                "edge": b"edge: 0 failures\n",
                "hostile": b"hostile: 14 files read\n",
            }
            assert out.endswith(expected[name])
            assert err == b""


@pytest.fixture(scope="module")
def both(sample: Build) -> tuple[dict[str, Entry], dict[str, Entry]]:
    return entries(sample.fat), entries(sample.slim)


def test_every_file_is_as_it_was(sample: Build, both: tuple[dict[str, Entry], dict[str, Entry]]) -> None:
    fat, slim = both
    # Hardlinked names of a file may have been left out; those that are kept are still one file.
    expected = {path: {**vars(fat[path]), "names": fat[path].names & slim.keys()} for path in slim}
    # Package databases are trimmed to the packages that are kept.
    for path in package_metadata_of(sample) & slim.keys():
        expected[path] |= {"size": slim[path].size, "content": slim[path].content}
        assert slim[path].size <= fat[path].size
    assert {path: vars(entry) for path, entry in slim.items()} == expected


def package_metadata_of(build: Build) -> set[str]:
    """The files that are kept only as metadata of packages."""
    return {
        file["path"]
        for file in build.report["files"]
        if all(reason.startswith("metadata of ") for reason in file["reasons"])
    }


def test_the_report_lists_what_the_image_holds(
    sample: Build, both: tuple[dict[str, Entry], dict[str, Entry]], name: str
) -> None:
    _, slim = both
    if name != "hostile":  # its file names are escaped in the report
        assert {path for path in sample.kept if path in slim} == slim.keys()
    assert len(sample.report["files"]) >= len(slim)


def test_the_health_check_works_under_the_profile(built: Callable[[str], Build]) -> None:
    node = built("node")
    with running(node.slim, *seccomp(node), "--health-interval", "1s") as container:

        def health() -> str | None:
            status = inspect(container, ".State.Health.Status")
            return None if status == "starting" else str(status)

        assert eventually(health, "a health check") == "healthy"


def test_hardlinks_capabilities_and_setuid_stay(built: Callable[[str], Build]) -> None:
    edge = built("edge")
    slim = entries(edge.slim)
    assert slim["/bin/edge"].names == {"/bin/edge", "/bin/edge-again"}
    assert slim["/data/first"].names == {"/data/first", "/var/spool/second"}
    assert slim["/bin/edge-capable"].capability
    assert slim["/bin/edge-setuid"].mode & 0o7777 == 0o4755
    said = docker("run", "--rm", edge.slim).splitlines()
    assert {"setuid: euid 1234", "capable: CapEff:\t0000000000002000", "again: same program"} <= set(said)


# Bytes of file names in tests/images/hostile that a terminal would interpret, or that could deceive a reader.
TERMINAL_ESCAPES = (
    b"\x1b[31m text",
    b"\x1b[2J\x1b[H the",
    b"\x1b]0;owned",
    b"\x07",
    "\u202e".encode(),
    b"carriage\rreturn",
)


@pytest.fixture
def screens(
    image: Callable[[str], str], name_for_slim: Callable[[str], str], tmp_path: Path
) -> Iterator[tuple[bytes, bytes]]:
    """What a build of `hostile` writes to a terminal, and to a pipe."""
    command = [PROGRAM, "build", "--tag", name_for_slim("hostile"), image("hostile")]
    with Terminal(command, tmp_path) as terminal:
        assert terminal.wait() == 0
        shown = terminal.output
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, stdin=subprocess.DEVNULL)
    yield shown, done.stdout + done.stderr


def test_file_names_do_not_reach_the_terminal_raw(screens: tuple[bytes, bytes]) -> None:
    terminal, pipe = screens
    assert re.search(rb"\\x1b\[|\\x1b\]|\\[nrt]|\\xff|\\u202e", terminal)  # the names are shown with escapes
    assert [bytes_ for bytes_ in TERMINAL_ESCAPES if bytes_ in terminal] == []
    assert b"\x1b" not in pipe


REPRODUCIBLE = ("seccomp.json", "apparmor.profile", "Dockerfile.fat", "capture/tree.jsonl.gz")


def test_the_same_image_gives_the_same_bytes(
    built: Callable[[str], Build], build: Callable[..., Build]
) -> None:
    one, two = built("jq"), build("jq")
    assert inspect(one.slim, ".RootFS.Layers") == inspect(two.slim, ".RootFS.Layers")
    assert inspect(one.slim, ".Id") == inspect(two.slim, ".Id")
    # Both names belong to one image now: the report has the name that this build was given.
    assert two.report["slim"]["reference"] == two.slim
    differ = [
        name
        for name in REPRODUCIBLE
        if (one.artifacts / name).read_bytes() != (two.artifacts / name).read_bytes()
    ]
    assert differ == []
