"""The calls that the profile allows, its answer to all others, and the reasons."""

from collections.abc import Iterable
from typing import Any

import pytest

from slimtrace.facts.capture import Answers, Capture
from slimtrace.facts.confinement import Repairs
from slimtrace.facts.events import Abi, CallArguments, CallSet, FirstCall, Origin, Phase, Trace
from slimtrace.facts.image import Image
from slimtrace.facts.tree import FileTree
from slimtrace.reason.confine import seccomp
from slimtrace.reason.confine.docker_default import (
    CONDITIONS,
    DOCKER_ALLOWED,
    UNCONDITIONAL,
    absent_on,
    default_profile,
)
from slimtrace.reason.confine.seccomp import margin, needs
from slimtrace.reason.confine.seccomp.argument_conditions import MAX_LISTED_VALUES, PRCTL_MARGIN

from ...trees import orders

CONTAINER, EXEC = Origin.CONTAINER, Origin.EXEC
APP = CallSet(Phase.APP, CONTAINER, ("accept4", "clone", "openat", "socket"), refused=("clone3",))
FILTERED = CallSet(Phase.FILTERED, CONTAINER, ("capset", "setgid"))
RUNTIME = CallSet(Phase.RUNTIME, CONTAINER, ("pivot_root", "sethostname"))
EXEC_FILTERED = CallSet(Phase.FILTERED, EXEC, ("capget", "capset"))
EXEC_APP = CallSet(Phase.APP, EXEC, ("alarm",))
ALL = (APP, FILTERED, RUNTIME, EXEC_FILTERED, EXEC_APP)
HEALTHY = {"Healthcheck": {"Test": ["CMD", "/bin/check"]}}
EXECED = set(margin.RUNTIME_EXEC_CALLS)
SEEN = {"accept4", "clone", "openat", "socket", "capset", "setgid", "capget"}


def run(
    calls: Iterable[CallSet],
    arguments: Iterable[CallArguments] = (),
    healthcheck: bool = False,
    architecture: str = "amd64",
    firsts: Iterable[FirstCall] = (),
) -> Capture:
    image = Image("sha256:1", "app:1", architecture=architecture, config=HEALTHY if healthcheck else {})
    trace = Trace(calls=tuple(calls), arguments=tuple(arguments), first_calls=tuple(firsts))
    return Capture(image, FileTree({}), trace, Answers())


def made(*names: str, **more: Any) -> CallSet:
    return CallSet(Phase.APP, CONTAINER, names, **more)


def values(call: str, *seen: int, **more: Any) -> CallArguments:
    return CallArguments(call, 0, seen, **more)


def allowed(profile: dict[str, Any]) -> set[str]:
    return {
        name for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]
    }


def absent(profile: dict[str, Any]) -> list[str]:
    return [name for rule in profile["syscalls"] if rule.get("errnoRet") == 38 for name in rule["names"]]


@pytest.mark.parametrize(
    ("groups", "healthcheck", "expected"),
    [
        (ALL, False, SEEN),
        (ALL, True, SEEN | {"alarm"}),
        ((RUNTIME, FILTERED), True, {"capset", "setgid"} | EXECED),
        ((APP,), False, {"accept4", "openat", "socket", *margin.RUNTIME_CALLS, *EXECED}),
        (
            (FILTERED, CallSet(Phase.FILTERED, EXEC, ("capget", "capset"))),
            False,
            {"capget", "capset", "setgid"},
        ),
        # behind no-new-privileges the filter goes on later: not all of the runtime's was seen
        (
            (CallSet(Phase.FILTERED, CONTAINER, ("getdents64",)),),
            False,
            {*margin.RUNTIME_CALLS, *EXECED},
        ),
    ],
)
def test_what_is_allowed(groups: Iterable[CallSet], healthcheck: bool, expected: set[str]) -> None:
    for order in orders(groups):
        profile = seccomp.profile(run(order, healthcheck=healthcheck))
        assert allowed(profile) == expected | margin.MARGIN.keys()


def test_calls_of_a_32_bit_program_are_allowed_by_their_names() -> None:
    profile = seccomp.profile(run([FILTERED, made("mmap2", "stat64", abi=Abi.COMPAT)]))
    assert {"stat64", "mmap2"} <= allowed(profile)
    assert profile["archMap"][0]["subArchitectures"] == ["SCMP_ARCH_X86"]
    assert seccomp.allows(profile, "stat64", abi=Abi.COMPAT)
    assert not seccomp.allows(profile, "stat64", abi=Abi.X32)


