"""For any capture: never more than Docker's own profile, what was seen passes, and rules do not contradict."""

from typing import Any

from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtrace.facts.confinement import Repairs
from slimtrace.facts.events import MAX_VALUES, Abi, CallArguments, CallSet, Origin, Phase
from slimtrace.reason.confine import seccomp
from slimtrace.reason.confine.docker_default import CONDITIONS, DOCKER_ALLOWED, UNCONDITIONAL, default_profile
from slimtrace.reason.confine.seccomp.argument_conditions import CONDITIONAL_CALLS, docker_allows

from .test_profile import run

DOCKER = default_profile("SCMP_ARCH_X86_64", ["SCMP_ARCH_X86", "SCMP_ARCH_X32"])
NAMES = st.one_of(
    st.sampled_from(CONDITIONAL_CALLS),
    st.sampled_from(sorted(DOCKER_ALLOWED)),
    st.sampled_from(["bpf", "clone3", "mount", "setns", "unshare", "keyctl"]),
    st.text(max_size=5),
)
INTERESTING = (0, 1, 2, 8, 10, 16, 22, 37, 38, 39, 40, 41, 0x20000, 0x20008, 0x40000, 0x10000000, 0x7E020000)
VALUES = st.one_of(
    st.sampled_from([*INTERESTING, 0xFFFFFFFF, *(value | 1 << 32 for value in INTERESTING)]),
    st.integers(0, 2**64 - 1),
)
GROUPS = st.builds(
    CallSet,
    st.sampled_from(Phase),
    st.sampled_from(Origin),
    st.lists(NAMES, max_size=8, unique=True).map(tuple),
    st.lists(NAMES, max_size=2, unique=True).map(tuple),
    abi=st.sampled_from(Abi),
)
ARGUMENTS = st.builds(
    CallArguments,
    st.sampled_from(CONDITIONAL_CALLS),
    st.just(0),
    st.lists(VALUES, max_size=MAX_VALUES, unique=True).map(lambda found: tuple(sorted(found))),
    st.sampled_from(Phase),
    st.sampled_from(Origin),
    st.sampled_from(Abi),
    st.booleans(),
)
CAPTURES = st.builds(run, st.lists(GROUPS, max_size=5), st.lists(ARGUMENTS, max_size=5), st.booleans())
REPAIRS = st.builds(
    Repairs,
    calls=st.lists(NAMES, max_size=3).map(tuple),
    arguments=st.lists(ARGUMENTS, max_size=2).map(tuple),
)
ACTIONS = st.sampled_from(seccomp.ACTIONS)


FEW = settings(max_examples=examples(60), deadline=None)


def asked(body: dict[str, Any], name: str, value: int) -> set[tuple[str, Any]]:
    """What every rule that is for the call and whose conditions hold would answer."""
    return {
        (rule["action"], rule.get("errnoRet"))
        for rule in body["syscalls"]
        if name in rule["names"]
        and seccomp.evaluate({"defaultAction": "", "syscalls": [rule]}, name, (value,)).action
    }


@FEW
@given(CAPTURES, REPAIRS, ACTIONS, NAMES, VALUES, st.sampled_from([Abi.NATIVE, Abi.COMPAT, Abi.X32]))
def test_never_more_than_docker(
    capture: Any, repairs: Repairs, action: str, name: str, value: int, abi: Abi
) -> None:
    body = seccomp.profile(capture, repairs, action)
    for call in {name, *CONDITIONAL_CALLS}:
        for each in (value, *INTERESTING):
            if seccomp.evaluate(body, call, (each,), abi).passes:
                assert seccomp.evaluate(DOCKER, call, (each,), abi).passes, (call, each)
    for rule in body["syscalls"]:
        if rule["action"] in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG"):
            assert set(rule["names"]) <= (DOCKER_ALLOWED if "args" in rule else UNCONDITIONAL)


@FEW
@given(CAPTURES, REPAIRS, ACTIONS)
def test_what_the_container_did_passes(capture: Any, repairs: Repairs, action: str) -> None:
    """With each argument that is known, if Docker's own profile lets it pass."""
    body = seccomp.profile(capture, repairs, action)
    for group in capture.trace.calls:
        if group.phase is not Phase.APP or group.origin is not Origin.CONTAINER or group.abi is not Abi.NATIVE:
            continue
        for name in group.calls:
            noted = [one for one in capture.trace.arguments
                     if (one.call, one.phase, one.origin, one.abi) == (name, *place(group))]  # fmt: skip
            for value in {value for one in noted for value in one.values} if noted else {0}:
                if name in DOCKER_ALLOWED and docker_allows(name, value):
                    assert seccomp.allows(body, name, (value,)), (name, value)


def place(group: CallSet) -> tuple[Phase, Origin, Abi]:
    return group.phase, group.origin, group.abi


@FEW
@given(CAPTURES, REPAIRS, ACTIONS, VALUES)
def test_no_two_rules_contradict(capture: Any, repairs: Repairs, action: str, value: int) -> None:
    """libseccomp does not promise which of two that hold it takes."""
    body = seccomp.profile(capture, repairs, action)
    listed = [name for rule in body["syscalls"] for name in rule["names"] if name not in CONDITIONAL_CALLS]
    assert len(listed) == len(set(listed))
    for name in CONDITIONAL_CALLS:
        for each in (value, *INTERESTING):
            assert len(asked(body, name, each)) <= 1, (name, each)


@FEW
@given(CAPTURES, REPAIRS, ACTIONS)
def test_repairs_only_add(capture: Any, repairs: Repairs, action: str) -> None:
    before = seccomp.profile(capture, action=action)
    after = seccomp.profile(capture, repairs, action)
    named = {name for rule in before["syscalls"] for name in rule["names"]}
    for name in {"clone", "personality", "prctl", "ptrace", "socket", *sorted(named)[::7]}:
        for value in INTERESTING if name in CONDITIONAL_CALLS else (0,):
            if seccomp.evaluate(before, name, (value,)).passes:
                assert seccomp.evaluate(after, name, (value,)).passes, (name, value)
    assert seccomp.denied_count(after) <= seccomp.denied_count(before)


def test_dockers_conditions_are_of_learned_calls() -> None:
    assert set(CONDITIONS) <= set(CONDITIONAL_CALLS)
