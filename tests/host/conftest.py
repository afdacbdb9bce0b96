"""Fixtures of the tests on this machine's kernel and engine."""

from collections.abc import Iterator

import pytest
from workloads.harness import workload_image

from slimtrace.engine import Engine


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine.connect() as connected:
        yield connected


@pytest.fixture(scope="session")
def tag(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The id of the image of the workloads, made once a session."""
    with workload_image(tmp_path_factory.mktemp("workloads")) as image:
        yield image