def test_io_uring_requests_are_no_calls() -> None:
    profile = seccomp.profile(run([FILTERED, made("connect", "nop", "sync", abi=Abi.IO_URING)]))
    assert not {"sync", "connect"} & allowed(profile)
    assert profile["archMap"][0]["subArchitectures"] == []


def test_never_more_than_docker() -> None:
    greedy = made("bpf", "clone3", "init_module", "mount", "read", "unshare")
    profile = seccomp.profile(run([greedy, FILTERED]), Repairs(calls=("mount", "setns")))
    assert allowed(profile) == {"capset", "setgid"} | EXECED | margin.MARGIN.keys()
    assert margin.MARGIN.keys() | set(margin.RUNTIME_CALLS) <= DOCKER_ALLOWED
    assert not seccomp.allows(profile, "clone", (0x10000000,))
    assert seccomp.allows(profile, "clone", (0x3D0F00,))


def test_what_needs_enosys_to_fall_back() -> None:
    newer = made("read", refused=("openat2", "read"))
    assert absent(seccomp.profile(run([newer]))) == ["clone3", "openat2"]
    assert absent(seccomp.profile(run([]))) == ["clone3"]


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("amd64", [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []}]),
        ("x86_64", [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []}]),
        ("aarch64", [{"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []}]),
        ("riscv64", [{"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": []}]),
        ("pdp11", []),
    ],
)
def test_architectures(architecture: str, expected: list[dict[str, Any]]) -> None:
    assert seccomp.profile(run(ALL, architecture=architecture))["archMap"] == expected


@pytest.mark.parametrize(
    ("architecture", "abi", "expected"),
    [
        ("amd64", Abi.COMPAT, ["SCMP_ARCH_X86"]),
        ("amd64", Abi.X32, ["SCMP_ARCH_X32"]),
        ("arm64", Abi.COMPAT, ["SCMP_ARCH_ARM"]),
        ("arm64", Abi.X32, []),
    ],
)
def test_other_architectures_only_where_they_were_used(
    architecture: str, abi: Abi, expected: list[str]
) -> None:
    used = run([FILTERED, made("getpid", abi=abi)], architecture=architecture)
    runtimes = run([FILTERED, CallSet(Phase.RUNTIME, CONTAINER, ("getpid",), abi=abi)])
    assert seccomp.profile(used)["archMap"][0]["subArchitectures"] == expected
    assert seccomp.profile(runtimes)["archMap"][0]["subArchitectures"] == []


@pytest.mark.parametrize("action", seccomp.ACTIONS)
def test_the_profile_is_the_same_each_time(action: str) -> None:
    texts = {seccomp.to_text(seccomp.profile(run(order), action=action)) for order in orders(ALL)}
    assert len(texts) == 1


def test_every_call_has_its_reasons() -> None:
    repairs = Repairs(calls=("sync",))
    why = {call.name: call.reasons for call in seccomp.allowed_calls(run(ALL, healthcheck=True), repairs)}
    assert why["openat"] == (needs.CONTAINER,)
    assert why["setgid"] == (needs.RUNTIME,)
    assert why["capset"] == (needs.RUNTIME, needs.RUNTIME_EXEC)
    assert why["capget"] == (needs.RUNTIME_EXEC,)
    assert why["alarm"] == (needs.HEALTHCHECK,)
    assert why["futex"][0].startswith("margin: ")
    assert why["sync"] == (needs.REPAIR,)
    assert "pivot_root" not in why


def test_the_first_caller_is_in_the_reasons() -> None:
    firsts = [
        FirstCall("openat", "/bin/check", origin=EXEC),
        FirstCall("openat", "/bin/app\n", pid=17),
        FirstCall("openat", "/bin/lib", abi=Abi.COMPAT),
        FirstCall("setgid", "", phase=Phase.FILTERED),
        FirstCall("socket", "/bin/app"),
    ]
    for order in orders(firsts):
        calls = seccomp.allowed_calls(run(ALL, [values("socket", 1, 2)], firsts=order))
        first = {call.name: call.first for call in calls}
        assert (first["openat"], first["setgid"], first["accept4"]) == ("/bin/app\n", "", "")
        lines = {
            line.split()[0]: line.split(maxsplit=1)[1] for line in seccomp.reasons_text(calls).splitlines()
        }
        assert len(lines) == len(calls)
        assert lines["socket"] == "the container; only with family unix, inet; first made by /bin/app"
        assert lines["openat"].startswith("the container; first made by /bin/app") and "\\n" in lines["openat"]
        assert lines["clone"].startswith("the container; margin: ")
        assert lines["clone"].endswith("; only with no new namespaces")


# Arguments


WIDE = (1, 2, 16, 37, 39, 41, 0xFFFF_FFFF)


@pytest.mark.parametrize(
    ("call", "arguments", "passes", "fails"),
    [
        ("socket", [values("socket", 1, 10)], (1, 10, 1 << 40 | 10), (2, 16, 38, 40, 1 << 40 | 38)),
        ("socket", [values("socket", 38, 40)], (), (2, 38, 40)),
        ("socket", [], WIDE, (38, 40)),
        ("socket", [values("socket", 1, more=True)], WIDE, (38, 40)),
        (
            "socket",
            [values("socket", 1, phase=Phase.RUNTIME)],
            WIDE,
            (38, 40),
        ),  # of the program's nothing is known
        ("socketpair", [values("socketpair", 1)], (1,), (2, 38)),
        ("personality", [values("personality", 0, 0xFFFF_FFFF)], (0, 0xFFFF_FFFF), (8, 0x20000, 1 << 32)),
        ("personality", [values("personality", 0x40000)], (), (0, 0x40000)),
        ("personality", [], (0, 8, 0x20000, 0x20008, 0xFFFF_FFFF), (1, 0x40000)),
        ("ptrace", [values("ptrace", 0)], (0,), (16, 4)),
        ("ptrace", [values("ptrace", *range(MAX_LISTED_VALUES + 1))], (0, 16, 0x4206), ()),
        ("prctl", [values("prctl", 4)], (4, *PRCTL_MARGIN), (22, 0x59616D61)),
        ("prctl", [], (22, 0x59616D61), ()),
        ("clone", [values("clone", 0x1000_0000)], (0, 0x11), (0x1000_0000,)),
    ],
)
def test_arguments(
    call: str, arguments: list[CallArguments], passes: Iterable[int], fails: Iterable[int]
) -> None:
    profile = seccomp.profile(run([FILTERED, made(call)], arguments))
    assert [value for value in passes if not seccomp.allows(profile, call, (value,))] == []
    assert [value for value in fails if seccomp.allows(profile, call, (value,))] == []


def test_arguments_of_two_phases_are_joined_and_unknown_ones_win() -> None:
    exec_app = CallSet(Phase.APP, EXEC, ("socket",))
    known = [values("socket", 1), values("socket", 2, origin=EXEC)]
    both = run([FILTERED, made("socket"), exec_app], known, healthcheck=True)
    half = run([FILTERED, made("socket"), exec_app], known[:1], healthcheck=True)
    passes = [[value for value in (1, 2, 10) if seccomp.allows(seccomp.profile(each), "socket", (value,))]
              for each in (both, half)]  # fmt: skip
    assert passes == [[1, 2], [1, 2, 10]]


def test_repairs_add_arguments() -> None:
    capture = run([FILTERED, made("socket")], [values("socket", 1)])
    repairs = Repairs(arguments=(values("socket", 2, 38), values("socketpair", 1)))
    profile = seccomp.profile(capture, repairs)
    passes = [
        (call, value)
        for call in ("socket", "socketpair")
        for value in (1, 2, 10, 38)
        if seccomp.allows(profile, call, (value,))
    ]
    assert passes == [("socket", 1), ("socket", 2), ("socketpair", 1)]
    wide = seccomp.profile(capture, Repairs(calls=("socket",)))
    assert seccomp.allows(wide, "socket", (10,))


# Actions


def answers(action: str, *calls: CallSet, arguments: Iterable[CallArguments] = ()) -> Any:
    profile = seccomp.profile(run([FILTERED, *calls], arguments), action=action)

    def ask(call: str, *args: int) -> tuple[str, int]:
        found = seccomp.evaluate(profile, call, args)
        return found.action.removeprefix("SCMP_ACT_"), found.error

    return ask


def test_errno() -> None:
    ask = answers("errno", made("getpid", "mount", refused=("openat2",)))
    assert [ask(call) for call in ("getpid", "mount", "sync", "openat2", "clone3")] == [
        ("ALLOW", 0), ("ERRNO", 1), ("ERRNO", 1), ("ERRNO", 38), ("ERRNO", 38),
    ]  # fmt: skip


def test_kill_spares_what_the_program_lived_without() -> None:
    noted = [values("socket", 1, 38), values("personality", 0x40000), values("clone", 0, 0x1000_0000)]
    calls = made("clone", "getpid", "mount", "personality", "socket", refused=("openat2",))
    ask = answers("kill", calls, arguments=noted)
    assert [ask(call) for call in ("getpid", "mount", "sync", "openat2", "clone3", "ptrace")] == [
        ("ALLOW", 0), ("ERRNO", 1), ("KILL_PROCESS", 0), ("ERRNO", 38), ("ERRNO", 38), ("KILL_PROCESS", 0),
    ]  # fmt: skip
    assert [ask("socket", value) for value in (1, 2, 38)] == [("ALLOW", 0), ("KILL_PROCESS", 0), ("ERRNO", 1)]
    assert [ask("personality", value) for value in (0, 0x40000)] == [("KILL_PROCESS", 0), ("ERRNO", 1)]
    assert [ask("clone", value) for value in (0x11, 0x1000_0011, 0x2000_0000)] == [
        ("ALLOW", 0), ("ERRNO", 1), ("KILL_PROCESS", 0),
    ]  # fmt: skip


def test_log_lets_through_what_docker_does() -> None:
    ask = answers("log", made("getpid", "socket"), arguments=[values("socket", 1)])
    assert [ask(call) for call in ("getpid", "sync", "mount", "clone3", "personality")] == [
        ("ALLOW", 0), ("LOG", 0), ("ERRNO", 1), ("ERRNO", 38), ("LOG", 0),
    ]  # fmt: skip
    assert [ask("socket", value) for value in (1, 2, 38)] == [("ALLOW", 0), ("ALLOW", 0), ("ERRNO", 1)]
    assert ask("personality", 1) == ("ERRNO", 1)


@pytest.mark.parametrize("action", seccomp.ACTIONS)
def test_denied_calls_are_counted(action: str) -> None:
    profile = seccomp.profile(run([FILTERED, made("stat64")]), action=action)
    assert seccomp.docker_call_count(profile) == len(DOCKER_ALLOWED - absent_on("SCMP_ARCH_X86_64")) == 309
    assert seccomp.denied_count(profile) == 309 - len(margin.MARGIN) - 2 - len(EXECED)


# Refusals in a run under the profile


def test_refusals_are_found_in_a_trace() -> None:
    body = seccomp.profile(run([FILTERED, made("socket")], [values("socket", 1)]))
    trace = Trace(
        calls=(
            made("getpid", "mount", "personality", "socket", "sync", refused=("openat2",)),
            CallSet(Phase.FILTERED, EXEC, ("setuid",)),
            CallSet(Phase.RUNTIME, EXEC, ("chroot",)),
            made("open", abi=Abi.IO_URING),
        ),
        arguments=(
            values("socket", 1, 2, 38),
            values("personality", 1),  # Docker's own profile refuses that too
            values("ptrace", 0, phase=Phase.RUNTIME),
        ),
    )
    assert seccomp.refused_calls(body, trace, "amd64") == ("setuid", "sync")
    assert seccomp.refused_arguments(body, trace, "amd64") == (values("socket", 2),)


def test_what_was_refused_is_allowed_after_the_repair() -> None:
    fat = run([FILTERED, made("socket")], [values("socket", 1)])
    trace = Trace(
        calls=(made("personality", "socket", "sync"), made("getpid", abi=Abi.COMPAT)),
        arguments=(values("socket", 2), values("personality", 8)),
    )
    body = seccomp.profile(fat)
    repairs = Repairs(
        calls=seccomp.refused_calls(body, trace, "amd64"),
        arguments=seccomp.refused_arguments(body, trace, "amd64"),
    )
    assert repairs.calls == ("getpid", "personality", "sync")
    repaired = seccomp.profile(fat, repairs)
    assert (
        seccomp.refused_calls(repaired, trace, "amd64"),
        seccomp.refused_arguments(repaired, trace, "amd64"),
    ) == (
        (),
        (),
    )
    assert not seccomp.allows(repaired, "personality", (0,)) and not seccomp.allows(repaired, "ptrace")


def test_dockers_own_profile() -> None:
    docker = default_profile("SCMP_ARCH_X86_64", ["SCMP_ARCH_X86"])
    assert seccomp.denied_count(docker) == 0
    assert {
        name for name in DOCKER_ALLOWED if seccomp.evaluate(docker, name).passes
    } == UNCONDITIONAL | CONDITIONS.keys()
    assert seccomp.evaluate(docker, "clone3").error == 38
    assert not seccomp.evaluate(docker, "mount").passes
