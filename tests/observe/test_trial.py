"""How the container of a trial is launched, and how long the trial may take."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from slimtrace.engine import Launch
from slimtrace.facts.confinement import Confinement, Writable
from slimtrace.facts.runs import Run
from slimtrace.observe.container.apparmor_loader import trial_name
from slimtrace.observe.container.plan import Plan, Until
from slimtrace.observe.trial import Measures, confined_launch, trial_plan, trial_seconds

PROFILE = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}
PLACES = (Writable("/run", mode=0o1777), Writable("/srv/data", volume=True))
CONFINED = Confinement(cap_add=("chown",), writable=PLACES, user="7")


def test_without_measures_a_trial_is_launched_as_the_fat_image_was() -> None:
    base = Launch(env={"A": "1"}, binds=("/a:/b",), cap_add=("net_raw",))
    assert confined_launch(base, Measures()) == base


def test_all_measures_at_once() -> None:
    found = confined_launch(
        Launch(security_opt=("label=disable",)), Measures(CONFINED, PROFILE, "profile x {}")
    )
    *options, own = found.security_opt[::-1]
    assert own == "label=disable"
    assert set(options) == {f"seccomp={json.dumps(PROFILE)}", f"apparmor={trial_name()}", "no-new-privileges"}
    assert (found.cap_drop, found.cap_add, found.read_only, found.user) == (("ALL",), ("chown",), True, "7")
    assert found.volumes == ("/srv/data",)
    assert found.tmpfs == {"/run": "mode=1777,uid=0,gid=0"}


def test_a_measure_that_is_left_out_is_not_applied() -> None:
    lighter = replace(CONFINED, no_new_privileges=False, read_only=False, writable=())
    found = confined_launch(Launch(user="8"), Measures(lighter))
    assert (found.security_opt, found.read_only, found.tmpfs, found.user) == ((), False, {}, "8")


def test_podman_reads_the_profile_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "seccomp.json"
    found = confined_launch(Launch(), Measures(seccomp=PROFILE), file)
    assert found.security_opt == (f"seccomp={file}",)
    assert json.loads(file.read_text()) == PROFILE


@pytest.mark.parametrize(
    ("plan", "fat", "until", "ready"),
    [
        (Plan(), Run(ready_seconds=1.0, seconds=4.0), Until(), trial_seconds(1.0)),
        (Plan(), Run(exit_code=0, seconds=20.0), Until(), 60.0),  # not longer than the plan allows
        (Plan(ready_seconds=600), Run(exit_code=0, seconds=20.0), Until(), trial_seconds(20.0)),
        (Plan(until=Until("exit")), Run(seconds=4.0), Until("exit"), trial_seconds(0.0)),
        (Plan(until=Until("enter")), Run(seconds=7.0), Until("seconds", 7.0), trial_seconds(0.0)),
        (Plan(until=Until("seconds", 900)), Run(seconds=900.0), Until("seconds", 30.0), trial_seconds(0.0)),
        (Plan(until=Until("enter")), Run(seconds=0.1), Until("seconds", 1.0), trial_seconds(0.0)),
    ],
)
def test_how_long_a_trial_may_take(plan: Plan, fat: Run, until: Until, ready: float) -> None:
    found = trial_plan(plan, fat, "sha256:fat")
    assert (found.until, found.ready_seconds) == (until, ready)
    assert (found.tolerant, found.sidecar_image) == (True, "sha256:fat")


def test_the_ports_of_the_fat_run_are_awaited() -> None:
    assert trial_plan(Plan(), Run(ports=(80, 9000)), "").ports == (80, 9000)
