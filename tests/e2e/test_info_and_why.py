"""`slimtrace info` and `slimtrace why` as a user runs them, and the basis of `why`: the decision that is
repeated from a stored capture equals the build's."""

import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builds import PROGRAM, Build, Program
from containers import entries, inspect

from slimtrace import store
from slimtrace.errors import Exit
from slimtrace.facts.paths import printable
from slimtrace.queries import rules_in_force
from slimtrace.reason.explain.repeat_decision import decide
from slimtrace.reason.explain.report import kept_files

AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


@pytest.fixture(scope="module")
def why(built: Callable[[str], Build], slimtrace: Program) -> Callable[..., tuple[int, dict[str, Any]]]:
    """why("jq", "/etc/passwd"): the exit code and the JSON answer, for that image slimmed without options."""

    def ask(name: str, path: str) -> tuple[int, dict[str, Any]]:
        build = built(name)
        assert build.completed.returncode == 0, build.completed.stderr
        done = slimtrace("why", "--json", "--artifacts", str(build.artifacts), build.fat, path)
        assert done.stderr == ""
        return done.returncode, json.loads(done.stdout)

    return ask


@pytest.mark.parametrize("name", ["jq", "python", "nginx"])
def test_a_stored_capture_decides_again_as_the_build_did(built: Callable[[str], Build], name: str) -> None:
    build = built(name)
    capture = store.load(build.artifacts / "capture")
    again = decide(capture, rules_in_force(build.artifacts))
    assert again.unanswered == ()
    now = [(file.path, list(file.reasons)) for file in kept_files(again.selection, capture.tree)]
    assert now == [(file["path"], file["reasons"]) for file in build.report["files"]]
    doubts = [(doubt.code, doubt.text) for doubt in again.selection.doubts]
    assert doubts == [(doubt["code"], doubt["text"]) for doubt in build.report["doubts"]]


