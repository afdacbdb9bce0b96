"""slimtrace.engine on the real Docker daemon, with images that are made here."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from observe.image.saved_images import image as saved_image
from observe.image.saved_images import layer

from slimtrace import owner
from slimtrace.engine import LABEL, Engine, Launch
from slimtrace.engine.types import history
from slimtrace.errors import Exit, SlimtraceError

pytestmark = pytest.mark.requires("docker", "root")
TAG = "slimtrace-engine-test:1"


def needed_by(*commands: str) -> set[str]:
    """Paths of this machine's programs and their libraries, as the image's shell and loader look for them."""
    found = set()
    for command in commands:
        path = shutil.which(command)
        assert path
        listed = subprocess.check_output(["ldd", path], text=True)
        found |= {path.replace("/usr/bin/", "/bin/"), *re.findall(r"(/\S+) \(0x", listed)}
    return found


def build(name: str, folder: Path) -> None:
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    subprocess.run(["docker", "build", "-t", name, folder], check=True, capture_output=True, env=environment)


@pytest.fixture(scope="module")
def tag(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image of a shell and three programs, and nothing else."""
    lines = [
        "FROM scratch", "ADD files.tar /", "ENV A=b", "STOPSIGNAL SIGUSR1", "VOLUME /data", "EXPOSE 80",
        'CMD ["sleep", "60"]',
    ]  # fmt: skip
    folder = tmp_path_factory.mktemp("image")
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    with tarfile.open(folder / "files.tar", mode="w", dereference=True) as tar:
        for path in sorted(needed_by("sh", "sleep", "echo", "cat")):
            tar.add(path)
    build(TAG, folder)
    yield TAG
    subprocess.run(["docker", "rmi", "-f", TAG], check=False, capture_output=True)


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine.connect() as connected:
        yield connected


def test_it_tells_what_it_is(engine: Engine) -> None:
    info = engine.info()
    assert info.version
    assert info.cgroup_version in ("1", "2")
    assert "runc" in info.runtimes or info.runtimes


def test_an_image_is_described(engine: Engine, tag: str) -> None:
    image = engine.image(tag)
    assert image.id == engine.image_id(tag) == engine.image(image.id[7:19]).id
    assert image.tags == (tag,)
    assert (image.environment["A"], image.tcp_ports, image.volumes) == ("b", (80,), ("/data",))
    assert len(image.layers) == 1
    assert [line.empty for line in image.history] == [False, True, True, True, True, True]
    assert image.history[0].size == image.size


def test_a_layer_without_bytes_is_told_from_no_layer() -> None:
    """BuildKit makes a layer of an instruction that changes nothing; the API shows size 0 for both."""
    lines = [
        {"CreatedBy": text}
        for text in ("CMD x", "RUN /bin/sh -c true # buildkit", "/bin/sh -c #(nop)  ENV A=b")
    ]
    assert [line.empty for line in history([*lines, {"Size": 5}], layers=2)] == [False, True, False, True]
    assert [line.empty for line in history([*lines, {"Size": 5}], layers=1)] == [False, True, True, True]


