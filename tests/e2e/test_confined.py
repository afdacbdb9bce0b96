"""Fat images under what confinement() learned of one run, all at once: they do what they do without it.

The seccomp profile is the engine's own here: test_images has slimtrace's.
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
from slimtrace.reason.confine.confinement import confinement
from slimtrace.reason.confine.docker_run import docker_run, options
from slimtrace.reason.confine.kubernetes import kubernetes
from slimtrace.reason.explain.repeat_decision import decide

KILLED = 137
MARGIN = 5.0  # seconds that a confined container may take longer to stop
PORTS = {"nginx": 80, "php": 80, "python": 8000, "node": 3000, "steps-down": 8080}
SERVERS = (*PORTS, "redis", "postgres")

# What is learned of each: the capabilities, and the writable directories, "+" for a volume.
LEARNED: dict[str, tuple[set[str], set[str]]] = {
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
    """What a container answers, whether it can write what it wrote, and how it ends."""

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
def learned(
    image: Callable[[str], str],
    slimtrace: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Confinement]:
    """learned("nginx", "--cmd", "…") is what one recording of that image calls for; each once."""
    known: dict[tuple[str, ...], Confinement] = {}

    def learn(name: str, *words: str) -> Confinement:
        if (name, *words) not in known:
            folder: Path = tmp_path_factory.mktemp(name) / "capture"
            recorded = slimtrace("record", image(name), *words, "--output", str(folder))
            assert recorded.returncode == 0, recorded.stderr
            capture = store.load(folder)
            known[name, *words] = confinement(capture, decide(capture).selection)
        return known[name, *words]

    return learn


def words_of(found: Confinement) -> list[str]:
    return [word for option in options(found) for word in option]


@pytest.mark.parametrize("name", SERVERS)
def test_only_what_was_used_is_left(learned: Callable[..., Confinement], name: str) -> None:
    found = learned(name)
    places = {place.path + "+" * place.volume for place in found.writable}
    assert (set(found.cap_add), places) == LEARNED[name]
    assert found.no_new_privileges and found.read_only and not found.notes


@pytest.mark.parametrize("name", SERVERS)
def test_it_does_confined_what_it_does_unconfined(
    image: Callable[[str], str], learned: Callable[..., Confinement], name: str
) -> None:
    fat, found = unconfined(name, image(name)), learned(name)
    confined = behaviour(name, image(name), *words_of(found))
    assert confined.said == fat.said
    assert confined.exit_code == fat.exit_code != KILLED
    assert confined.stop_seconds <= fat.stop_seconds + MARGIN


@pytest.mark.parametrize(
    ("program", "capabilities", "no_new_privileges"),
    [("/bin/rooted", (), False), ("/bin/raw", ("net_raw",), False), ("/bin/idle", ("net_raw",), True)],
)
def test_programs_that_gain_privileges_still_do(
    image: Callable[[str], str],
    learned: Callable[..., Confinement],
    program: str,
    capabilities: tuple[str, ...],
    no_new_privileges: bool,
) -> None:
    """A setuid program; one with file capabilities that it uses; one that does not use them."""
    found = learned("gains", "--cmd", program)
    assert (found.cap_add, found.no_new_privileges) == (capabilities, no_new_privileges)
    fat = docker("run", "--rm", image("gains"), program)
    assert docker("run", "--rm", *words_of(found), image("gains"), program) == fat


def test_less_than_that_is_too_little(image: Callable[[str], str], learned: Callable[..., Confinement]) -> None:
    """Each capability that steps-down asks for by a call of its own is missed when it is taken away, and so is
    each writable directory: the other tests would notice."""
    words = words_of(learned("steps-down"))
    taken = [["--cap-add", name] for name in ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")]
    taken += [words[at : at + 2] for at, word in enumerate(words) if word in ("--tmpfs", "--volume")]
    assert len(taken) == 8
    for missing in taken:
        at = next(at for at in range(len(words)) if words[at : at + 2] == missing)
        with running(image("steps-down"), *words[:at], *words[at + 2 :]) as container:
            assert eventually(lambda: exit_code(container), f"an end without {missing}") != 0


def exit_code(container: str) -> int | None:
    """None while it runs."""
    state = inspect(container, ".State")
    return None if state["Running"] else int(state["ExitCode"])


def test_the_printed_line_is_what_a_shell_runs(
    image: Callable[[str], str], learned: Callable[..., Confinement]
) -> None:
    line = docker_run(image("nginx"), learned("nginx")).replace("docker run", "docker create", 1)
    made = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, timeout=60)
    assert made.returncode == 0, made.stderr
    container = made.stdout.strip()
    try:
        told = inspect(container, ".HostConfig")
        assert (told["CapDrop"], told["CapAdd"]) == (["ALL"], ["CAP_CHOWN", "CAP_SETGID", "CAP_SETUID"])
        assert told["ReadonlyRootfs"] and told["SecurityOpt"] == ["no-new-privileges"]
        assert told["Tmpfs"] == {"/run": "mode=0755,uid=0,gid=0"}
        assert [mount["Destination"] for mount in inspect(container, ".Mounts")] == ["/var/lib/nginx"]
    finally:
        docker("rm", "--force", "--volumes", container)


def test_the_init_container_of_a_pod_copies_what_the_image_has(
    image: Callable[[str], str], learned: Callable[..., Confinement]
) -> None:
    """Run as a kubelet would: the volume is empty and writable by anyone, the root read-only."""
    fat = image("steps-down")
    (filling,) = yaml.safe_load(kubernetes("slim", learned("steps-down"), copier=fat))["spec"]["initContainers"]
    added = [f"--cap-add={name}" for name in filling["securityContext"]["capabilities"]["add"]]
    (mount,) = filling["volumeMounts"]
    confined = ("--cap-drop=ALL", *added, "--security-opt=no-new-privileges", "--read-only")
    place = f"--tmpfs={mount['mountPath']}:mode=0777"
    look = f"{shlex.join(filling['command'])} && cd {mount['mountPath']} && stat -c '%n %a %u' . greeting"
    done = docker("run", "--rm", *confined, place, "--entrypoint", "sh", filling["image"], "-c", look)
    assert done.splitlines() == [". 755 0", "greeting 600 1500"]
