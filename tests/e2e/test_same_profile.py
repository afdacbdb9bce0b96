"""The same image recorded many times gives the same seccomp profile."""

from collections.abc import Callable
from pathlib import Path

from conftest import Program

from slimtrace import store
from slimtrace.reason.confine import seccomp

TIMES = 20


def test_twenty_recordings_give_one_profile(
    slimtrace: Program, image: Callable[[str], str], tmp_path: Path
) -> None:
    fat = image("jq")
    profiles = set()
    for turn in range(TIMES):
        folder = tmp_path / f"capture-{turn}"
        done = slimtrace("record", fat, "--output", str(folder), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        capture = store.load(folder)
        assert capture.trace.lost == 0
        profiles.add(seccomp.to_text(seccomp.profile(capture)))
    assert len(profiles) == 1
