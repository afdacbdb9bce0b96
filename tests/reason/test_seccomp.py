"""What the profile allows, what it answers to the rest, and why."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from slimtrace.facts.events import Abi, CallSet, Origin, Phase
from slimtrace.reason import seccomp
from slimtrace.reason.dockercalls import ALLOWED, CONDITIONS

from .trees import orders

APP = CallSet(Phase.APP, Origin.CONTAINER, ("accept4", "clone", "openat", "socket"), refused=("clone3",))
FILTERED = CallSet(Phase.FILTERED, Origin.CONTAINER, ("capset", "setgid"))
RUNTIME = CallSet(Phase.RUNTIME, Origin.CONTAINER, ("pivot_root", "sethostname"))
EXEC_FILTERED = CallSet(Phase.FILTERED, Origin.EXEC, ("capget",))
EXEC_APP = CallSet(Phase.APP, Origin.EXEC, ("alarm",))
ALL = (APP, FILTERED, RUNTIME, EXEC_FILTERED, EXEC_APP)


def allowed(profile: dict[str, Any]) -> set[str]:
    return {
        name for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]
    }


def absent(profile: dict[str, Any]) -> list[str]:
    return [name for rule in profile["syscalls"] if rule.get("errnoRet") == 38 for name in rule["names"]]


@pytest.mark.parametrize(
    ("groups", "healthcheck", "expected"),
    [
        (ALL, False, {"accept4", "clone", "openat", "socket", "capset", "setgid", "capget"}),
        (ALL, True, {"accept4", "clone", "openat", "socket", "capset", "setgid", "capget", "alarm"}),
        ((RUNTIME, FILTERED), True, {"capset", "setgid"}),
        ((APP,), False, {"accept4", "openat", "socket", *seccomp._UNMEASURED}),
    ],
)
def test_what_is_allowed(groups: Iterable[CallSet], healthcheck: bool, expected: set[str]) -> None:
    for order in orders(groups):
        assert allowed(seccomp.profile(order, "amd64", healthcheck)) == expected | seccomp.MARGIN.keys()


def test_calls_of_a_32_bit_program_are_allowed_by_their_names() -> None:
    in_32_bits = CallSet(Phase.APP, Origin.CONTAINER, ("stat64", "mmap2"), abi=Abi.COMPAT)
    profile = seccomp.profile([FILTERED, in_32_bits], "amd64")
    assert {"stat64", "mmap2"} <= allowed(profile)
    assert "SCMP_ARCH_X86" in profile["archMap"][0]["subArchitectures"]


def test_what_io_uring_was_asked_for_is_no_call() -> None:
    ring = CallSet(Phase.APP, Origin.CONTAINER, ("openat", "connect", "nop"), abi=Abi.RING)
    assert not {"openat", "connect"} & allowed(seccomp.profile([FILTERED, ring], "amd64"))


def test_never_more_than_docker() -> None:
    greedy = CallSet(Phase.APP, Origin.CONTAINER, ("mount", "bpf", "clone3", "unshare", "init_module", "read"))
    profile = seccomp.profile([greedy, FILTERED], "amd64")
    assert allowed(profile) == {"capset", "setgid"} | seccomp.MARGIN.keys()
    assert seccomp.MARGIN.keys() | set(seccomp._UNMEASURED) <= ALLOWED | CONDITIONS.keys()
    for rule in profile["syscalls"]:
        if "clone" in rule["names"]:
            assert rule["args"] == [
                {"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
            ]


def test_what_needs_enosys_to_fall_back() -> None:
    newer = CallSet(Phase.APP, Origin.CONTAINER, ("read",), refused=("openat2", "read"))
    assert absent(seccomp.profile([newer], "amd64")) == ["clone3", "openat2"]
    assert absent(seccomp.profile([], "amd64")) == ["clone3"]


@pytest.mark.parametrize(
    ("architecture", "native", "others"),
    [
        ("amd64", "SCMP_ARCH_X86_64", ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
        ("x86_64", "SCMP_ARCH_X86_64", ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
        ("arm64", "SCMP_ARCH_AARCH64", ["SCMP_ARCH_ARM"]),
        ("riscv64", "SCMP_ARCH_RISCV64", []),
    ],
)
def test_architectures(architecture: str, native: str, others: list[str]) -> None:
    profile = seccomp.profile(ALL, architecture)
    assert profile["archMap"] == [{"architecture": native, "subArchitectures": others}]


def test_the_profile_is_json_and_the_same_each_time() -> None:
    texts = {json.dumps(seccomp.profile(order, "amd64")) for order in orders(ALL)}
    assert len(texts) == 1


def test_every_call_has_its_reasons() -> None:
    why = {call.name: call.reasons for call in seccomp.who(ALL, healthcheck=True)}
    assert why["openat"] == (seccomp.CONTAINER,)
    assert why["capset"] == (seccomp.RUNTIME,)
    assert why["capget"] == (seccomp.RUNTIME_EXEC,)
    assert why["alarm"] == (seccomp.HEALTHCHECK,)
    assert why["futex"][0].startswith("margin: ")
    assert "pivot_root" not in why
