"""Python modules and data that the code names work in the slim image, also where the exercise loaded none."""

import http.client
import json
import subprocess
from collections.abc import Callable

import pytest
from builds import Build
from containers import WAIT_SECONDS, address, docker, eventually, page, running


@pytest.fixture(scope="module")
def slimmed(built: Callable[[str], Build]) -> Build:
    return built("python-lazy")


def complaints(container: str) -> str:
    """The end of the container's stderr, where Flask writes its tracebacks."""
    done = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=False)
    return done.stderr[-1500:]


@pytest.mark.parametrize("path", ["/", "/lazy", "/page"])
def test_answers_as_before(slimmed: Build, path: str) -> None:
    assert slimmed.report["doubts"] == []
    answers = []
    for image in (slimmed.fat, slimmed.slim):
        with running(image) as container:
            host = address(container)
            eventually(lambda host=host: page(host, 8000), f"an answer of {image}")
            # One request with a long time-out: a second one would import the same modules at the same time.
            connection = http.client.HTTPConnection(host, 8000, timeout=WAIT_SECONDS)
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.status == 200, (image, complaints(container))
            answers.append(response.read())
            connection.close()
    assert answers[0] == answers[1]
    if path == "/lazy":
        assert json.loads(answers[1])["packages"][0] == "1.2"


def test_the_branch_that_is_rarely_taken(slimmed: Build) -> None:
    assert slimmed.report["doubts"] == []
    fat, slim = (docker("run", "--rm", "--env", "REPORT=yes", image) for image in (slimmed.fat, slimmed.slim))
    assert slim == fat
    assert "report: by app" in slim
    assert "the mean is 2" in slim


def test_only_what_is_named_is_kept(slimmed: Build) -> None:
    kept = slimmed.kept
    site = "/opt/venv/lib/python3.11/site-packages"
    assert f"{site}/measures/data/lengths.csv" in kept
    assert not {path for path in kept if path.startswith((f"{site}/pip/", "/usr/lib/python3.11/turtle"))}
    assert f"{site}/measures/data/unused.csv" not in kept
    assert f"{site}/measures/unused.py" not in kept
    assert "/usr/bin/awk" not in kept
