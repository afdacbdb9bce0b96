"""Runs of real images, compared with runs made as trials are; images that fail; commands in a sidecar."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from slimtrace import owner
from slimtrace.engine import Engine, Launch
from slimtrace.facts.events import Exec, Origin
from slimtrace.facts.runs import Answer, Run, Start
from slimtrace.observe.container.plan import Plan
from slimtrace.observe.recorder import Outcome, Recorder
from slimtrace.reason.prove.compare import compare

pytestmark = pytest.mark.requires("bpf", "docker", "images")


@pytest.fixture(autouse=True)
def nothing_is_left(engine: Engine) -> Iterator[None]:
    yield
    assert engine._owned(lambda name: name == owner.current()) == []


def record(engine: Engine, name: str, **plan: Any) -> Outcome:
    recorder = Recorder()
    try:
        return recorder.record(engine, engine.image(f"slimtrace-test/{name}:1"), Plan(**plan), lambda _: None)
    finally:
        recorder.close()


def again(engine: Engine, name: str, fat: Run, **plan: Any) -> Run:
    """The run of the same image, made as the trial of a slim image is."""
    return record(engine, name, ports=fat.ports, tolerant=True, **plan).run


def ask(run: Run, target: str) -> Answer:
    (found,) = (answer for answer in run.answers if answer.target == target)
    return found


def codes(fat: Run, slim: Run) -> list[str]:
    return [difference.code for difference in compare(fat, slim)]


def test_nginx(engine: Engine) -> None:
    outcome = record(engine, "nginx")
    fat = outcome.run
    page = ask(fat, "GET http port 80 /")
    assert (page.ok, page.status, page.content_type, page.again) == (True, 200, "text/html", "")
    assert page.body == "<!doctype html>\n<title>hello</title>\n<p>hello, nginx</p>\n"
    assert page.size == len(page.body)
    assert (fat.ports, fat.exit_code, fat.stop_code, fat.failure) == ((80,), None, 0, "")
    assert 0 < fat.ready_seconds < fat.seconds
    assert [line.count('"GET / HTTP/1.1" 200') for line in fat.log[-3:]] == [1, 1, 1]  # gzip, and twice plain
    container, address = fat.names
    assert (len(container), address.count(".")) == (12, 3)
    assert (fat.start, fat.execs, fat.host_execs, fat.http_probe) == (Start(), (), (), True)
    assert (outcome.exit_code, outcome.stop_code, outcome.runs) == (None, 0, (fat,))
    slim = again(engine, "nginx", fat)
    assert compare(fat, slim) == ()
    other = again(engine, "nginx", fat, launch=Launch(cmd=("nginx", "-g", "daemon off; error_log /x/y;")))
    assert {"exit", "port", "log"} <= set(codes(fat, other))
    assert other.exit_code == 1
    assert other.start.cmd is not None


def test_python_and_how_it_was_started(engine: Engine) -> None:
    launch = Launch(env={"PORT": "8017", "GREETING": "hello"}, workdir="/srv/app")
    commands = {"host_execs": ("curl -sf http://$SLIMTRACE_ADDRESS:8017/ || exit 3",)}
    plain = record(engine, "python").run
    assert compare(plain, again(engine, "python", plain)) == ()
    moved = again(engine, "python", plain, launch=launch, ready_seconds=3, **commands)
    assert moved.start == Start(env=("GREETING", "PORT"), workdir="/srv/app")
    assert moved.ports == (8017,)
    assert codes(plain, moved) == ["port"]
    assert moved.host_execs == commands["host_execs"]


def test_redis_is_driven_from_a_sidecar(engine: Engine) -> None:
    """The sidecar has programs that the slim image lacks; it runs as the same user, with the same volume."""
    execs = ("redis-cli set a 17", "redis-cli save", "sh -c 'id -un; pwd; ls /data'")
    fat = record(engine, "redis", execs=execs).run
    sidecar_image = engine.image("slimtrace-test/redis:1").id
    outcome = record(engine, "redis", execs=execs, sidecar_image=sidecar_image, tolerant=True, ports=fat.ports)
    slim = outcome.run
    assert [(answer.ok, answer.status) for answer in slim.answers] == [(True, 0)] * 4
    assert (
        ask(slim, f"exec: {execs[2]}").body == ask(fat, f"exec: {execs[2]}").body == "redis\n/data\ndump.rdb\n"
    )
    assert compare(fat, slim) == ()
    assert {run.asked for run in outcome.trace.execs} == {
        "/usr/bin/redis-server"
    }  # the commands are not traced
    assert {run.origin for run in outcome.trace.execs} == {Origin.CONTAINER}
    assert outcome.trace.own_execs == ()


def test_a_socket_is_reached_from_a_sidecar(engine: Engine) -> None:
    """A socket among the container's files, reached by a symlink of the image, and one in a tmpfs."""
    sidecar_image = engine.image("slimtrace-test/postgres:1").id
    command = "psql -U postgres -tAc 'select 17'"
    for tmpfs in ({}, {"/run/postgresql": "uid=100,mode=3775"}):
        run = record(
            engine, "postgres", sidecar_image=sidecar_image, execs=(command,), launch=Launch(tmpfs=tmpfs)
        ).run
        assert ask(run, f"exec: {command}").body == "17\n"


