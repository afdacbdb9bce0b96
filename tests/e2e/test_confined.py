"""Fat images under all of the confinement that was derived from one run, but for seccomp: they answer and end
as they do unconfined.

The seccomp profile is the engine's own here; test_images.py uses slimtrace's.
"""

import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml
from containers import address, docker, eventually, inspect, page, redis, running, stop
from test_postgres import ask as query

from slimtrace import store
from slimtrace.facts.confinement import Confinement
from slimtrace.reason.confine.confinement import derive_confinement
from slimtrace.reason.confine.docker_run import command_line, options
from slimtrace.reason.confine.kubernetes import pod_manifest
from slimtrace.reason.explain.repeat_decision import decide

KILLED = 137
MARGIN = 5.0  # seconds that a confined container may take longer to stop
PORTS = {"nginx": 80, "php": 80, "python": 8000, "node": 3000, "steps-down": 8080}
SERVERS = (*PORTS, "redis", "postgres")

# What has to be derived for each image: the capabilities, and the writable directories, "+" for a volume.
EXPECTED: dict[str, tuple[set[str], set[str]]] = {
    "nginx": ({"chown", "setgid", "setuid"}, {"/run", "/var/lib/nginx+"}),
    "php": ({"kill", "setgid", "setuid"}, {"/run/apache2", "/tmp", "/var/log/apache2+"}),
    "python": (set(), set()),
    "node": (set(), set()),
    "redis": (set(), set()),
    "postgres": (set(), {"/run/postgresql"}),
    "steps-down": (
        {"chown", "dac_override", "fowner", "fsetid", "setgid", "setpcap", "setuid"},
        {"/run", "/srv/state+", "/var/cache/app"},
    ),
}


@dataclass(frozen=True)
class Behaviour:
    """What a container answers, its exit code, and how long it takes to stop."""

    said: object
    exit_code: int
    stop_seconds: float


def ask(name: str, image: str, container: str) -> object:
    host = address(container)
    if name == "redis":
        return redis(host, 6379, "SET greeting hello", "SAVE", "GET greeting")
    if name == "postgres":
        return query(container, image, "CREATE TABLE t AS SELECT 6 * 7 AS n; SELECT n FROM t")
    return page(host, PORTS[name])


def behaviour(name: str, image: str, *words: str) -> Behaviour:
    with running(image, *words) as container:
        said = eventually(lambda: ask(name, image, container), f"an answer of {image} {' '.join(words)}")
        return Behaviour(said, *stop(container))


@cache
def unconfined(name: str, image: str) -> Behaviour:
    return behaviour(name, image)


@pytest.fixture(scope="module")
def confinement_of(
    image: Callable[[str], str],
    slimtrace: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Confinement]:
    """confinement_of("nginx", "--cmd", "…") is the confinement derived from one recording of that image; each
    is recorded once."""
    known: dict[tuple[str, ...], Confinement] = {}

    def derive(name: str, *words: str) -> Confinement:
        if (name, *words) not in known:
            folder: Path = tmp_path_factory.mktemp(name) / "capture"
            recorded = slimtrace("record", image(name), *words, "--output", str(folder))
            assert recorded.returncode == 0, recorded.stderr
            capture = store.load(folder)
            known[name, *words] = derive_confinement(capture, decide(capture).selection)
        return known[name, *words]

    return derive


def option_words(found: Confinement) -> list[str]:
    return [word for option in options(found) for word in option]


@pytest.mark.parametrize("name", SERVERS)
def test_only_what_was_used_is_left(confinement_of: Callable[..., Confinement], name: str) -> None:
    found = confinement_of(name)
    places = {place.path + "+" * place.volume for place in found.writable}
    assert (set(found.cap_add), places) == EXPECTED[name]
    assert found.no_new_privileges and found.read_only and not found.notes


@pytest.mark.parametrize("name", SERVERS)
def test_it_does_confined_what_it_does_unconfined(
    image: Callable[[str], str], confinement_of: Callable[..., Confinement], name: str
) -> None:
    fat, found = unconfined(name, image(name)), confinement_of(name)
    confined = behaviour(name, image(name), *option_words(found))
    assert confined.said == fat.said
    assert confined.exit_code == fat.exit_code != KILLED
    assert confined.stop_seconds <= fat.stop_seconds + MARGIN