def test_history_comes_oldest_first_and_tells_which_lines_made_layers(
    engine: Engine, tag: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(f'FROM {tag}\nENV B=c\nRUN echo x > /x\nRUN true\nCMD ["x"]\n')
    name = "slimtrace-engine-history:1"
    build(name, tmp_path)
    try:
        image = engine.image(name)
        shown = [
            (line.created_by.split(")  ")[-1].removeprefix("/bin/sh -c "), line.empty)
            for line in image.history[6:]
        ]
        assert shown == [("ENV B=c", True), ("echo x > /x", False), ("true", True), ('CMD ["x"]', True)]
        assert len(image.layers) == sum(not line.empty for line in image.history)
    finally:
        engine.remove_image(name)


@pytest.mark.parametrize("reference", ["nosuch:1", "../../etc", "Upper:1", "a b", "x\ny", "sha256:" + "0" * 64])
def test_no_such_image(engine: Engine, reference: str) -> None:
    for ask in (engine.image, engine.create):
        with pytest.raises(SlimtraceError) as caught:
            ask(reference)
        assert caught.value.exit_code is Exit.NO_IMAGE
        assert caught.value.message.isprintable()


def test_a_container_lives_and_dies(engine: Engine, tag: str) -> None:
    script = "trap 'exit 7' USR1; echo started; while :; do sleep 0.1; done"
    container = engine.create(tag, Launch(cmd=("sh", "-c", script), env={"C": "d"}))
    assert engine.state(container).status == "created"
    engine.start(container)
    state = engine.state(container)
    assert (state.running, state.exit_code, state.oom_killed) == (True, 0, False)
    assert Path(f"/proc/{state.pid}").exists()
    assert state.address
    assert engine.mounts(container) == ("/data",)
    assert engine.wait(container, 0.2) is None
    engine.stop(container)  # by the image's STOPSIGNAL
    assert engine.wait(container, 5) == 7
    assert engine.logs(container) == "started\n"
    engine.kill(container)  # the container has ended: no error
    engine.remove(container)
    engine.remove(container)


def test_the_container_is_unchanged(engine: Engine, tag: str) -> None:
    import json

    container = engine.create(tag)
    shown = json.loads(subprocess.check_output(["docker", "inspect", container]))[0]
    ours, image = shown["Config"], engine.image(tag).config
    for key in ("Entrypoint", "Cmd", "Env", "User", "WorkingDir", "StopSignal", "ExposedPorts"):
        assert (ours.get(key) or None) == (image.get(key) or None)
    host = shown["HostConfig"]
    assert not host["Privileged"]
    assert not host["Binds"]
    assert not host["PortBindings"]
    assert not host["CapAdd"]
    assert not host["SecurityOpt"]


def test_a_new_entrypoint_drops_the_cmd(engine: Engine, tag: str) -> None:
    container = engine.create(tag, Launch(entrypoint=("echo", "only")))
    engine.start(container)
    assert engine.wait(container, 10) == 0
    assert engine.logs(container) == "only\n"


@pytest.mark.parametrize(
    ("launch", "reason"),
    [
        (Launch(entrypoint=("/nope",)), 'exec: "/nope": stat /nope: no such file or directory'),
        (Launch(entrypoint=("/bin",)), "permission denied"),
        (Launch(user="nobody-here"), "unable to find user nobody-here"),
    ],
)
def test_a_container_that_cannot_start_says_why(engine: Engine, tag: str, launch: Launch, reason: str) -> None:
    container = engine.create(tag, launch)
    with pytest.raises(SlimtraceError) as caught:
        engine.start(container)
    assert caught.value.exit_code is Exit.START_FAILED
    assert reason in caught.value.message
    assert "OCI runtime" not in caught.value.message


def test_exec_tells_pid_code_and_output(engine: Engine, tag: str) -> None:
    container = engine.create(tag)
    engine.start(container)
    found = engine.exec(container, ["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert found.pid > 0
    assert (found.exit_code, sorted(found.output.split())) == (3, [b"err", b"out"])
    assert engine.exec(container, ["nope"]).exit_code in (126, 127)
    began = time.monotonic()
    with pytest.raises(SlimtraceError) as caught:
        engine.exec(container, ["sleep", "50"], timeout=0.3)
    assert caught.value.exit_code is Exit.EXERCISE_FAILED
    assert time.monotonic() - began < 5


def test_anonymous_volumes_go_with_the_container(engine: Engine, tag: str) -> None:
    container = engine.create(tag)
    mounts = ["docker", "inspect", "--format", "{{range .Mounts}}{{println .Name}}{{end}}", container]
    volumes = set(subprocess.check_output(mounts, text=True).split())
    assert volumes
    engine.remove(container)
    assert not volumes & set(subprocess.check_output(["docker", "volume", "ls", "-q"], text=True).split())


def containers_of(process: str) -> set[str]:
    """The containers of the process that has this identity (slimtrace.owner)."""
    label = f"label={LABEL}={process}"
    return set(
        subprocess.check_output(["docker", "ps", "-aq", "--no-trunc", "--filter", label], text=True).split()
    )


def test_leaving_removes_what_was_created_also_on_an_error(tag: str) -> None:
    made = ""
    with pytest.raises(KeyError), Engine.connect() as engine:
        made = engine.create(tag)
        engine.start(made)
        raise KeyError
    assert made not in containers_of(owner.current())


def test_an_image_that_was_only_tried_goes_with_the_container_that_a_signal_left(tmp_path: Path) -> None:
    """A signal during create() loses the container's id: only the end of the Engine finds the container."""
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with Engine.connect() as engine:
        with engine.candidates() as name:
            tried = name()
            subprocess.run(
                ["docker", "import", "--change", "CMD /x", str(tmp_path / "empty.tar"), tried], check=True
            )
            engine.create(tried)
        assert engine.image_id(tried) is not None
    with Engine.connect() as engine:
        assert engine.image_id(tried) is None


HANG = f"""
import sys, time
from slimtrace.engine import Engine
with Engine.connect() as engine:
    for _ in range(int(sys.argv[1])):
        container = engine.create({TAG!r})
        print(container, flush=True)
    engine.start(container)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("name", "after"), [("SIGINT", 0.15), ("SIGINT", 0.3), ("SIGINT", 0.6), ("SIGINT", 0.9)]
)
def test_an_interrupt_at_any_time_leaves_no_container(tag: str, name: str, after: float) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", HANG, "8"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    whose = owner.identity(child.pid)
    time.sleep(after)
    child.send_signal(signal.Signals[name])
    child.wait(30)
    assert containers_of(whose) == set()


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_has_is_not(engine: Engine, tag: str) -> None:
    own = engine.create(tag)
    child = subprocess.Popen([sys.executable, "-c", HANG, "1"], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    container = child.stdout.readline().strip()
    whose = owner.identity(child.pid)
    assert container not in engine.leftovers()
    child.kill()
    child.wait()
    # a test that runs at the same time may have swept it already
    assert container in engine.leftovers() or not containers_of(whose)
    engine.sweep()
    assert containers_of(whose) == set()
    assert own in containers_of(owner.current())


@pytest.mark.parametrize(
    ("host", "hint"),
    [("unix:///nope/docker.sock", "start it"), ("tcp://127.0.0.1:1", "start it"), ("foo://x", "start it")],
)
def test_no_engine(monkeypatch: pytest.MonkeyPatch, host: str, hint: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(SlimtraceError) as caught:
        Engine.connect()
    assert caught.value.exit_code is Exit.ENGINE
    assert hint in caught.value.hint


@pytest.mark.parametrize("data", [b"", b"no tar at all" * 100])
def test_an_archive_that_is_none(engine: Engine, data: bytes) -> None:
    with pytest.raises(SlimtraceError) as caught:
        engine.load([data])
    assert caught.value.exit_code is Exit.ENGINE


@pytest.fixture
def archive_named(engine: Engine) -> Iterator[Callable[[str], Callable[[], list[bytes]]]]:
    """archive_named(tag) is an archive of one small image under that tag; the tag is removed at the end."""
    names: list[str] = []

    def archive(name: str) -> Callable[[], list[bytes]]:
        names.append(name)
        return lambda: [saved_image(layer("loaded = once more"), tag=name)]

    yield archive
    for name in names:
        engine.remove_image(name)


def test_an_image_that_is_removed_at_once_is_loaded_again(
    engine: Engine, archive_named: Callable[..., Callable[[], list[bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, removed = "slimtrace-engine-test:again", []
    image_id = Engine.image_id

    def too_late(self: Engine, reference: str) -> str | None:
        if len(removed) < times:
            removed.append(reference)
            subprocess.run(["docker", "rmi", "--force", reference], capture_output=True, check=True)
        return image_id(self, reference)

    monkeypatch.setattr(Engine, "image_id", too_late)
    archive, times = archive_named(name), 2
    assert engine.load_as(name, archive).tags == (name,)
    assert len(removed) == times
    removed, times = [], 1000
    with pytest.raises(SlimtraceError, match="removed as soon as it is there") as caught:
        engine.load_as(name, archive)
    assert caught.value.exit_code is Exit.ENGINE
    times = 0


def test_two_that_load_and_remove_one_image_do_not_disturb_each_other(
    archive_named: Callable[..., Callable[[], list[bytes]]],
) -> None:
    """As two builds of one image do: with its last name the engine removes the image, also while another
    process loads it."""

    def load_and_remove(name: str) -> int:
        archive = archive_named(name)
        with Engine.connect() as own:
            for turn in range(13):
                assert own.load_as(name, archive).id, turn
                own.remove_image(name)
        return turn

    with ThreadPoolExecutor() as pool:
        names = [f"slimtrace-engine-test:racing-{each}" for each in "ab"]
        assert list(pool.map(load_and_remove, names)) == [12, 12]


def test_tagging_and_removing(engine: Engine, tag: str) -> None:
    engine.tag(tag, "slimtrace-engine-test.localhost:5000/x:2")
    assert engine.image_id("slimtrace-engine-test.localhost:5000/x:2") == engine.image_id(tag)
    engine.remove_image("slimtrace-engine-test.localhost:5000/x:2")
    engine.remove_image("slimtrace-engine-test.localhost:5000/x:2")
    assert engine.image_id("slimtrace-engine-test.localhost:5000/x:2") is None


def test_the_program_starts_without_loading_docker() -> None:
    script = "import sys, slimtrace.engine; sys.exit('docker' in sys.modules or 'requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
