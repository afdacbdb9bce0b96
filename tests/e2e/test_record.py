"""`slimtrace record`, `merge` and `build --from`, on real containers."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builds import PROGRAM, Build
from conftest import Program
from containers import docker

from slimtrace import store
from slimtrace.facts.events import Origin


@pytest.fixture
def redis(image: Callable[[str], str]) -> Iterator[str]:
    """The id of a running redis container."""
    container = docker("run", "--detach", image("redis")).strip()
    for _ in range(200):
        if "Ready to accept" in docker("logs", container):
            break
        time.sleep(0.05)
    yield container
    docker("rm", "--force", "--volumes", container)


def recorded_while(work: Callable[[], None], *words: str, cwd: Path) -> tuple[int, str]:
    """Start `slimtrace record …`, do `work` once it is attached, end it with SIGINT: (exit code, stderr)."""
    running = subprocess.Popen(
        [PROGRAM, "record", *words], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    stderr = ""
    for line in running.stderr:
        stderr += line
        if "attached to" in line:
            break
    work()
    time.sleep(0.3)
    running.send_signal(signal.SIGINT)
    _, rest = running.communicate(timeout=60)
    return running.returncode, stderr + rest


def facts(folder: Path) -> set[tuple[str, ...]]:
    return {(use.use, use.asked, use.base, use.resolved) for use in store.load(folder).trace.uses}


def test_building_from_a_capture_gives_what_building_gives(
    slimtrace: Program, built: Callable[[str], Build], name_for_slim: Callable[[str], str], tmp_path: Path
) -> None:
    direct = built("jq")
    recorded = slimtrace("record", direct.fat, "--output", "capture", cwd=tmp_path)
    assert recorded.returncode == 0, recorded.stderr
    tag = name_for_slim("jq")
    words = ("--from", "capture", "--tag", tag, "--artifacts", "again", "--json")
    rebuilt = slimtrace("build", *words, cwd=tmp_path)
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert json.loads(rebuilt.stdout)["slim"]["id"] == direct.report["slim"]["id"]
    for name in ("seccomp.json", "apparmor.profile", "Dockerfile.fat"):
        assert (tmp_path / "again" / name).read_text() == (direct.artifacts / name).read_text()


def test_a_capture_is_readable_without_root(
    slimtrace: Program, image: Callable[[str], str], tmp_path: Path
) -> None:
    assert slimtrace("record", image("jq"), "-o", "capture", cwd=tmp_path).returncode == 0
    for path in (tmp_path / "capture").iterdir():
        assert path.stat().st_mode & 0o444 == 0o444
    first = (tmp_path / "capture" / "capture.json").read_text().lstrip("{ \n")
    assert first.startswith(f'"schema": {store.SCHEMA}')


def test_two_captures_merged_hold_what_both_saw(
    slimtrace: Program, image: Callable[[str], str], name_for_slim: Callable[[str], str], tmp_path: Path
) -> None:
    run = slimtrace("record", image("jq"), "--cmd", "-n 1", "-o", "one", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    run = slimtrace(
        "record", image("jq"), "--entrypoint", "cat", "--cmd", "/etc/debian_version", "-o", "two", cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr
    assert slimtrace("merge", "one", "two", "-o", "both", cwd=tmp_path).returncode == 0
    assert slimtrace("merge", "two", "one", "one", "-o", "again", cwd=tmp_path).returncode == 0
    assert store.load(tmp_path / "both") == store.load(tmp_path / "again")
    assert facts(tmp_path / "both") == facts(tmp_path / "one") | facts(tmp_path / "two")
    tag = name_for_slim("jq")
    words = ("--from", "one", "--from", "two", "--tag", tag, "--artifacts", "made", "--json")
    made = slimtrace("build", *words, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert docker("run", "--rm", tag, "-n", "1+1").strip() == "2"
    assert docker("run", "--rm", "--entrypoint", "cat", tag, "/etc/debian_version").strip()


def test_merged_captures_give_what_one_long_run_gives(
    slimtrace: Program, image: Callable[[str], str], name_for_slim: Callable[[str], str], tmp_path: Path
) -> None:
    """The same work recorded in two halves and in one run: the same image, byte for byte."""
    halves = {"one": "jq -n 17; true", "two": "true; cat /etc/debian_version; cd /usr/share && ls"}
    works = {**halves, "long": "; ".join(halves.values())}
    for name, work in works.items():
        words = ("record", image("jq"), "--entrypoint", "/bin/sh", "--cmd", f"-c '{work}'", "-o", name)
        recorded = slimtrace(*words, cwd=tmp_path)
        assert recorded.returncode == 0, recorded.stderr
    assert slimtrace("merge", "two", "one", "-o", "both", cwd=tmp_path).returncode == 0
    made = {}
    for name, sources in {"long": ("long",), "merged": ("both",), "at once": ("one", "two")}.items():
        options = [word for source in sources for word in ("--from", source)]
        words = ("build", *options, "--tag", name_for_slim("jq"), "--artifacts", f"of-{name}", "--json")
        built = slimtrace(*words, cwd=tmp_path)
        assert built.returncode == 0, built.stderr
        report = json.loads(built.stdout)
        made[name] = (report["slim"]["id"], report["calls"], report["lost"], report["doubts"])
    assert made["long"] == made["merged"] == made["at once"]
    assert made["long"][2:] == (0, [])


def test_attaching_sees_what_is_held_and_what_happens_and_leaves_it_running(redis: str, tmp_path: Path) -> None:
    def work() -> None:
        assert docker("exec", redis, "redis-cli", "set", "a", "b").strip() == "OK"
        assert docker("exec", redis, "redis-cli", "save").strip() == "OK"

    code, stderr = recorded_while(work, "--container", redis, "--output", "capture", cwd=tmp_path)
    assert code == 0, stderr
    assert docker("inspect", "--format", "{{.State.Running}}", redis).strip() == "true"
    trace = store.load(tmp_path / "capture").trace
    assert "/usr/bin/redis-check-rdb" in {run.binary for run in trace.execs}  # redis-server is a link to it
    assert "/usr/lib/x86_64-linux-gnu/libc.so.6" in {use.resolved for use in trace.uses if use.call == "held"}
    assert {run.argv[0] for run in trace.execs if run.origin is Origin.EXEC} == {"redis-cli"}
    assert any(use.asked.startswith("temp-") and use.origin is Origin.CONTAINER for use in trace.uses)
    assert "attached" in {doubt.code for doubt in trace.doubts}
    assert trace.lost == 0


def test_a_cgroup_is_watched_without_knowing_its_image(slimtrace: Program, redis: str, tmp_path: Path) -> None:
    pid = docker("inspect", "--format", "{{.State.Pid}}", redis).strip()
    cgroup = Path(f"/proc/{pid}/cgroup").read_text().splitlines()[-1].partition("::")[2]

    def work() -> None:
        assert docker("exec", redis, "redis-cli", "save").strip() == "OK"

    code, stderr = recorded_while(work, "--cgroup", cgroup, "--output", "capture", cwd=tmp_path)
    assert code == 0, stderr
    assert any(use.asked.startswith("temp-") for use in store.load(tmp_path / "capture").trace.uses)
    refused = slimtrace("build", "--from", "capture", cwd=tmp_path)
    assert refused.returncode == 12
    assert "slimtrace: cannot build from a capture" in refused.stderr and "Traceback" not in refused.stderr


def test_ctrl_c_ends_the_recording_of_an_image_and_keeps_it(
    image: Callable[[str], str], tmp_path: Path
) -> None:
    words = [PROGRAM, "record", image("redis"), "--continue-after", "exit", "-o", "capture"]
    running = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    assert any("PONG" in line for line in running.stderr)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == 0
    assert 6379 in {listen.port for listen in store.load(tmp_path / "capture").trace.listens}
    owner = f"slimtrace.run={running.pid}"
    found = docker("ps", "--all", "--format", '{{.Label "slimtrace.run"}}').split()
    assert not [label for label in found if label.startswith(owner.partition("=")[2] + ":")]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "cannot tell what to record"),
        (("app", "--container", "x"), 2, "cannot tell what to record"),
        (("--container", "no-such-container"), 6, "cannot find the container"),
        (("--cgroup", "/no/such/cgroup"), 12, "cannot watch the cgroup"),
        (("--cgroup", "/"), 12, "cannot watch the cgroup"),
        (("--cgroup", "/etc"), 12, "cannot watch the cgroup"),
        (("--container", "x", "--continue-after", "probe"), 2, "cannot probe what it did not start"),
    ],
)
def test_bad_requests_are_refused(
    slimtrace: Program, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    refused = slimtrace("record", *words, "-o", "capture", cwd=tmp_path)
    assert refused.returncode == code, refused.stderr
    assert f"slimtrace: {said}" in refused.stderr and "Traceback" not in refused.stderr
    assert os.listdir(tmp_path) == []


def test_what_is_no_capture_is_refused(slimtrace: Program, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for words in (("merge", "empty"), ("merge", "absent"), ("build", "--from", "empty")):
        refused = slimtrace(*words, cwd=tmp_path)
        assert refused.returncode == 12 and "slimtrace: cannot read the capture" in refused.stderr
    assert sorted(os.listdir(tmp_path)) == ["empty"]
