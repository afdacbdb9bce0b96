"""What the tests on this machine's kernel and engine share."""

from collections.abc import Iterator

import pytest
from workloads.harness import built

from slimtrace.engine import Engine


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine.connect() as connected:
        yield connected


@pytest.fixture(scope="session")
def tag(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image of the workloads, compiled once."""
    with built(tmp_path_factory.mktemp("workloads")) as image:
        yield image
