"""The Vagrantfile is valid, without any provider or network."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

VAGRANT = Path(__file__).parents[2] / "vagrant"


@pytest.mark.requires("vagrant")
def test_the_vagrantfile_is_valid(tmp_path: Path) -> None:
    # Vagrant's own state goes elsewhere: a test leaves nothing in the home or checkout.
    state = {"VAGRANT_HOME": str(tmp_path / "home"), "VAGRANT_DOTFILE_PATH": str(tmp_path / "dot")}
    done = subprocess.run(
        ["vagrant", "validate", "--ignore-provider"],
        cwd=VAGRANT,
        env={**os.environ, **state, "VAGRANT_CHECKPOINT_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
