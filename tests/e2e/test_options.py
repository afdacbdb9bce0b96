"""Each option of `slimtrace build` does what --help says of it; `info` and `doctor` do what they promise."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from builds import PROGRAM, Build, Program, slim_of
from containers import address, docker, eventually, exists, inspect, page, redis, running
from terminal import Terminal

from slimtrace.errors import Exit

Builder = Callable[..., Build]
Images = Callable[[str], str]

ARTIFACTS = {
    "SHA256SUMS", "creport.json", "seccomp.json", "seccomp-reasons.txt", "apparmor.profile", "Dockerfile.fat",
    "capture", "rules.toml", "sbom.cdx.json", "confinement.json", "docker-run.txt", "compose.yaml",
    "kubernetes.yaml", "repairs.json", ".cil",
}  # fmt: skip


def written(folder: Path) -> set[str]:
    """The names of the artifacts; of the SELinux policy, which is named after the image, only the suffix."""
    return {".cil" if path.suffix == ".cil" else path.name for path in folder.iterdir()}


# ------------------------------------------------------------------ what comes out, and where


def test_by_default_it_is_called_slim_and_the_artifacts_are_here(
    image_copy: Callable[[str], str], slimtrace: Program, tmp_path: Path
) -> None:
    tag = image_copy("jq")
    done = slimtrace("build", tag, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert docker("run", "--rm", slim_of(tag)) == "Ada, Grace, Margaret"
    [folder] = (tmp_path / "slimtrace-artifacts").iterdir()
    assert written(folder) == ARTIFACTS
    checked = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=False)
    assert checked.returncode == 0
    assert slim_of(tag) in done.stdout  # the summary names the commands to run next
    assert "prepare" in done.stderr  # progress goes to stderr, the result to stdout


def test_tag_and_artifacts_choose_other_places(
    image: Images, slimtrace: Program, name_for_slim: Callable[[str], str], tmp_path: Path
) -> None:
    tag, folder = name_for_slim("chosen"), tmp_path / "deep" / "folder"
    done = slimtrace("build", "--tag", tag, "--artifacts", str(folder), image("jq"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert exists(tag)
    assert written(folder) == ARTIFACTS
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def test_remove_file_artifacts_leaves_only_the_image(
    image: Images, slimtrace: Program, name_for_slim: Callable[[str], str], tmp_path: Path
) -> None:
    tag = name_for_slim("bare")
    done = slimtrace("build", "--remove-file-artifacts", "--json", "--tag", tag, image("jq"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert exists(tag)
    assert json.loads(done.stdout)["artifacts"] == {}
    assert list(tmp_path.iterdir()) == []


def test_json_is_what_creport_says(built: Callable[[str], Build]) -> None:
    jq = built("jq")
    assert jq.report == json.loads((jq.artifacts / "creport.json").read_text())
    assert set(jq.report["artifacts"]) == {path.name for path in jq.artifacts.iterdir()} - {"SHA256SUMS"}
    assert written(jq.artifacts) == ARTIFACTS
    assert all(Path(where).exists() for where in jq.report["artifacts"].values())


# ------------------------------------------------------------------ --continue-after


@pytest.mark.parametrize(
    ("name", "options", "exit_code"),
    [
        ("jq", ("--continue-after", "probe"), Exit.OK),
        ("jq", ("--continue-after", "exit"), Exit.OK),
        # nothing ever listens, and the container never ends
        ("never-listens", ("--continue-after", "1.5", "--stop-timeout", "1"), Exit.OK),
        ("never-listens", ("--ready-timeout", "1", "--stop-timeout", "1"), Exit.NEVER_READY),
        ("jq", ("--continue-after", "never"), Exit.USAGE),
        ("jq", ("--continue-after", "-1"), Exit.USAGE),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_continue_after(build: Builder, name: str, options: tuple[str, ...], exit_code: Exit) -> None:
    result = build(name, *options)
    assert result.completed.returncode == exit_code, result.completed.stderr
    assert exists(result.slim) == (exit_code is Exit.OK)
    assert result.artifacts.exists() == (exit_code is Exit.OK)


def test_continue_after_exit_waits_for_a_server_to_end(build: Builder) -> None:
    shutdown = redis_command("SHUTDOWN NOSAVE")
    result = build("redis", "--continue-after", "exit", "--host-exec", shutdown)
    assert (result.report["exit_code"], result.report["stop_code"]) == (0, None)


def test_continue_after_enter_leaves_the_driving_to_the_user(
    image_copy: Callable[[str], str], name_for_slim: Callable[[str], str], tmp_path: Path
) -> None:
    fat, slim = image_copy("nginx"), name_for_slim("enter")
    with Terminal([PROGRAM, "build", "--continue-after", "enter", "--tag", slim, fat], tmp_path) as terminal:
        terminal.until(b"GET http://127.0.0.1:80/: status 200")
        [container] = docker("ps", "--quiet", "--filter", f"ancestor={fat}").split()
        # A file of the nginx package that no page links to.
        by_hand = page(address(container), 80, "/index.nginx-debian.html")
        assert by_hand is not None
        assert by_hand.status == 200
        time.sleep(1)  # three times as long as the exercise waits for the container to be quiet
        assert terminal.alive
        terminal.type(b"\n")
        assert terminal.wait() == Exit.OK
    with running(slim) as container:
        again = eventually(lambda: page(address(container), 80, "/index.nginx-debian.html"), "an answer")
    assert again == by_hand


# ------------------------------------------------------------------ --exec and --host-exec


def redis_command(*commands: str) -> str:
    """A shell command that sends these commands to the Redis server that $SLIMTRACE_ADDRESS and _PORT name."""
    program = (
        "import os, socket; "
        "s = socket.create_connection((os.environ['SLIMTRACE_ADDRESS'], int(os.environ['SLIMTRACE_PORT']))); "
        f"[(s.sendall(c.encode() + b'\\r\\n'), print(s.recv(4096))) for c in {list(commands)!r}]"
    )
    return f'{sys.executable} -c "{program}"'


def test_host_exec_is_told_where_the_container_is(build: Builder, tmp_path: Path) -> None:
    facts_file = tmp_path / "facts"
    names = ("PORT", "PORTS", "ADDRESS", "CONTAINER")
    facts = "|".join([*(f"$SLIMTRACE_{name}" for name in names), "$(cat /proc/$SLIMTRACE_PID/comm)"])
    look = f'echo "{facts}" > {facts_file}; docker inspect $SLIMTRACE_CONTAINER > {facts_file}.json'
    result = build("redis", "--host-exec", look, "--host-exec", redis_command("SET a 1", "GET a"))
    assert result.completed.returncode == 0, result.completed.stderr
    [container] = json.loads(Path(f"{facts_file}.json").read_text())
    ip = container["NetworkSettings"]["IPAddress"]
    assert facts_file.read_text() == f"6379|6379|{ip}|{container['Id']}|redis-server\n"
    assert [probe["ok"] for probe in result.report["probes"] if probe["target"].startswith("host: ")] == [
        True
    ] * 2


def test_what_host_exec_drove_works_under_the_profile(build: Builder) -> None:
    result = build("redis", "--host-exec", redis_command("SET a 1", "SAVE"))
    profile = f"seccomp={result.artifacts / 'seccomp.json'}"
    assert result.completed.returncode == 0, result.completed.stderr
    with running(result.slim, "--security-opt", profile) as container:
        said = eventually(lambda: redis(address(container), 6379, "SET b 2", "SAVE", "GET b"), "an answer")
    assert said == [b"+OK\r\n", b"+OK\r\n", b"$1\r\n2\r\n"]


@pytest.mark.parametrize("option", ["--host-exec", "--exec"])
def test_a_command_that_fails_fails_the_build(build: Builder, option: str) -> None:
    result = build("nginx", option, "sh -c 'echo that was wrong >&2; exit 3'")
    assert result.completed.returncode == Exit.EXERCISE_FAILED
    assert "ended with 3" in result.completed.stderr
    assert "that was wrong" in result.completed.stderr
    assert result.completed.stdout == ""
    assert not exists(result.slim)
    assert not result.artifacts.exists()


def test_what_exec_needs_itself_stays_out(build: Builder, built: Callable[[str], Build]) -> None:
    driven = build("nginx", "--exec", "sh -c 'ls /usr/share && cat /etc/debian_version'")
    assert [probe["ok"] for probe in driven.report["probes"] if probe["target"].startswith("exec: ")] == [True]
    assert driven.kept == built("nginx").kept


# ------------------------------------------------------------------ how it is run while it is traced


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        (("--cmd", "--raw-input . /etc/debian_version"), "/etc/debian_version"),
        (("--entrypoint", "date -r /etc/issue"), "/etc/issue"),
        (("--entrypoint", "sh -c 'cat $WANTED'", "--env", "WANTED=/etc/issue.net"), "/etc/issue.net"),
        (("--entrypoint", "cat hostname", "--workdir", "/etc"), "/etc"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_it_is_run_in_another_way_but_keeps_its_own(
    build: Builder, built: Callable[[str], Build], options: tuple[str, ...], seen: str
) -> None:
    result = build("jq", *options)
    assert seen in result.kept
    assert "/data/people.json" not in result.kept
    assert inspect(result.slim, ".Config") == inspect(built("jq").slim, ".Config")


# ------------------------------------------------------------------ rules


@pytest.mark.parametrize(
    ("options", "there", "absent"),
    [
        (("--include-path", "/etc/issue"), {"/etc/issue"}, {"/etc/issue.net"}),
        (("--include-path", "/usr/share/doc/jq"), {"/usr/share/doc/jq", "/usr/share/doc/jq/copyright"}, set()),
        (("--include-bin", "date"), {"/usr/bin/date"}, {"/usr/bin/dash"}),
        (("--include-shell",), {"/usr/bin/dash"}, {"/usr/bin/date"}),
        (("--exclude-pattern", "/data/*.json"), {"/data"}, {"/data/people.json"}),
        (
            ("--include-path", "/usr/share/doc/jq", "--exclude-pattern", "**/copyright"),
            {"/usr/share/doc/jq"},
            {"/usr/share/doc/jq/copyright"},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_rules(
    build: Builder, built: Callable[[str], Build], options: tuple[str, ...], there: set[str], absent: set[str]
) -> None:
    kept = build("jq", *options).kept
    assert there <= kept
    assert not absent & kept
    if "--exclude-pattern" not in options:
        # the paths would not be kept without the rule: otherwise this test could not fail
        assert not there & built("jq").kept


def test_included_programs_run(build: Builder) -> None:
    slim = build("jq", "--include-bin", "date", "--include-shell").slim
    assert docker("run", "--rm", "--entrypoint", "sh", slim, "-c", "date -u -d @0 +%Y") == "1970"


# ------------------------------------------------------------------ doubts


@pytest.mark.parametrize(
    ("name", "options", "strict", "doubts"),
    [
        ("jq", (), Exit.OK, []),
        # process 1 has no default action for SIGTERM: it is killed, so that its way of ending is not recorded
        (
            "jq",
            ("--entrypoint", "sleep 60", "--continue-after", "1", "--stop-timeout", "1"),
            Exit.DOUBTFUL,
            ["killed"],
        ),
    ],
)
def test_strict_makes_doubts_a_failure(
    build: Builder, name: str, options: tuple[str, ...], strict: Exit, doubts: list[str]
) -> None:
    result = build(name, "--strict", *options)
    assert result.completed.returncode == strict, result.completed.stderr
    assert [doubt["code"] for doubt in json.loads(result.completed.stdout)["doubts"]] == doubts


# ------------------------------------------------------------------ the other verbs


def created_containers(image_id: str, since: str) -> list[str]:
    """The containers that were created of an image since then, also removed ones: by the engine's events."""
    now = docker("info", "--format", "{{.SystemTime}}")
    lines = docker(
        "events", "--since", since, "--until", now, "--filter", "event=create", "--format", "{{json .}}"
    )
    events = [json.loads(line) for line in lines.splitlines()]
    return [
        event["id"]
        for event in events
        if event["Actor"]["Attributes"].get("image") in (image_id, image_id[7:19])
    ]


def test_info_starts_nothing(image_copy: Callable[[str], str], slimtrace: Program) -> None:
    tag = image_copy("jq")
    image_id = inspect(tag, ".Id")
    since = docker("info", "--format", "{{.SystemTime}}")
    done = slimtrace("info", tag)
    assert done.returncode == 0, done.stderr
    assert created_containers(image_id, since) == []
    assert 'ENTRYPOINT ["jq"]' in done.stdout
    assert "WORKDIR /data" in done.stdout
    assert image_id in done.stdout
    container = docker("create", image_id)
    docker("rm", container)
    assert created_containers(image_id, since) == [container]  # so a container of `info` would have been seen


def test_doctor_finds_a_machine_on_which_the_other_tests_run(slimtrace: Program) -> None:
    done = slimtrace("doctor")
    assert done.returncode == Exit.OK
    assert "slimtrace build can work here" in done.stdout


def test_doctor_fails_where_the_engine_cannot_be_asked(slimtrace: Program) -> None:
    done = slimtrace("doctor", DOCKER_HOST="unix:///nowhere/docker.sock")
    assert done.returncode == Exit.KERNEL
    assert "Missing" in done.stdout
