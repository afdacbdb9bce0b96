"""What /proc/PID/mountinfo says."""

import os

import pytest

from slimtrace.facts.events import Mount
from slimtrace.observe.kernel import mountinfo


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"29 1 0:26 / /proc rw,nosuid shared:12 - proc proc rw", Mount("/proc", "proc", "proc", "/")),
        (
            b"36 35 98:0 /mnt1 /mnt2 rw - ext3 /dev/root rw,errors=continue",
            Mount("/mnt2", "ext3", "/dev/root", "/mnt1"),
        ),
        (b"1 2 0:1 / /a\\040b\\012c\\134 rw - tmpfs no\\040ne rw", Mount("/a b\nc\\", "tmpfs", "no ne", "/")),
        (
            b"1 2 0:1 /\\040b /\xff rw a:1 b:2 - overlay overlay rw",
            Mount("/\udcff", "overlay", "overlay", "/ b"),
        ),
        (b"1 2 0:1 / /a rw - nfs4", None),
        (b"1 2 0:1 /", None),
        (b"", None),
    ],
)
def test_a_line(line: bytes, expected: Mount | None) -> None:
    assert mountinfo._mount(line) == expected


def test_the_last_mount_at_a_place_counts_and_the_root_is_none() -> None:
    mounts = [
        Mount("/"),
        Mount("/proc"),
        Mount("/b", "ext4"),
        Mount("/proc", "proc"),
        Mount("/b", "tmpfs"),
        Mount("/b"),
    ]
    assert mountinfo.joined(mounts) == (Mount("/b", "tmpfs"), Mount("/proc", "proc"))


def test_our_own() -> None:
    found = {mount.path: mount for mount in mountinfo.mounted(os.getpid())}
    assert found["/proc"].filesystem == "proc" and "/" in found
    assert mountinfo.mounted(0) == ()
