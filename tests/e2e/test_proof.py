"""Verification: a slim image is tried under all of its profiles before it gets its name; it is repaired by what
it lacked, and refused where that does not help."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from builds import PROGRAM, Build, Program
from containers import docker, exists
from sandbox import Sandbox, leftovers

from slimtrace import store
from slimtrace.errors import Exit
from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import MEASURES
from slimtrace.facts.events import Trace
from slimtrace.observe.container.apparmor_loader import unavailable

ALL = [measure for measure in MEASURES if measure != "apparmor" or not unavailable()]
IMAGES = ("jq", "nginx", "redis", "python", "node", "ruby", "java", "php", "postgres")


@pytest.fixture(scope="module")
def verified_build(build: Callable[..., Build]) -> Callable[..., Build]:
    """verified_build("jq", "--exec", "true") slims that image again, and tries the slim image."""
    return lambda name, *options: build(name, "--verify", *options)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_tried_under_all_measures_at_once(name: str, built: Callable[[str], Build]) -> None:
    report = built(name).report
    assert report["trial"]["measures"] == ALL
    assert report["trial"]["rounds"] <= 1
    assert report["confinement"]["read_only"], report["confinement"]["notes"]
    assert report["calls"] + report["calls_denied"] >= report["calls_default"] > 300
    assert not [doubt for doubt in report["doubts"] if doubt["code"] == "unsteady"]


# Captures from which something was removed


def without(trace: Trace, path: str, call: str) -> Trace:
    """The trace as if the program had not used this path, nor made this call."""
    return replace(
        trace,
        uses=tuple(use for use in trace.uses if path not in (use.asked, use.resolved)),
        calls=tuple(
            replace(group, calls=tuple(name for name in group.calls if name != call)) for group in trace.calls
        ),
    )


@pytest.fixture(scope="module")
def recorded(
    image: Callable[[str], str], slimtrace: Program, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Capture]:
    """recorded("nginx") is a new capture of that image."""

    def record(name: str, *options: str) -> Capture:
        folder = tmp_path_factory.mktemp(name) / "capture"
        done = slimtrace("record", *options, "-o", str(folder), image(name))
        assert done.returncode == Exit.OK, done.stderr
        return store.load(folder)

    return record


PAGE, CALL = "/var/www/html/index.html", "sendfile"


@pytest.fixture(scope="module")
def incomplete_capture(recorded: Callable[..., Capture]) -> Capture:
    """A capture of nginx as if nginx had neither read its page nor sent it by sendfile(2)."""
    capture = recorded("nginx")
    assert PAGE in {use.resolved for use in capture.trace.uses}
    assert CALL in {name for group in capture.trace.calls for name in group.calls}
    return replace(capture, trace=without(capture.trace, PAGE, CALL))


def test_a_file_and_a_call_that_are_missing_are_found_and_nothing_else(
    incomplete_capture: Capture, slimtrace: Program, name_for_slim: Callable[[str], str], tmp_path: Path
) -> None:
    slim, artifacts = name_for_slim("incomplete"), str(tmp_path / "artifacts")
    store.save(incomplete_capture, tmp_path / "edited")
    words = ("--json", "--from", str(tmp_path / "edited"), "--tag", slim, "--artifacts", artifacts)
    done = slimtrace("build", *words)
    assert done.returncode == Exit.OK, done.stderr
    trial = json.loads(done.stdout)["trial"]
    assert trial["repairs"] == {
        "paths": [PAGE], "calls": [CALL], "arguments": [], "capabilities": [], "writable": []
    }  # fmt: skip
    assert trial["measures"] == ALL
    assert json.loads((tmp_path / "artifacts" / "repairs.json").read_text()) == {
        "paths": [PAGE],
        "calls": [CALL],
    }
    why = slimtrace(
        "why", "--artifacts", str(tmp_path / "artifacts"), "--json", incomplete_capture.image.reference, PAGE
    )
    assert why.returncode == Exit.OK, why.stderr
    assert any(
        "missed by the slim image when it was tried" in each for each in json.loads(why.stdout)["reasons"]
    )


def test_without_repair_it_is_refused_and_the_name_stays_where_it_was(
    incomplete_capture: Capture,
    name_for_slim: Callable[[str], str],
    tmp_path: Path,
    image: Callable[[str], str],
) -> None:
    slim = name_for_slim("incomplete")
    docker("tag", image("jq"), slim)
    sandbox = Sandbox(tmp_path, slim, docker("images", "--quiet", "--no-trunc", slim))
    store.save(incomplete_capture, tmp_path / "edited")
    words = ("--from", str(tmp_path / "edited"), "--tag", slim, "--artifacts", str(sandbox.artifacts))
    build = sandbox.start([PROGRAM, "build", *words, "--rounds", "0"])
    assert build.wait() == Exit.UNVERIFIED, build.stderr
    assert "cannot vouch for the slim image of slimtrace-test/nginx:1: " in build.stderr
    assert f"still missing after 0 rounds: {PAGE}" in build.stderr
    assert leftovers(sandbox, build) == []


def test_what_a_rule_leaves_out_is_not_brought_back_by_a_trial(
    build: Callable[..., Build], verified_build: Callable[..., Build]
) -> None:
    refused = verified_build("nginx", "--exclude-pattern", PAGE)
    assert refused.completed.returncode == Exit.UNVERIFIED, refused.completed.stderr
    assert f"it looked for {PAGE}, which --exclude-pattern '{PAGE}' leaves out" in refused.completed.stderr
    assert not exists(refused.slim)
    accepted = build("nginx", "--exclude-pattern", PAGE)
    assert accepted.report["trial"] is None
    assert PAGE not in accepted.kept


# Images that work unconfined only


@pytest.fixture(scope="module")
def image_with_command(
    image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., str]]:
    """image_with_command("stubborn", "sh", "-c", …) is an image of that name with this CMD."""
    made: list[str] = []

    def make(name: str, *command: str) -> str:
        folder = tmp_path_factory.mktemp(name)
        (folder / "Dockerfile").write_text(f"FROM {image('base')}\nCMD {json.dumps(command)}\n")
        docker("build", "--quiet", "--tag", f"slimtrace-e2e/{name}:1", str(folder))
        made.append(f"slimtrace-e2e/{name}:1")
        return made[-1]

    yield make
    docker("rmi", *made)


def test_a_container_that_works_unconfined_only_is_told_as_such(
    image_with_command: Callable[..., str],
    slimtrace: Program,
    name_for_slim: Callable[[str], str],
    tmp_path: Path,
) -> None:
    stubborn = image_with_command("stubborn", "sh", "-c", "grep -q NoNewPrivs:.0 /proc/self/status || exit 7")
    slim = name_for_slim("stubborn")
    words = ("build", "--json", "--tag", slim, "--artifacts", str(tmp_path / "out"))
    done = slimtrace(*words, stubborn)
    assert done.returncode == Exit.UNVERIFIED, done.stderr
    assert "it works only without no-new-privileges: " in done.stderr
    assert "--without no-new-privileges leaves that out" in done.stderr
    assert not exists(slim)
    done = slimtrace(*words, "--without", "no-new-privileges", stubborn)
    assert done.returncode == Exit.OK, done.stderr
    report = json.loads(done.stdout)
    assert report["trial"]["measures"] == [each for each in ALL if each != "no-new-privileges"]
    assert not report["confinement"]["no_new_privileges"]
    assert "no-new-privileges" not in (tmp_path / "out" / "docker-run.txt").read_text()


def test_what_the_fat_image_was_denied_too_is_not_given_to_the_slim_one(
    image_with_command: Callable[..., str],
    slimtrace: Program,
    name_for_slim: Callable[[str], str],
    tmp_path: Path,
) -> None:
    # The program becomes nobody, and then opens a file that only root may read.
    nobody = ("setpriv", "--reuid", "65534", "--clear-groups")
    humble = image_with_command("humble", *nobody, "sh", "-c", "cat /etc/shadow || echo without")
    words = ("build", "--json", "--tag", name_for_slim("humble"), "--artifacts", str(tmp_path / "out"))
    done = slimtrace(*words, humble)
    assert done.returncode == Exit.OK, done.stderr
    report = json.loads(done.stdout)
    assert report["confinement"]["cap_add"] == ["setgid", "setpcap", "setuid"]
    assert (report["trial"]["attempts"], report["trial"]["rounds"]) == (1, 0)


# The verbs


def test_profile_makes_profiles_and_no_image(
    image_copy: Callable[[str], str], slimtrace: Program, tmp_path: Path
) -> None:
    fat = image_copy("redis")
    done = slimtrace("profile", "--artifacts", str(tmp_path / "out"), fat)
    assert done.returncode == Exit.OK, done.stderr
    assert "under seccomp, capabilities, no-new-privileges, read-only" in done.stdout
    # Each image that was made from it would have its label, whether it has a name or not.
    of_it = docker("images", "--all", "--quiet", "--no-trunc", "--filter", f"label=slimtrace.e2e={fat}")
    assert of_it.split() == [docker("images", "--quiet", "--no-trunc", fat)]
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"seccomp.json", "apparmor.profile", "docker-run.txt", "compose.yaml", "kubernetes.yaml"} <= found
    assert [name for name in found if name.endswith(".cil")]


def test_profile_looks_at_its_own_folder_before_it_runs_anything(
    image: Callable[[str], str], slimtrace: Program, tmp_path: Path
) -> None:
    folder = tmp_path / "slimtrace-artifacts" / "slimtrace-test-jq-1.profiles"
    folder.mkdir(parents=True)
    (folder / "mine").touch()
    done = slimtrace("profile", image("jq"), cwd=tmp_path)
    assert done.returncode == Exit.BAD_INPUT, done.stderr
    assert "it holds other files (mine)" in done.stderr
    assert "load probes" not in done.stderr


def test_verify_tells_a_good_image_from_one_that_lacks_a_file(
    built: Callable[[str], Build], build: Callable[..., Build], slimtrace: Program
) -> None:
    done = built("nginx")
    good = slimtrace("verify", "--artifacts", str(done.artifacts), "--json", done.fat, done.slim)
    assert good.returncode == Exit.OK, good.stderr
    answer = json.loads(good.stdout)
    assert (answer["same"], answer["differences"]) == (True, [])
    assert [Path(name).name for name in answer["profiles"]] == ["confinement.json", "seccomp.json"]

    broken = build("nginx", "--exclude-pattern", PAGE).slim
    bad = slimtrace("verify", "--artifacts", str(done.artifacts), done.fat, broken)
    assert bad.returncode == Exit.UNVERIFIED, bad.stderr
    assert f"{broken} does not come out as {done.fat} does" in bad.stdout
    assert PAGE in bad.stdout.partition("It lacked")[2]


# The trial drives the slim image as the recorded run was driven


def test_a_redis_save_under_its_profiles(verified_build: Callable[..., Build]) -> None:
    done = verified_build("redis", "--exec", "redis-cli set a 1", "--exec", "redis-cli save")
    report = done.report
    assert report["trial"]["measures"] == ALL
    assert report["trial"]["rounds"] == 0
    assert {"exec: redis-cli save"} <= {probe["target"] for probe in report["probes"]}


def test_a_profile_that_kills_holds_too(verified_build: Callable[..., Build]) -> None:
    done = verified_build("node", "--seccomp-action", "kill")
    assert done.report["trial"]["measures"] == ALL
    profile = json.loads((done.artifacts / "seccomp.json").read_text())
    assert profile["defaultAction"] == "SCMP_ACT_KILL_PROCESS"


DRIVE = "curl -fsS http://$SLIMTRACE_ADDRESS:$SLIMTRACE_PORT/lazy >/dev/null"


def test_an_endpoint_that_imports_lazily(verified_build: Callable[..., Build]) -> None:
    report = verified_build("python-lazy", "--host-exec", DRIVE).report
    assert report["trial"]["measures"] == ALL
    assert report["trial"]["rounds"] == 0


SERVER = """
import http.server, importlib
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        word = importlib.import_module("etal"[::-1]).WORD if self.path == "/lazy" else "no"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(word.encode())
http.server.HTTPServer(("", 8000), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def late_import_image(image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image with a module whose name is not in the code as text, and a module that nothing imports."""
    image("python")
    folder = tmp_path_factory.mktemp("lately")
    (folder / "server.py").write_text(SERVER)
    (folder / "late.py").write_text("WORD = 'yes'\n")
    (folder / "never.py").write_text("WORD = 'never'\n")
    (folder / "Dockerfile").write_text(
        "FROM slimtrace-test/python:1\nCOPY *.py /srv/lately/\nWORKDIR /srv/lately\nEXPOSE 8000\n"
        'STOPSIGNAL SIGKILL\nENTRYPOINT ["python", "server.py"]\n'
    )
    name = "slimtrace-e2e/lately:1"
    docker("build", "--quiet", "--tag", name, str(folder))
    yield name
    docker("rmi", name)


def test_a_module_that_only_the_trial_wanted_is_found_by_the_list_of_its_directory(
    late_import_image: str, slimtrace: Program, name_for_slim: Callable[[str], str], tmp_path: Path
) -> None:
    """Python looks for a module in the list of a directory: no lookup fails."""
    assert slimtrace("record", "-o", str(tmp_path / "capture"), late_import_image).returncode == Exit.OK
    words = ("--json", "--tag", name_for_slim("lately"), "--artifacts", str(tmp_path / "artifacts"))
    done = slimtrace("build", "--from", str(tmp_path / "capture"), "--host-exec", DRIVE, *words)
    assert done.returncode == Exit.OK, done.stderr
    report = json.loads(done.stdout)
    assert report["trial"]["repairs"]["paths"] == ["/srv/lately/late.py"]
    assert "/srv/lately/never.py" not in {file["path"] for file in report["files"]}
