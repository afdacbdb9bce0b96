"""What a run calls for: capabilities, no new privileges, the user. Writable directories are in
test_writable."""

from dataclasses import replace
from typing import Any

import pytest

from slimtrace.facts.capture import Answers, Capture
from slimtrace.facts.confinement import DOCKER_CAPABILITIES as CAPABILITIES
from slimtrace.facts.confinement import MEASURES, Confinement, Repairs
from slimtrace.facts.events import CapabilitySet, Doubt, Exec, FirstCall, Listen, Origin, Phase, Socket
from slimtrace.facts.runs import Run, Start
from slimtrace.reason.confine.confinement import derive_confinement

from ..trees import capture, selected

APP = Exec("/usr/bin/app", "", "/usr/bin/app", 1, 0)
TREE = {
    "/usr/bin/app": "file 0755",
    "/etc/passwd": "text root:x:0:0::/root:/bin/sh\\nweb:x:33:34::/www:/bin/sh\\nhalf:x:7",
    "/etc/group": "text root:x:0:\\nstaff:x:50:web",
}
OPENED = Exec("/usr/bin/helper", "", "/usr/bin/helper", 2, 1)


def confined(
    spec: dict[str, str] | None = None,
    repairs: Repairs | None = None,
    without: tuple[str, ...] = (),
    runs: tuple[Run, ...] = (),
    capable: dict[str, str] | None = None,
    **trace: Any,
) -> Confinement:
    config = trace.pop("config", None)
    seen: Capture = capture({**TREE, **(spec or {})}, execs=trace.pop("execs", [APP]), config=config, **trace)
    assert isinstance(seen.contents, Answers)
    seen = replace(seen, runs=runs, contents=replace(seen.contents, capable=capable or {}))
    return derive_confinement(seen, selected(seen), repairs or Repairs(), without)


def granted(*names: str, phase: Phase = Phase.APP, origin: Origin = Origin.CONTAINER) -> CapabilitySet:
    return CapabilitySet(phase, origin, granted=names, denied=("sys_admin",))


def test_nothing_is_given_to_a_program_that_asked_for_nothing() -> None:
    found = confined()
    assert (found.cap_add, found.no_new_privileges, found.read_only, found.writable) == ((), True, True, ())
    assert set(found.reasons) == set(MEASURES) and found.notes == ()


def test_only_what_the_program_was_granted_is_left() -> None:
    """Not what the runtime was before the program, what the kernel refused, or what an exec was granted."""
    found = confined(
        capabilities=[
            granted("setuid", "chown"),
            granted("setpcap", phase=Phase.FILTERED),
            granted("mknod", phase=Phase.RUNTIME),
            granted("kill", origin=Origin.EXEC),
        ]
    )
    assert found.cap_add == ("chown", "setuid")
    assert set(found.reasons) == {*MEASURES, "chown", "setuid"}


def test_what_a_health_check_was_granted_is_left() -> None:
    config = {"Healthcheck": {"Test": ["CMD", "/usr/bin/app"]}}
    assert confined(config=config, capabilities=[granted("kill", origin=Origin.EXEC)]).cap_add == ("kill",)


def test_it_is_never_more_than_docker_gives() -> None:
    found = confined(
        capabilities=[granted("net_admin", "chown", "sys_admin")],
        repairs=Repairs(capabilities=("bpf", "sys_ptrace", "no_such_thing")),
    )
    assert found.cap_add == ("chown",)
    (note,) = found.notes
    assert "net_admin, sys_admin" in note


def test_all_that_docker_gives_is_left_where_capabilities_were_not_traced() -> None:
    found = confined(
        {"/usr/bin/helper": "file 0755"},
        execs=[APP, OPENED],
        config={"User": "web"},
        doubts=[Doubt("capabilities", "not told")],
        capable={"/usr/bin/helper": "cap_net_raw=ep"},
    )
    assert found.cap_add == tuple(sorted(CAPABILITIES)) and not found.no_new_privileges
    assert "not known" in found.notes[0]


def test_a_container_that_was_traced_from_its_middle_on() -> None:
    (note,) = confined(doubts=[Doubt("attached", "held files only")]).notes
    assert "from its middle on" in note


def test_a_repair_adds_a_capability() -> None:
    found = confined(capabilities=[granted("chown")], repairs=Repairs(capabilities=("chown", "kill")))
    assert found.cap_add == ("chown", "kill")
    assert found.reasons["kill"].startswith("repair") and not found.reasons["chown"].startswith("repair")


def test_the_reason_names_the_call_and_its_first_caller() -> None:
    calls = [FirstCall("setgid", "/bin/\nb"), FirstCall("setuid", "/runc", phase=Phase.FILTERED)]
    found = confined(capabilities=[granted("setgid", "setuid")], first_calls=calls)
    assert found.reasons["setgid"] == "granted in the run; /bin/\\nb called setgid"
    assert "runc" not in found.reasons["setuid"]