def test_every_kept_file_has_a_chain_and_every_dropped_one_a_cause(
    built: Callable[[str], Build], why: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    report = built("python").report
    kept = [file["path"] for file in report["files"]]
    for path in kept[1 :: len(kept) // 12]:
        code, answer = why("python", path)
        assert (code, answer["verdict"], answer["cautions"]) == (Exit.OK, "kept", [])
        assert printable(answer["chain"][-1]["path"]) == path
        assert len(answer["reasons"]) == len(
            next(file for file in report["files"] if file["path"] == path)["reasons"]
        )
    fat = entries(built("python").fat)
    dropped = sorted(fat.keys() - set(kept))
    for path in dropped[:: len(dropped) // 8]:
        code, answer = why("python", path)
        assert (code, answer["verdict"], answer["chain"]) == (Exit.NOT_KEPT, "dropped", [])
        assert answer["because"]


def test_the_chain_of_an_application_s_file(why: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    code, answer = why("python", "app.py")  # relative to WORKDIR
    assert code == Exit.OK
    assert answer["path"] == "/srv/app/app.py"
    assert [(step["path"], step["words"]) for step in answer["chain"]] == [
        ("/usr/local/bin/docker-entrypoint.sh", "executed by the container's start"),
        ("/usr/bin/python3.11", "executed by /usr/local/bin/docker-entrypoint.sh"),
        ("/srv/app/app.py", "opened by /usr/bin/python3.11"),
    ]


def test_a_path_that_the_image_does_not_have(why: Callable[..., tuple[int, dict[str, Any]]]) -> None:
    code, answer = why("python", "/srv/app/apq.py")
    assert (code, answer["verdict"]) == (Exit.NOT_KEPT, "absent")
    assert any("similar there: app.py" in each["text"] for each in answer["because"])


def test_what_only_a_command_of_exec_used_is_said_to_be_that(
    build: Callable[..., Build], slimtrace: Program
) -> None:
    done = build("nginx", "--exec", "ls -l /usr/share")
    answered = slimtrace("why", "--artifacts", str(done.artifacts), done.fat, "/usr/bin/ls")
    assert answered.returncode == Exit.NOT_KEPT
    assert "only your own --exec used it: ls -l /usr/share" in answered.stdout


def test_it_needs_neither_root_nor_docker(built: Callable[[str], Build], tmp_path: Path) -> None:
    if subprocess.run([*AS_NOBODY, PROGRAM, "--version"], capture_output=True, check=False).returncode:
        pytest.skip("the checkout is in a folder that other users cannot read")
    build = built("jq")
    folder = tmp_path / "slimtrace-artifacts" / "slimtrace-test-jq-1"
    shutil.copytree(build.artifacts, folder)
    for above in (*folder.parents[:5], *folder.rglob("*")):
        if tmp_path in (above, *above.parents) or above.is_relative_to("/tmp"):
            above.chmod(0o755)
    command = [*AS_NOBODY, "env", "DOCKER_HOST=unix:///nowhere", PROGRAM, "why", build.fat, "/usr/bin/jq"]
    answered = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answered.returncode == Exit.OK, answered.stderr
    assert f"/usr/bin/jq is in {build.slim}" in answered.stdout
    assert "executed by the container's start" in answered.stdout


def test_artifacts_that_are_not_there_or_another_image_s(
    built: Callable[[str], Build], slimtrace: Program, tmp_path: Path
) -> None:
    jq = built("jq")
    refused = slimtrace("why", "some/app:1", "/x", cwd=tmp_path)
    assert refused.returncode == Exit.BAD_INPUT
    assert "slimtrace-artifacts/some-app-1/creport.json" in refused.stderr
    assert "--artifacts DIR" in refused.stderr
    refused = slimtrace("why", "some/app:1", "/x", "--artifacts", str(jq.artifacts))
    assert refused.returncode == Exit.BAD_INPUT
    assert f"the artifacts in {jq.artifacts} are of slimtrace-test/jq:1" in refused.stderr
    for name in (jq.slim, inspect(jq.fat, ".Id"), inspect(jq.fat, ".Id")[7:19]):
        assert slimtrace("why", name, "/usr/bin/jq", "--artifacts", str(jq.artifacts)).returncode == Exit.OK
    broken = tmp_path / "broken"
    shutil.copytree(jq.artifacts, broken)
    (broken / "creport.json").write_text('{"files": 5}')
    refused = slimtrace("why", jq.fat, "/usr/bin/jq", "--artifacts", str(broken))
    assert refused.returncode == Exit.BAD_INPUT
    assert refused.stderr.startswith("slimtrace: cannot read ")


def test_other_rules_than_the_build_s_are_noticed(
    built: Callable[[str], Build], slimtrace: Program, tmp_path: Path
) -> None:
    jq = built("jq")
    other = tmp_path / "other"
    shutil.copytree(jq.artifacts, other)
    report = json.loads((other / "creport.json").read_text())
    report["files"] = [file for file in report["files"] if file["path"] != "/usr/bin/jq"]
    (other / "creport.json").write_text(json.dumps(report))
    answered = slimtrace("why", jq.fat, "/usr/bin/jq", "--artifacts", str(other))
    assert "the build decided otherwise about one path, such as /usr/bin/jq" in answered.stdout


def test_a_recording_can_be_asked_too(image: Callable[[str], str], slimtrace: Program, tmp_path: Path) -> None:
    output = tmp_path / "capture"
    assert slimtrace("record", image("jq"), "--output", str(output)).returncode == Exit.OK
    answered = slimtrace("why", image("jq"), "/usr/bin/jq", "--artifacts", str(output))
    assert answered.returncode == Exit.OK, answered.stderr
    assert "/usr/bin/jq is in the slim image" in answered.stdout
    assert "Beware" not in answered.stdout


def info(slimtrace: Program, *words: str) -> dict[str, Any]:
    done = slimtrace("info", "--json", *words)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", ["edge", "hostile", "exits-3"])
def test_info_counts_what_a_container_sees(image: Callable[[str], str], slimtrace: Program, name: str) -> None:
    tag = image(name)
    found = info(slimtrace, tag)["inventory"]
    seen = entries(tag)
    files = {path: entry for path, entry in seen.items() if entry.kind in (tarfile.REGTYPE, tarfile.AREGTYPE)}
    assert found["files"] == len(files)
    assert found["size"] == sum({min(entry.names): entry.size for entry in files.values()}.values())
    assert found["links"] == sum(entry.kind == tarfile.SYMTYPE for entry in seen.values())
    rights = {path for path, entry in files.items() if entry.mode & 0o6000 or entry.capability}
    assert {file["path"] for file in found["powerful"]} == rights
    assert found["hidden"] == 0


def test_info_names_the_base_and_what_each_layer_hides(image: Callable[[str], str], slimtrace: Program) -> None:
    done = slimtrace("info", image("layered"))
    assert "FROM slimtrace-test/base:bookworm" in done.stdout
    assert "layer 3  replaces 1 file, 200 kB; removes 1 file, 300 kB" in done.stdout
    assert info(slimtrace, image("layered"))["inventory"]["hidden"] == 2_700_000
    assert "-rwsr-xr-x  1000:50  /srv/one/setuid" in done.stdout
    assert "3 of  5.00 MB  /srv/four/copy, /srv/one/copy and 1 more" in done.stdout


def test_info_without_the_files(image: Callable[[str], str], slimtrace: Program) -> None:
    found = info(slimtrace, "--no-files", image("layered"))
    assert found["inventory"] is None
    assert found["base"] == "slimtrace-test/base:bookworm"
    assert found["image"]["config"]["WorkingDir"] == "/srv/one"


def test_info_of_a_hostile_image(image: Callable[[str], str], slimtrace: Program) -> None:
    done = slimtrace("info", image("hostile"))
    assert done.returncode == 0, done.stderr
    assert all(char == "\n" or char.isprintable() for char in done.stdout)
