"""Which new cgroups the probes take for the container's: by the names that engines give to them."""

import contextlib
import secrets
from collections.abc import Iterable, Iterator

import pytest

from slimtrace.facts import wire
from slimtrace.observe.container import attach
from slimtrace.observe.kernel import syscalls
from slimtrace.observe.kernel.probes import Probes

pytestmark = pytest.mark.requires("bpf")

ID = secrets.token_hex(32)


OTHER = secrets.token_hex(32)
WATCHED_NAMES = (ID, f"docker-{ID}.scope", f"libpod-{ID}", f"libpod-{ID}.scope", f"cri-containerd-{ID}.scope")
IGNORED_NAMES = (
    f"libpod-conmon-{ID}.scope",
    f"crio-conmon-{ID}.scope",
    f"docker-{OTHER}.scope",
    OTHER,
    "conmon",
)


@contextlib.contextmanager
def made(names: Iterable[str]) -> Iterator[dict[int, str]]:
    """Make cgroups of these names below a new one, and remove them at the end: cgroup id -> name."""
    above = attach.cgroup_mount() / f"slimtrace-test-names-{secrets.token_hex(4)}"
    above.mkdir()
    found = {}
    try:
        for name in names:
            (above / name).mkdir()
            found[attach.cgroup_id(above / name)] = name
        yield found
    finally:
        for name in found.values():
            (above / name).rmdir()
        above.rmdir()


def test_the_containers_cgroup_is_told_from_its_monitors() -> None:
    armed: list[int] = []

    def take(raw: bytes) -> None:
        record = wire.decode(raw, syscalls.names_and_uses())
        if isinstance(record, wire.CgroupArmed):
            armed.append(record.id)

    with Probes(take) as probes:
        probes.arm(ID)
        probes.start()
        with made((*WATCHED_NAMES, *IGNORED_NAMES)) as names:
            probes.drain()
    assert [names[number] for number in armed] == list(WATCHED_NAMES)
