"""Files that C programs and the JVM load late are in the slim image although the exercise did not use them."""

from collections.abc import Callable, Iterator

import pytest
from builds import Build
from containers import Page, address, eventually, inspect, page, running

from slimtrace import store
from slimtrace.reason.keep import graph_builder
from slimtrace.reason.keep.rules import Keep, Rules

PORT = 8080

# Files that only the page /lazy needs, which the exercise does not request; by image.
ON_DEMAND = {
    "c-lazy": {
        "/etc/protocols",
        "/etc/services",
        "/usr/lib/locale/C.utf8/LC_CTYPE",
        "/usr/lib/x86_64-linux-gnu/gconv/ISO8859-15.so",
        "/usr/lib/x86_64-linux-gnu/libgcc_s.so.1",
        "/usr/lib/x86_64-linux-gnu/libz.so.1.2.13",
        "/usr/share/zoneinfo/Europe/Berlin",
    },
    "java-lazy": {
        "/app/classes/Lazy.class",
        "/app/resources/words.properties",
        "/etc/java-17-openjdk/logging.properties",
        "/etc/java-17-openjdk/security/java.security",
        "/etc/ssl/certs/java/cacerts",
        "/usr/lib/jvm/java-17-openjdk-amd64/lib/jspawnhelper",
        "/usr/lib/jvm/java-17-openjdk-amd64/lib/libmanagement.so",
    },
}
# Lines that the page has to contain: two containers that fail in the same way would be equal too.
EXPECTED_LINES = {
    "c-lazy": (
        "library: 1.2.13", "names: port 80", "protocol: 6", "locale: C.UTF-8 UTF-8", "zone: 01 CET",
        "charset: e282ac", "thread: cancelled",
    ),
    "java-lazy": (
        "class: extra and further", "resource: hello from a resource",
        "logging: java.util.logging.ConsoleHandler", "zone: 1970-01-01T01:00+01:00[Europe/Berlin]",
        "tls: Default", "native: 55bc801d", "management: threads true", "process: exit 0, a version",
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=sorted(ON_DEMAND))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def lazy(name: str, built: Callable[[str], Build]) -> Build:
    done = built(name)
    assert done.completed.returncode == 0, done.completed.stderr
    return done


@pytest.fixture(scope="module")
def fat(lazy: Build) -> Iterator[str]:
    with running(lazy.fat) as container:
        yield container


@pytest.fixture(scope="module")
def slim(lazy: Build) -> Iterator[str]:
    with running(lazy.slim) as container:
        yield container


def ask(container: str, path: str) -> Page:
    return eventually(lambda: page(address(container), PORT, path), f"an answer to {path}")


def test_the_untouched_page_is_as_in_the_fat_image(name: str, fat: str, slim: str) -> None:
    expected = ask(fat, "/lazy")
    assert expected.status == 200
    said = expected.body.decode()
    assert [line for line in EXPECTED_LINES[name] if line not in said.splitlines()] == []
    assert ask(slim, "/").body.decode() == f"{name}\n"
    assert ask(slim, "/lazy").body.decode() == said


def test_its_files_are_kept_on_demand_and_not_with_exact(lazy: Build, name: str) -> None:
    seen = store.load(lazy.artifacts / "capture")
    assert ON_DEMAND[name] <= lazy.kept
    assert ON_DEMAND[name] <= set(graph_builder.build_graph(seen).paths())
    assert not ON_DEMAND[name] & set(graph_builder.build_graph(seen, Rules(keep=Keep.EXACT)).paths())


def test_nothing_is_doubtful(lazy: Build) -> None:
    assert lazy.report["doubts"] == []


def test_little_more_is_kept(lazy: Build, name: str) -> None:
    limit = {"c-lazy": 3_200_000, "java-lazy": 175_000_000}[name]
    assert inspect(lazy.slim, ".Size") <= limit
