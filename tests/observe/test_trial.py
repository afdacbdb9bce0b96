"""How a trial is started, and how long it may take."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from slimtrace.engine import Launch
from slimtrace.facts.confinement import Confinement, Writable
from slimtrace.facts.runs import Run
from slimtrace.observe.container.apparmor_loader import trial_name
from slimtrace.observe.container.plan import Plan, Until
from slimtrace.observe.trial import Measures, launch, longer, trial_plan

PROFILE = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}
PLACES = (Writable("/run", mode=0o1777), Writable("/srv/data", volume=True))
CONFINED = Confinement(cap_add=("chown",), writable=PLACES, user="7")


def test_without_measures_it_is_started_as_the_fat_one_was() -> None:
    base = Launch(env={"A": "1"}, binds=("/a:/b",), cap_add=("net_raw",))
    assert launch(base, Measures()) == base


def test_all_measures_at_once() -> None:
    found = launch(Launch(security_opt=("label=disable",)), Measures(CONFINED, PROFILE, "profile x {}"))
    *options, own = found.security_opt[::-1]
    assert own == "label=disable"
    assert set(options) == {f"seccomp={json.dumps(PROFILE)}", f"apparmor={trial_name()}", "no-new-privileges"}
    assert (found.cap_drop, found.cap_add, found.read_only, found.user) == (("ALL",), ("chown",), True, "7")
    assert found.volumes == ("/srv/data",)
    assert found.tmpfs == {"/run": "mode=1777,uid=0,gid=0"}


def test_what_was_left_out_is_not_put_on() -> None:
    lighter = replace(CONFINED, no_new_privileges=False, read_only=False, writable=())
    found = launch(Launch(user="8"), Measures(lighter))
    assert (found.security_opt, found.read_only, found.tmpfs, found.user) == ((), False, {}, "8")


def test_podman_reads_the_profile_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "seccomp.json"
    found = launch(Launch(), Measures(seccomp=PROFILE), file)
    assert found.security_opt == (f"seccomp={file}",)
    assert json.loads(file.read_text()) == PROFILE


@pytest.mark.parametrize(
    ("plan", "fat", "until", "ready"),
    [
        (Plan(), Run(ready_seconds=1.0, seconds=4.0), Until(), longer(1.0)),
        (Plan(), Run(exit_code=0, seconds=20.0), Until(), 60.0),  # not longer than the plan allows
        (Plan(ready_seconds=600), Run(exit_code=0, seconds=20.0), Until(), longer(20.0)),
        (Plan(until=Until("exit")), Run(seconds=4.0), Until("exit"), longer(0.0)),
        (Plan(until=Until("enter")), Run(seconds=7.0), Until("seconds", 7.0), longer(0.0)),
        (Plan(until=Until("seconds", 900)), Run(seconds=900.0), Until("seconds", 30.0), longer(0.0)),
        (Plan(until=Until("enter")), Run(seconds=0.1), Until("seconds", 1.0), longer(0.0)),
    ],
)
def test_how_long_a_trial_may_take(plan: Plan, fat: Run, until: Until, ready: float) -> None:
    found = trial_plan(plan, fat, "sha256:fat")
    assert (found.until, found.ready_seconds) == (until, ready)
    assert (found.tolerant, found.aside) == (True, "sha256:fat")


def test_the_ports_of_the_fat_run_are_awaited() -> None:
    assert trial_plan(Plan(), Run(ports=(80, 9000)), "").ports == (80, 9000)