@pytest.mark.parametrize(
    ("program", "capabilities", "no_new_privileges"),
    [("/bin/rooted", (), False), ("/bin/raw", ("net_raw",), False), ("/bin/idle", ("net_raw",), True)],
)
def test_programs_that_gain_privileges_still_do(
    image: Callable[[str], str],
    confinement_of: Callable[..., Confinement],
    program: str,
    capabilities: tuple[str, ...],
    no_new_privileges: bool,
) -> None:
    """A setuid program; a program that uses its file capability; a program that does not use its own."""
    found = confinement_of("gains", "--cmd", program)
    assert (found.cap_add, found.no_new_privileges) == (capabilities, no_new_privileges)
    fat = docker("run", "--rm", image("gains"), program)
    assert docker("run", "--rm", *option_words(found), image("gains"), program) == fat


def test_less_than_that_is_too_little(
    image: Callable[[str], str], confinement_of: Callable[..., Confinement]
) -> None:
    """steps-down fails without any one of the capabilities that it uses by a call of its own, and without any
    one of its writable directories: so the other tests would notice a confinement that is too strict."""
    words = option_words(confinement_of("steps-down"))
    taken = [["--cap-add", name] for name in ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")]
    taken += [words[at : at + 2] for at, word in enumerate(words) if word in ("--tmpfs", "--volume")]
    assert len(taken) == 8
    for missing in taken:
        at = next(at for at in range(len(words)) if words[at : at + 2] == missing)
        with running(image("steps-down"), *words[:at], *words[at + 2 :]) as container:
            assert eventually(lambda: exit_code(container), f"an end without {missing}") != 0


def exit_code(container: str) -> int | None:
    """The exit code of a container; None while it runs."""
    state = inspect(container, ".State")
    return None if state["Running"] else int(state["ExitCode"])


def test_the_printed_line_is_what_a_shell_runs(
    image: Callable[[str], str], confinement_of: Callable[..., Confinement]
) -> None:
    line = command_line(image("nginx"), confinement_of("nginx")).replace("docker run", "docker create", 1)
    made = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, timeout=60)
    assert made.returncode == 0, made.stderr
    container = made.stdout.strip()
    try:
        host_config = inspect(container, ".HostConfig")
        assert (host_config["CapDrop"], host_config["CapAdd"]) == (
            ["ALL"],
            ["CAP_CHOWN", "CAP_SETGID", "CAP_SETUID"],
        )
        assert host_config["ReadonlyRootfs"] and host_config["SecurityOpt"] == ["no-new-privileges"]
        assert host_config["Tmpfs"] == {"/run": "mode=0755,uid=0,gid=0"}
        assert [mount["Destination"] for mount in inspect(container, ".Mounts")] == ["/var/lib/nginx"]
    finally:
        docker("rm", "--force", "--volumes", container)


def test_the_init_container_of_a_pod_copies_what_the_image_has(
    image: Callable[[str], str], confinement_of: Callable[..., Confinement]
) -> None:
    """Run as a kubelet does: the volume is empty and writable by anyone, the container's root read-only."""
    fat = image("steps-down")
    manifest = pod_manifest("slim", confinement_of("steps-down"), copier=fat)
    (filling,) = yaml.safe_load(manifest)["spec"]["initContainers"]
    added = [f"--cap-add={name}" for name in filling["securityContext"]["capabilities"]["add"]]
    (mount,) = filling["volumeMounts"]
    confined = ("--cap-drop=ALL", *added, "--security-opt=no-new-privileges", "--read-only")
    place = f"--tmpfs={mount['mountPath']}:mode=0777"
    look = f"{shlex.join(filling['command'])} && cd {mount['mountPath']} && stat -c '%n %a %u' . greeting"
    done = docker("run", "--rm", *confined, place, "--entrypoint", "sh", filling["image"], "-c", look)
    assert done.splitlines() == [". 755 0", "greeting 600 1500"]
