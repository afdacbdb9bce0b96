"""The artifact folder: all at once, for the user who called sudo, and never over anything else."""

import subprocess
from pathlib import Path

import pytest

from slimtrace.assemble.artifacts import SUMS, remove, write
from slimtrace.errors import SlimtraceError

FILES = {"creport.json": "{}", "capture/tree.jsonl.gz": b"\x1f\x8b"}


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_files_appear_with_their_checksums_and_are_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "my" / "app"
    write(target, {**FILES, "old": "x"})
    write(target, FILES)
    assert names(target) == sorted([*FILES, SUMS])
    assert subprocess.run(["sha256sum", "-c", "--quiet", SUMS], cwd=target, check=False).returncode == 0
    assert [path.name for path in target.parent.iterdir()] == ["app"]
    assert (target / "creport.json").stat().st_mode & 0o777 == 0o644
    remove(target)
    remove(target)
    assert not target.exists()


def test_other_files_are_never_lost(tmp_path: Path) -> None:
    write(tmp_path / "app", FILES)
    (tmp_path / "app" / "thesis.tex").write_text("precious")
    for act in (lambda: write(tmp_path / "app", FILES), lambda: remove(tmp_path / "app")):
        with pytest.raises(SlimtraceError, match=r"thesis\.tex"):
            act()
    assert (tmp_path / "app" / "thesis.tex").read_text() == "precious"


def test_nothing_at_the_target_is_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    (tmp_path / "file").write_text("x")
    for name in ("link", "file"):
        with pytest.raises(SlimtraceError, match="it is"):
            write(tmp_path / name, FILES)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    with pytest.raises(SlimtraceError, match="cannot write"):
        write(tmp_path / "file" / "below", FILES)


@pytest.mark.requires("root")
def test_they_belong_to_the_user_who_called_sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", "1234")
    monkeypatch.setenv("SUDO_GID", "2345")
    write(tmp_path / "new" / "app", FILES)
    made = [tmp_path / "new", tmp_path / "new/app", *(tmp_path / "new/app").rglob("*")]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(1234, 2345)}
    assert tmp_path.stat().st_uid == 0
