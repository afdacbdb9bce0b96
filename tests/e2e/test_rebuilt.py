"""Dockerfile.fat is exact: an image that is built from it has the original's configuration. The images are made
by Docker's classic builder from Dockerfiles without COPY and ADD, whose sources an image does not record."""

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builds import Program
from containers import docker, inspect
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.requires("docker", "images")

EVERYTHING = r"""
ARG PLAIN
ARG VERSION=1.2
ARG SPACED="a b"
MAINTAINER Some One <one@example.org>
LABEL one=1 two="a b" "three"="q\"uote" four='$x' five=
LABEL multi="line one \
line two" org.example.url=https://example.org/?a=b&c=d
ENV A=1 B="two words" C='sin"gle' D=back\\slash E="dollar \$HOME" PATH=/x:$PATH
ENV OLD style value with spaces
ENV F="x=y G=z" G=last VERSION=$VERSION
RUN ["/bin/tool", "run", "exec form"]
SHELL ["/bin/tool", "-o", "pipefail", "-c"]
RUN echo $VERSION && \
    echo "quoted  spaces" && \
    # a comment
    true | cat
CMD echo in the shell "$A"
SHELL ["/bin/tool", "-c"]
RUN echo other
EXPOSE 80 53/udp 8000-8002 443/tcp
USER 1000:1000
USER nobody
WORKDIR /srv
WORKDIR rel/at ive
WORKDIR "/quo'ted"
VOLUME /data /other
VOLUME ["/with space", "/z"]
ENTRYPOINT ["jq", "--arg", "x", "tab\there \"q\" \\ é\u2028 $"]
CMD ["a b", "c\nd", "[1]"]
HEALTHCHECK --interval=30s --timeout=1m30s --start-period=2s --retries=10 CMD curl -f "http://x" || exit 1
HEALTHCHECK NONE
HEALTHCHECK --retries=39 CMD ["wget", "-q", "a b"]
STOPSIGNAL SIGQUIT
ONBUILD RUN echo hi "there"
ONBUILD COPY . /app
"""
ORDER = [line.partition(" ")[0] for line in EVERYTHING.splitlines() if line[:1].isupper()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """built(dockerfile) is the name of an image made of it by the classic builder."""
    folder = tmp_path_factory.mktemp("context")
    names: list[str] = []

    def build(dockerfile: str) -> str:
        names.append(f"slimtrace-e2e/rebuilt-{folder.parent.name}:{len(names)}")
        (folder / "Dockerfile").write_text(dockerfile)
        command = ["docker", "build", "--quiet", "--network", "none", "--tag", names[-1], str(folder)]
        done = subprocess.run(
            command,
            env={"DOCKER_BUILDKIT": "0", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            names.pop()
            raise AssertionError(f"{dockerfile}\n{done.stderr}")
        return names[-1]

    yield build
    for name in reversed(names):
        subprocess.run(["docker", "rmi", name], capture_output=True, check=False)


@pytest.fixture(scope="module")
def base(image: Callable[[str], str], built: Callable[[str], str]) -> str:
    """An image with exactly one name: its label makes its id differ from those of other sessions."""
    return built(f"FROM {image('jq')}\nLABEL session={uuid.uuid4()}\n")


def settings_of(name: str) -> tuple[dict[str, Any], str]:
    """An image's configuration and author, without Image and Hostname, which the classic builder sets."""
    config = inspect(name, ".Config")
    return {key: value for key, value in config.items() if key not in ("Image", "Hostname")}, inspect(
        name, ".Author"
    )


def reconstructed(slimtrace: Program, name: str) -> str:
    done = slimtrace("info", "--no-files", "--json", name)
    assert done.returncode == 0, done.stderr
    text: str = json.loads(done.stdout)["dockerfile"]
    return text


def instructions(dockerfile: str) -> list[str]:
    return [line.partition(" ")[0] for line in dockerfile.splitlines() if line[:1].isupper()]


def test_every_instruction_comes_back_in_order_and_exactly(
    slimtrace: Program, built: Callable[[str], str], base: str
) -> None:
    everything = EVERYTHING.replace("/bin/tool", "/bin/bash").replace('["/bin/bash", "run",', '["/bin/echo",')
    first = built(f"FROM {base}\n{everything}")
    again = reconstructed(slimtrace, first)
    assert f"\nFROM {base}\n" in again
    assert instructions(again) == ["FROM", *ORDER]
    second = built(again)
    assert settings_of(second) == settings_of(first)
    # The Dockerfile that is reconstructed from the second image has the same lines.
    strip = {"RUN", "FROM"} | set(ORDER)
    lines = [line for line in again.splitlines() if line.partition(" ")[0] in strip]
    assert [
        line for line in reconstructed(slimtrace, second).splitlines() if line.partition(" ")[0] in strip
    ] == lines


def test_a_base_that_is_not_there_is_said_to_be_unknown(
    slimtrace: Program, built: Callable[[str], str], tmp_path: Path
) -> None:
    name = built("FROM scratch\nLABEL only=this\nENV A=1\n")
    text = reconstructed(slimtrace, name)
    assert "does not say where the base image ends" in text
    assert instructions(text) == ["FROM", "LABEL", "ENV"]
    assert "\nFROM scratch\n" in text


VALUES = st.text(st.sampled_from("ab =\"'$\\/é#[]{},:;&|<>\t!"), max_size=12).map(str.strip)
NAMES = st.sampled_from(("A", "B_1", "LONG_NAME"))


def quoted(value: str) -> str:
    return '"' + "".join(f"\\{char}" if char in '"$\\' else char for char in value) + '"'


PAIRS = st.dictionaries(NAMES, VALUES, min_size=1).map(
    lambda pairs: " ".join(f"{name}={quoted(value)}" for name, value in pairs.items())
)
WORDS = st.lists(VALUES.filter(bool), min_size=1, max_size=3).map(json.dumps)
LINES = st.one_of(
    st.builds("ENV {}".format, PAIRS),
    st.builds("LABEL {}".format, PAIRS),
    st.builds("CMD {}".format, WORDS),
    st.builds("ENTRYPOINT {}".format, WORDS),
    st.builds("HEALTHCHECK --retries={} --interval=9s CMD {}".format, st.integers(1, 300), WORDS),
    st.builds("WORKDIR /{}".format, st.sampled_from(("x", "a b", "c/../d", "x$$y"))),
    st.builds("USER {}".format, st.sampled_from(("0", "1:2", "nobody", "nobody:nogroup"))),
    st.builds("EXPOSE {}".format, st.sampled_from(("1", "2/udp 3", "4-6", "7/tcp 7/udp"))),
    st.builds("VOLUME {}".format, st.sampled_from(("/v", "/v /w", '["/a b", "/c"]', '["/d e f"]'))),
    st.builds("STOPSIGNAL {}".format, st.sampled_from(("9", "SIGINT", "RTMIN+3"))),
    st.builds("SHELL {}".format, st.sampled_from(('["/bin/sh", "-c"]', '["/bin/bash", "-eu", "-c"]'))),
    st.builds("ONBUILD RUN {}".format, st.sampled_from(("echo a", 'echo "b c" $D'))),
)  # fmt: skip


@settings(max_examples=examples(12), deadline=None, suppress_health_check=list(HealthCheck))
@given(lines=st.lists(LINES, min_size=1, max_size=6))
def test_any_configuration_comes_back(
    slimtrace: Program, built: Callable[[str], str], base: str, lines: list[str]
) -> None:
    first = built("\n".join((f"FROM {base}", *lines)) + "\n")
    second = built(reconstructed(slimtrace, first))
    assert settings_of(second) == settings_of(first)
    docker("rmi", second)