def test_a_sidecar_command_that_fails_is_an_answer(engine: Engine) -> None:
    sidecar_image = engine.image("slimtrace-test/redis:1").id
    execs = ("redis-cli ping", "sh -c 'echo why; exit 3'", "nothing-here", "sleep 60")
    run = record(
        engine, "redis", execs=execs, sidecar_image=sidecar_image, tolerant=True, command_seconds=2.0
    ).run
    answers = [ask(run, f"exec: {command}") for command in execs]
    assert [(answer.ok, answer.status) for answer in answers] == [(True, 0), (False, 3), (False, 0), (False, 0)]
    assert answers[1].detail == "it said: why"
    assert "nothing-here" in answers[2].detail
    assert "2 s are over" in answers[3].detail
    well = tuple(Answer(answer.target, True) for answer in answers)
    assert codes(replace(run, answers=well), run) == ["command"] * 3


def test_an_image_that_cannot_be_started_tells_why(engine: Engine) -> None:
    outcome = record(engine, "broken-entrypoint", tolerant=True)
    run = outcome.run
    assert "/bin/nothing-here" in run.failure and "no such file" in run.failure
    assert (run.ports, run.answers, run.exit_code, run.stop_code) == ((), (), 127, None)
    assert [difference.code for difference in compare(Run(stop_code=0), run)] == ["start"]
    assert all(isinstance(execution, Exec) for execution in outcome.trace.execs)


@pytest.mark.parametrize(
    ("name", "exit_code", "ports", "said"),
    [("exits-3", 3, (), "fail: no configuration"), ("crashes-later", 1, (8080,), "server: out of luck")],
)
def test_an_image_that_fails(
    engine: Engine, name: str, exit_code: int, ports: tuple[int, ...], said: str
) -> None:
    run = record(engine, name, tolerant=True).run
    assert (run.exit_code, run.stop_code, run.ports, run.log) == (exit_code, None, ports, (said,))
    assert codes(Run(ports=(8080,), stop_code=0), run)[0] == "exit"


def test_a_port_that_is_silent_is_a_difference_and_no_failure(engine: Engine) -> None:
    run = record(engine, "never-listens", tolerant=True, ready_seconds=0.5).run
    assert (run.ports, run.exit_code, run.stop_code) == ((), None, 0)
    assert codes(Run(ports=(8080,), stop_code=0), run) == ["port"]


def test_a_port_is_awaited_that_the_image_does_not_expose(engine: Engine) -> None:
    """A port of the ephemeral range is not awaited."""
    outcome = record(engine, "nginx", ports=(80, 8017, 45000), tolerant=True, ready_seconds=0.5)
    assert outcome.run.ports == (80,)
    assert outcome.run.seconds < 30
    assert codes(Run(ports=(80, 8017), stop_code=0), outcome.run) == ["port"]


def test_a_health_check_is_asked_alike(engine: Engine) -> None:
    fat = record(engine, "node").run
    assert ask(fat, "healthcheck") == Answer("healthcheck", True)
    assert json.loads(ask(fat, "GET http port 3000 /").body) == {"hello": "node"}
    assert compare(fat, again(engine, "node", fat)) == ()