@pytest.mark.parametrize(
    ("mode", "user", "gains"),
    [
        ("0755", "web", False),
        ("4755", "web", True),
        ("4755", "", False),  # root gains nothing by a program of root's
        ("4755", "0:50", False),
        ("4755", "nobody-knows", True),
        ("2755", "web", True),
        ("2745", "web", False),  # without the group's x it is for locking (chmod(2))
        ("2755", "web:0", False),
        ("2755", "33:staff", True),
        ("2755", "", False),
    ],
)
def test_a_setuid_program_of_another_user_must_gain_privileges(mode: str, user: str, gains: bool) -> None:
    tree = {"/usr/bin/helper": f"file {mode}"} if mode[0] == "0" else {"/usr/bin/helper": "file 0755"}
    seen = capture({**TREE, **tree}, execs=[APP, OPENED], config={"User": user})
    entries = {**seen.tree.entries}
    entries["/usr/bin/helper"] = replace(entries["/usr/bin/helper"], mode=int(mode, 8))
    seen = replace(seen, tree=replace(seen.tree, entries=entries))
    found = derive_confinement(seen, selected(seen))
    assert found.no_new_privileges is not gains
    assert ("/usr/bin/helper" in found.reasons["no-new-privileges"]) is gains
    assert len(found.notes) == gains


@pytest.mark.parametrize(
    ("text", "user", "given", "cap_add", "gains"),
    [
        ("cap_net_raw=ep", "web", ("net_raw",), ("net_raw",), True),
        ("cap_net_raw=ep", "web", (), ("net_raw",), False),  # execve asks for it, the program does not
        ("cap_net_raw=p", "web", (), (), False),
        ("cap_net_raw=p", "web", ("net_raw",), ("net_raw",), True),
        ("cap_net_raw,cap_chown=ep cap_kill=ei", "web", ("chown",), ("chown", "net_raw"), True),
        ("cap_net_raw=ep", "", ("net_raw",), ("net_raw",), False),
        ("cap_net_admin=ep", "web", (), (), False),  # it failed under Docker's default too
        ("?", "web", (), (), False),
    ],
)
def test_file_capabilities(
    text: str, user: str, given: tuple[str, ...], cap_add: tuple[str, ...], gains: bool
) -> None:
    found = confined(
        {"/usr/bin/helper": "file 0755"},
        execs=[APP, OPENED],
        config={"User": user},
        capabilities=[granted(*given)],
        capable={"/usr/bin/helper": text},
    )
    assert (found.cap_add, found.no_new_privileges) == (cap_add, not gains)


def test_programs_of_an_exec_session_do_not_count() -> None:
    outside = replace(OPENED, origin=Origin.EXEC, parent=9)
    found = confined(
        {"/usr/bin/helper": "file 0755"}, execs=[APP, outside], config={"User": "web"},
        capable={"/usr/bin/helper": "cap_net_raw=ep"}, capabilities=[granted("net_raw", origin=Origin.EXEC)],
    )  # fmt: skip
    assert (found.cap_add, found.no_new_privileges) == ((), True)


@pytest.mark.parametrize(
    ("user", "numbers"),
    [
        ("", (0, 0)), ("web", (33, 34)), ("33", (33, 34)), ("web:staff", (33, 50)), ("web:7", (33, 7)),
        ("1000", (1000, 0)), ("1000:1000", (1000, 1000)), ("unknown", (None, None)), ("web:none", (33, None)),
        ("4294967295", (None, None)), ("9" * 30, (None, None)), ("²", (None, None)), ("half", (None, None)),
    ],
)  # fmt: skip
def test_the_user_in_numbers(user: str, numbers: tuple[int | None, int | None]) -> None:
    found = confined(config={"User": user})
    assert (found.uid, found.gid, found.user) == (*numbers, "")


def test_the_user_that_the_run_was_started_with() -> None:
    runs = (Run(), Run(start=Start(user="web")))
    found = confined(config={"User": "1000"}, runs=runs)
    assert (found.user, found.uid, found.gid) == ("web", 33, 34)


def test_low_ports_are_those_that_the_program_bound() -> None:
    found = confined(
        listens=[Listen(80, "0.0.0.0", 1), Listen(8080, "::", 1), Listen(22, "::", 9, Origin.EXEC)],
        sockets=[
            Socket("bind", "inet", "dgram", port=53, pid=1),
            Socket("bind", "inet", "stream", port=25, error=13, pid=1),
            Socket("connect", "inet", "stream", port=443, pid=1),
            Socket("bind", "inet", "stream", port=0, pid=1),
        ],
    )
    assert found.low_ports == (53, 80)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_measure_is_left_out_alone(measure: str) -> None:
    usual = confined(capabilities=[granted("chown")])
    found = confined(capabilities=[granted("chown")], without=(measure,))
    assert found.reasons[measure] == "left out: asked for"
    assert found.no_new_privileges is (measure != "no-new-privileges")
    assert found.read_only is (measure != "read-only")
    assert found.cap_add == (tuple(sorted(CAPABILITIES)) if measure == "capabilities" else ("chown",))
    for other in set(MEASURES) - {measure}:
        assert found.reasons[other] == usual.reasons[other]
