"""The doctor: its list of features, and its answers for machines that are laid out in a folder."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from slimtrace.data import folder
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.feature import Feature, FeatureResult, parse
from slimtrace.observe import doctor

GOOD_ENGINE = {
    "ServerVersion": "20.10.24",
    "Architecture": "x86_64",
    "CgroupVersion": "2",
    "CgroupDriver": "cgroupfs",
    "Driver": "overlay2",
    "SecurityOptions": ["name=seccomp,profile=default", "name=cgroupns"],
    "DockerRootDir": "/",
}
STATUS = "proc/self/status"
MOUNTS = "proc/self/mountinfo"
BTF = "sys/kernel/btf/vmlinux"
APPARMOR = "sys/module/apparmor/parameters/enabled"
OLD_ROOT = "CapEff:\t0000000000200000"  # before 5.8 there is only CAP_SYS_ADMIN
MACHINE = {
    STATUS: "Name:\tx\nCapEff:\t000001ffffffffff\n",
    MOUNTS: "36 35 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n",
    "proc/sys/net/core/bpf_jit_enable": "1\n",
    BTF: b"\x9f\xeb\x01\x00" if sys.byteorder == "little" else b"\xeb\x9f\x01\x00",
    "sys/kernel/security/lockdown": "[none] integrity confidentiality\n",
    "sys/kernel/security/lsm": "lockdown,apparmor,bpf",
    APPARMOR: "Y\n",
}


def lay_out(root: Path, files: Mapping[str, str | bytes]) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def loads(kind: str, name: str) -> str:
    return ""


def refuses(kind: str, name: str) -> str:
    return f"{kind} {name}: Operation not permitted"


def only(*names: str) -> doctor.TryProgram:
    return lambda kind, name: "" if name in names or kind in names else "refused"


def engine() -> Mapping[str, Any]:
    return GOOD_ENGINE


def no_engine() -> Mapping[str, Any]:
    raise SlimtraceError("cannot reach the engine at /var/run/docker.sock", "start it", Exit.ENGINE)


def feature(tried_by: str, argument: str = "", **more: Any) -> Feature:
    return Feature(more.pop("id", "f"), "title", tried_by, "lost", "mend", "source", argument, **more)


def answer(
    wanted: Feature, root: Path, program: doctor.TryProgram = loads, info: Any = engine
) -> tuple[str, str]:
    (result,) = doctor.examine(program, info, root=root, wanted=[wanted])
    return result.state, result.detail


@pytest.mark.parametrize(
    ("tried_by", "argument", "changed", "expected"),
    [
        ("capability", "CAP_BPF|CAP_SYS_ADMIN", {}, ("yes", "CAP_BPF")),
        ("capability", "CAP_BPF|CAP_SYS_ADMIN", {STATUS: OLD_ROOT}, ("yes", "CAP_SYS_ADMIN")),
        ("capability", "CAP_BPF", {STATUS: OLD_ROOT}, ("no", "not in the effective set")),
        ("jit", "", {}, ("yes", "")),
        ("jit", "", {"proc/sys/net/core/bpf_jit_enable": "0"}, ("no", "the interpreter is used")),
        ("btf", BTF, {}, ("yes", f"/{BTF}")),
        # /dev/null is mounted over the file
        ("btf", BTF, {BTF: ""}, ("no", f"/{BTF} holds no BTF")),
        ("btf", "sys/nothing", {}, ("no", "/sys/nothing: No such file or directory")),
        ("cgroup2", "", {}, ("yes", "at /sys/fs/cgroup")),
        ("cgroup2", "", {MOUNTS: "1 1 0:1 / /cgroup2 rw - cgroup cgroup rw"}, ("no", "not mounted")),
        ("lockdown", "sys/kernel/security/lockdown", {}, ("yes", "")),
        (
            "lockdown",
            "sys/kernel/security/lockdown",
            {"sys/kernel/security/lockdown": "none integrity [confidentiality]"},
            ("no", "lockdown=confidentiality"),
        ),
        ("lsm", "lsm:file_open", {}, ("yes", "")),
        (
            "lsm",
            "lsm:file_open",
            {"sys/kernel/security/lsm": "lockdown,apparmor"},
            ("no", "loads but is never called: bpf is not in lsm="),
        ),
        ("apparmor", APPARMOR, {APPARMOR: "N"}, ("no", "switched off")),
        ("apparmor", "sys/nothing", {}, ("no", "not in this kernel")),
        ("engine", "answers", {}, ("yes", "version 20.10.24, x86_64")),
        ("engine", "cgroup2", {}, ("yes", "version 2, cgroupfs driver")),
        ("engine", "overlay", {}, ("yes", "overlay2")),
        ("engine", "seccomp", {}, ("yes", "name=seccomp,profile=default")),
        ("engine", "apparmor", {}, ("no", "not among its security options")),
        ("capability", "CAP_BPF", {STATUS: "CapEff:\tnonsense"}, ("unknown", None)),
    ],
)  # fmt: skip
def test_a_machine_and_the_answer(
    tried_by: str,
    argument: str,
    changed: dict[str, str],
    expected: tuple[str, str | None],
    tmp_path: Path,
) -> None:
    state, detail = answer(feature(tried_by, argument), lay_out(tmp_path, {**MACHINE, **changed}))
    assert state == expected[0]
    assert expected[1] is None or detail == expected[1]


def test_one_of_several_alternatives_is_enough(tmp_path: Path) -> None:
    wanted = feature("program", "raw_tracepoint:new|raw_tracepoint:old")
    assert answer(wanted, tmp_path, only("old")) == ("yes", "old")
    assert answer(wanted, tmp_path, refuses) == ("no", "raw_tracepoint new: Operation not permitted")


def test_lsm_without_securityfs_is_not_known(tmp_path: Path) -> None:
    assert answer(feature("lsm", "lsm:file_open"), tmp_path)[0] == "unknown"
    assert answer(feature("lsm", "lsm:file_open"), tmp_path, refuses)[0] == "no"


def test_the_fullest_disk_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIMTRACE_STATE", str(tmp_path / "not" / "yet" / "there"))
    assert answer(feature("disk", "0"), tmp_path)[0] == "yes"
    assert answer(feature("disk", "1e9"), tmp_path)[0] == "no"
    assert answer(feature("disk", "0"), tmp_path, info=no_engine)[1].endswith(f" at {tmp_path}")
    elsewhere = {**GOOD_ENGINE, "DockerRootDir": "/no/such/place"}
    assert answer(feature("disk", "0"), tmp_path, info=lambda: elsewhere)[1].endswith(f" at {tmp_path}")


def test_an_engine_that_does_not_answer_is_asked_once(tmp_path: Path) -> None:
    asked = []

    def silent() -> Mapping[str, Any]:
        asked.append(1)
        return no_engine()

    results = doctor.examine(loads, silent, root=tmp_path)
    states = {result.feature.id: (result.state, result.detail) for result in results}
    assert states["docker"] == ("no", "cannot reach the engine at /var/run/docker.sock")
    assert states["docker_cgroup2"] == ("unknown", "not tried without docker")
    assert len(asked) == 1


def test_a_feature_with_an_unmet_need_is_not_tried(tmp_path: Path) -> None:
    tried = []

    def program(kind: str, name: str) -> str:
        tried.append(name)
        return "no module named bcc"

    wanted = [
        feature("program", "import:bcc", id="bcc"),
        feature("program", "kprobe:x", id="k", needs=("bcc",)),
    ]
    results = doctor.examine(program, engine, root=tmp_path, wanted=wanted)
    assert [(result.state, result.detail) for result in results] == [
        ("no", "no module named bcc"),
        ("unknown", "not tried without bcc"),
    ]
    assert tried == ["bcc"]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([("yes", True), ("no", False), ("unknown", False)], True),
        ([("yes", True), ("no", True)], False),
        ([("unknown", True)], True),
        ([], True),
    ],
)
def test_can_build(states: list[tuple[Any, bool]], expected: bool) -> None:
    results = [FeatureResult(feature("root", required=required), state) for state, required in states]
    assert doctor.can_build(results) is expected


def test_every_feature_of_the_list_has_a_check_and_a_source() -> None:
    features = doctor.features()
    assert len({item.id for item in features}) == len(features) > 25
    for item in features:
        assert item.tried_by in doctor.CHECKS
        assert item.source
        for option in item.kconfig:
            assert option.startswith("CONFIG_")


def test_the_kernel_fragment_has_every_option_of_the_list() -> None:
    fragment = (folder("kernels") / "slimtrace.config").read_text()
    options = {line.partition("=")[0] for line in fragment.splitlines() if line and not line.startswith("#")}
    wanted = {option for item in doctor.features() for option in item.kconfig}
    assert wanted <= options


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"id": "x"}, "missing"),
        ({"id": "x", "title": "t", "try": "root", "lost": "l", "mend": "m", "source": "s", "oops": 1}, "oops"),
        ({"id": "x", "title": "t", "try": "root", "lost": "", "mend": "m", "source": "s"}, "what is lost"),
        (
            {"id": "x", "title": "t", "try": "root", "lost": "l", "mend": "m", "source": "s", "needs": ["y"]},
            "'y'",
        ),
    ],
)
def test_a_bad_entry_is_refused(entry: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse({"feature": [entry]})
