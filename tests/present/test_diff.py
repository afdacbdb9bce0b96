"""What `slimtrace diff` prints."""

import io

from slimtrace.present.diff import DIRECTORIES_SHOWN, print_removed_files
from slimtrace.reason.explain.removed_files import DirectoryLoss, PackageLoss, RemovedFiles, RemovedPath

FOUND = RemovedFiles(
    fat="my/app:1",
    slim="my/app.slim:1",
    files=100,
    bytes=1_000_000,
    gone=60,
    gone_bytes=400_000,
    cut_bytes=2_000,
    packages=(
        PackageLoss("deb", "gcc", "12", 50, 50, 300_000),
        PackageLoss("pypi", "a\x1b[31m", "", 4, 9, 90_000),
    ),
    directories=tuple(DirectoryLoss(f"/opt/{at}", 1, 1) for at in range(DIRECTORIES_SHOWN + 2)),
    paths=(RemovedPath("/usr/bin/gcc", 300_000, "deb gcc"), RemovedPath("/opt/\n", 1)),
)


def printed(with_paths: bool = False) -> str:
    out = io.StringIO()
    print_removed_files(FOUND, with_paths, out)
    return out.getvalue()


def test_the_head_has_the_totals() -> None:
    head = printed().splitlines()[0]
    assert head == "my/app.slim:1 is without 60 files of 100 and 402 kB of 1.00 MB of my/app:1"


def test_packages_gone_whole_and_in_part() -> None:
    lines = [line.split() for line in printed().splitlines()]
    assert ["300", "kB", "whole", "50", "of", "50", "deb", "gcc", "12"] in lines
    assert ["90.0", "kB", "part", "4", "of", "9", "pypi", r"a\x1b[31m"] in lines
    assert ["packages", "gone", "whole", "1", "50", "files", "300", "kB"] in lines
    assert ["packages", "gone", "in", "part", "1", "4", "files", "90.0", "kB"] in lines
    assert ["of", "no", "package", "27", "files", "27", "B"] in lines


def test_many_directories_are_cut_short() -> None:
    assert "and 2 more directories" in printed()


def test_files_only_when_asked_for() -> None:
    assert "/usr/bin/gcc" not in printed()
    assert "/usr/bin/gcc" in printed(True)
    assert "/opt/\\n" in printed(True)
