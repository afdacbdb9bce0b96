"""Profiles of a trial are loaded and removed, here by a fake parser; tests/vm/test_enforced.py has the real
one."""

import os
from pathlib import Path

import pytest

from slimtrace import owner
from slimtrace.errors import SlimtraceError
from slimtrace.observe.container import apparmor_loader

# Keeps the list of profiles as the kernel does, and refuses a profile with the word "refused".
FAKE = r"""#!/bin/sh
text=$(cat)
case $text in *refused*) echo "AppArmor parser error" >&2; exit 1 ;; esac
name=$(printf '%s\n' "$text" | sed -n 's/^profile "\([^"]*\)".*/\1/p')
grep -v "^$name (" "$LIST" >"$LIST.new"
[ "$1" = --remove ] || echo "$name (enforce)" >>"$LIST.new"
mv "$LIST.new" "$LIST"
"""


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that stands for the kernel's list of profiles."""
    listed, enabled, parser = tmp_path / "profiles", tmp_path / "enabled", tmp_path / "apparmor_parser"
    listed.write_text("docker-default (enforce)\na name (with) more (complain)\n")
    enabled.write_text("Y\n")
    parser.write_text(FAKE)
    parser.chmod(0o755)
    monkeypatch.setenv("LIST", str(listed))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(apparmor_loader, "ENABLED", enabled)
    monkeypatch.setattr(apparmor_loader, "PROFILES", listed)
    return listed


def test_a_profile_is_loaded_within_the_block(kernel: Path) -> None:
    name = apparmor_loader.trial_name()
    with apparmor_loader.loaded(name, f'profile "{name}" {{}}\n') as in_force:
        assert in_force
        assert apparmor_loader.names() == {"docker-default", "a name (with) more", name}
    assert apparmor_loader.names() == {"docker-default", "a name (with) more"}


def test_a_profile_is_removed_after_a_failure_too(kernel: Path) -> None:
    name = apparmor_loader.trial_name()
    with pytest.raises(ZeroDivisionError), apparmor_loader.loaded(name, f'profile "{name}" {{}}\n'):
        raise ZeroDivisionError
    assert name not in apparmor_loader.names()


def test_a_refused_profile_is_an_error(kernel: Path) -> None:
    with pytest.raises(SlimtraceError, match="cannot load"), apparmor_loader.loaded("x", "refused"):
        pass


def test_profiles_of_processes_that_are_gone_are_removed(kernel: Path) -> None:
    dead, mine = "slimtrace-trial-4194304-1", f"slimtrace-trial-{owner.current().replace(':', '-')}"
    kernel.write_text(f"{dead} (enforce)\n{mine} (enforce)\nslimtrace-nginx (enforce)\n")
    assert apparmor_loader.sweep() == 1
    assert apparmor_loader.names() == {mine, "slimtrace-nginx"}


@pytest.mark.parametrize("enabled", ["N\n", None])
def test_without_apparmor_nothing_is_in_force(kernel: Path, enabled: str | None) -> None:
    if enabled is None:
        apparmor_loader.ENABLED.unlink()
    else:
        apparmor_loader.ENABLED.write_text(enabled)
    assert apparmor_loader.unavailable()
    with apparmor_loader.loaded("x", "refused") as in_force:
        assert not in_force
