"""Profiles of a trial come and go; here by a parser of our own, in tests/vm/test_enforced.py the real one."""

import os
from pathlib import Path

import pytest

from slimtrace import owner
from slimtrace.errors import SlimtraceError
from slimtrace.observe.container import apparmor_loader

# Keeps the list of profiles as the kernel does, refuses a profile that says so.
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
    """The list of profiles."""
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


def test_it_is_there_as_long_as_needed(kernel: Path) -> None:
    name = apparmor_loader.trial_name()
    with apparmor_loader.loaded(name, f'profile "{name}" {{}}\n') as in_force:
        assert in_force
        assert apparmor_loader.names() == {"docker-default", "a name (with) more", name}
    assert apparmor_loader.names() == {"docker-default", "a name (with) more"}


def test_it_goes_also_after_a_failure(kernel: Path) -> None:
    name = apparmor_loader.trial_name()
    with pytest.raises(ZeroDivisionError), apparmor_loader.loaded(name, f'profile "{name}" {{}}\n'):
        raise ZeroDivisionError
    assert name not in apparmor_loader.names()


def test_a_refused_profile_is_an_error(kernel: Path) -> None:
    with pytest.raises(SlimtraceError, match="cannot load"), apparmor_loader.loaded("x", "refused"):
        pass


def test_leftovers_of_the_dead_go(kernel: Path) -> None:
    dead, mine = "slimtrace-trial-4194304-1", f"slimtrace-trial-{owner.current().replace(':', '-')}"
    kernel.write_text(f"{dead} (enforce)\n{mine} (enforce)\nslimtrace-nginx (enforce)\n")
    assert apparmor_loader.sweep() == 1
    assert apparmor_loader.names() == {mine, "slimtrace-nginx"}


@pytest.mark.parametrize("says", ["N\n", None])
def test_without_apparmor_nothing_is_in_force(kernel: Path, says: str | None) -> None:
    if says is None:
        apparmor_loader.ENABLED.unlink()
    else:
        apparmor_loader.ENABLED.write_text(says)
    assert apparmor_loader.unavailable()
    with apparmor_loader.loaded("x", "refused") as in_force:
        assert not in_force
