"""Which runs of a capture are repeated in a trial, and the messages about trials."""

from dataclasses import replace
from pathlib import Path

from slimtrace.engine import Launch
from slimtrace.errors import Exit
from slimtrace.facts.confinement import Repairs
from slimtrace.facts.events import CallArguments
from slimtrace.facts.image import Image
from slimtrace.facts.runs import Answer, Difference, Run, Start
from slimtrace.observe.container.plan import Plan
from slimtrace.pipeline.observation import variables_without_value
from slimtrace.pipeline.proof import steady_differences, unverified_error
from slimtrace.pipeline.request import Request
from slimtrace.pipeline.trials import Attempt, abridged, cases, describe_differences, describe_repairs
from slimtrace.reason.prove.diagnosis import Diagnosis

CAPTURED = Request("app", captures=(Path("c"),))
SERVED = Run(
    Start(cmd=("serve",), env=("A",), user="7"),
    execs=("app --check",),
    host_execs=("rm -rf /",),
    http_probe=False,
    answers=(Answer("host: rm -rf /", True), Answer("exec: app --check", True)),
)


def test_the_plan_of_a_run_made_now_is_repeated_unchanged() -> None:
    request = Request("app", plan=Plan(host_execs=("./drive.sh",)))
    [case] = cases(request, [SERVED])
    assert (case.plan, case.fat_runs) == (request.plan, (SERVED,))


def test_a_capture_cannot_make_us_run_anything_on_the_host() -> None:
    [case] = cases(CAPTURED, [SERVED])
    assert case.plan.host_execs == ()
    assert (case.plan.launch.binds, case.plan.launch.network) == ((), "")
    assert (case.plan.execs, case.plan.http_probe) == (("app --check",), False)
    assert (case.plan.launch.cmd, case.plan.launch.env, case.plan.launch.user) == (("serve",), {}, "7")
    assert [answer.target for answer in case.fat_runs[0].answers] == ["exec: app --check"]


def test_options_that_are_given_again_are_repeated() -> None:
    plan = Plan(Launch(binds=("/a:/b",), env={"A": "2"}), host_execs=("./drive.sh",))
    [case] = cases(replace(CAPTURED, plan=plan), [SERVED])
    assert (case.plan.host_execs, case.plan.launch.binds) == (("./drive.sh",), ("/a:/b",))
    assert case.plan.launch.env == {"A": "2"}
    assert variables_without_value(CAPTURED, [SERVED]) == ("A",)
    assert variables_without_value(replace(CAPTURED, plan=plan), [SERVED]) == ()
    assert case.fat_runs == (SERVED,)


def test_runs_that_were_started_the_same_are_one_case() -> None:
    twice = replace(SERVED, seconds=9.0)
    other = replace(SERVED, start=Start(cmd=("work",)))
    found = cases(CAPTURED, [SERVED, other, twice])
    assert [len(case.fat_runs) for case in found] == [2, 1]
    many = [replace(SERVED, start=Start(cmd=(str(number),))) for number in range(9)]
    assert len(cases(CAPTURED, many)) == 4


def test_repairs_in_words() -> None:
    repairs = Repairs(
        ("/a\x1b[2J",), ("splice",), (CallArguments("socket", 0, (16,)),), ("chown",), ("/var/x",)
    )
    assert describe_repairs(repairs) == (
        "/a\\x1b[2J",
        "system call splice",
        "system call socket with 0x10",
        "capability chown",
        "/var/x writable",
    )
    assert abridged("abc") == "a, b, c"
    assert abridged("abcde") == "a, b, c and 2 more"


def test_what_the_fat_image_does_not_repeat_is_no_difference() -> None:
    body = Difference("body", "it said x", "GET /")
    status = Difference("status", "it answered 500", "GET /")
    assert steady_differences((body, status), (replace(body, text="it said y"),)) == (status,)


def test_the_error_names_the_missing_piece() -> None:
    image = Image("sha256:1", "my/app")
    attempt = Attempt((Difference("status", "port 80 answered 500, 200 expected"),) * 2, (), ("a line",))

    def hint(diagnosis: Diagnosis) -> str:
        problem = unverified_error(image, attempt, diagnosis, Request("my/app"))
        said = "cannot vouch for the slim image of my/app: port 80 answered 500, 200 expected"
        assert (problem.message, problem.exit_code, problem.log) == (said, Exit.UNVERIFIED, ("a line",))
        return problem.hint

    assert describe_differences(attempt.differences) == "port 80 answered 500, 200 expected"
    assert hint(Diagnosis(Repairs(paths=("/a",)))) == "still missing after 3 rounds: /a; --rounds allows more"
    assert "/a, which --exclude-pattern '**' leaves out" in hint(Diagnosis(Repairs(), (), {"/a": "**"}))
    assert "it listed directories from which this is left out: /d/x" in hint(Diagnosis(Repairs(), ("/d/x",)))
    assert hint(Diagnosis(Repairs())).startswith("--include-path keeps what it needs")
