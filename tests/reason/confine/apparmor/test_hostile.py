"""apparmor_parser accepts every profile, whatever names, sockets and images hold, however many files there are;
and what it makes of it allows what was seen, and no more than that."""

import itertools

import pytest
from examples import examples
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from slimtrace.facts import paths
from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import Confinement, Repairs, Writable
from slimtrace.facts.events import CallArguments, CallSet, Exec, FileUse, Listen, Origin, Phase, Socket, Use
from slimtrace.facts.image import Image
from slimtrace.facts.selection import Reason, Selection, Why
from slimtrace.facts.tree import Entry, FileTree, Kind
from slimtrace.reason.confine import apparmor
from slimtrace.reason.confine.apparmor import pathnames
from slimtrace.reason.confine.apparmor.network_rules import FAMILIES, KINDS
from slimtrace.reason.confine.apparmor.rule_compaction import MAX_STATES, ONE_RULE_A_LINE, estimated_states

from ...trees import capture, selected
from .profiles import Policy, compiled

pytestmark = pytest.mark.requires("apparmor-parser")
SLOW = settings(deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])

NAMES = st.binary(min_size=1, max_size=40).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"_"))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: paths.decode(b"/" + b"/".join(parts)))
HOSTILE = st.text(alphabet="[]{}*?^@\"'\\,#$ \n\r\t()|!+.-01/\x01é%", min_size=1, max_size=30).map(
    lambda name: f"/{name}"
)
LONG = st.integers(100, 5000).map(lambda size: "/" + "/".join('"' * 255 for _ in range(size // 255 + 1)))
ANY = (PATHS | HOSTILE | LONG).map(paths.clean).filter(lambda path: path != "/" and "/.." not in path)


def text(seen: Capture, *more: object, **others: object) -> str:
    return apparmor.profile(apparmor.profile_name(seen.image), seen, selected(seen), *more, **others)  # type: ignore[arg-type]


@SLOW
@given(st.lists(ANY, min_size=1, max_size=8, unique=True), st.booleans())
def test_any_name(names: list[str], foreign: bool) -> None:
    uses = (Use.READ, Use.WRITE, Use.LIST, Use.CHANGE, Use.MAP)
    events = [FileUse(what, name, resolved=name, foreign=foreign) for name in names for what in uses]
    policy = Policy(text(capture({}, events, [Exec(name, "", name, 1, 0) for name in names[:1]])))
    for name in names:
        assert policy.allows(name, "rwm")
        assert policy.allows(name + "/", "r")
    assert policy.allows(names[0], "x")


@SLOW
@given(ANY)
def test_a_name_is_for_itself(name: str) -> None:
    assume(len(paths.encode(name)) < 400)  # a longer one is cut
    seen = capture({name: "file"}, [FileUse(Use.READ, name, resolved=name)])
    assume(not pathnames.is_volatile(paths.name(name)) or name in seen.tree)
    policy = Policy(text(seen))
    base = Policy(text(capture({})))
    assert policy.allows(name, "r")
    for other in (name + "x", name[:-1], name.replace("/", "/x", 1), name.replace("*", "y"), name.upper()):
        if other != name:
            assert policy.allows(other, "r") == base.allows(other, "r"), other


@SLOW
@given(st.text(max_size=300), st.text(alphabet="0123456789abcdef:sh", max_size=80))
def test_any_image(reference: str, image_id: str) -> None:
    name = apparmor.profile_name(Image(image_id, reference))
    assert len(name) <= 128
    assert name.isascii() and name.startswith("slimtrace-")
    seen = capture({})
    assert compiled(apparmor.profile(name, seen, selected(seen))).returncode == 0


FAMILY = st.sampled_from([*FAMILIES.values(), "unspec"]) | st.text(max_size=8) | st.integers(0, 70000).map(str)


@SLOW
@given(st.lists(st.tuples(FAMILY, st.sampled_from(KINDS) | st.text(max_size=8))), st.integers(-5, 1 << 70))
def test_any_socket(made: list[tuple[str, str]], number: int) -> None:
    sockets = [Socket("socket", family, kind) for family, kind in made]
    repairs = Repairs(
        arguments=(CallArguments("socket", 0, (number,)),),
        capabilities=("net_admin", "made,up {"),
        calls=("x",),
    )
    assert compiled(text(capture({}, sockets=tuple(sockets)), repairs=repairs)).returncode == 0


@SLOW
@given(st.lists(ANY, max_size=4), st.lists(ANY, max_size=4), ANY)
def test_any_writable_directory(writable: list[str], repaired: list[str], volume: str) -> None:
    confinement = Confinement(writable=tuple(map(Writable, writable)))
    seen = capture({}, config={"Volumes": {volume: {}, "/": {}, "": {}}})
    policy = Policy(text(seen, confinement, Repairs(writable=tuple(repaired), paths=tuple(repaired))))
    for place in (*writable, *repaired, volume):
        assert policy.allows(f"{place}/any name", "rwkl")
        assert policy.allows(f"{place}/", "rw")


def many(names: list[str], reason: Why = Why.OPENED, mode: int = 0o644) -> Capture:
    entries = {"/": Entry("/", Kind.DIR, 0o755), **{name: Entry(name, Kind.FILE, mode) for name in names}}
    seen = capture({})
    return Capture(seen.image, FileTree(entries), seen.trace, seen.contents)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        pytest.param([f"/d/{number:08x}" for number in range(ONE_RULE_A_LINE + 1)], Why.OPENED, id="some"),
        pytest.param(
            [f"/d{n % 50}/{n * 2654435761 % (1 << 64):016x}" for n in range(20_000)], Why.OPENED, id="wide"
        ),
        pytest.param([f"/{n * 2654435761 % (1 << 64):016x}/f" for n in range(20_000)], Why.OPENED, id="roots"),
        pytest.param(
            [f"/{n * 2654435761 % (1 << 64):016x}" for n in range(20_000)], Why.EXECUTED, id="programs"
        ),
        pytest.param(
            ["/" + "/".join(f"{n}" + "x" * 250 for _ in range(60)) for n in range(8)], Why.OPENED, id="deep"
        ),
    ],
)
def test_however_many_files(names: list[str], reason: Why) -> None:
    seen = many(names)
    kept = Selection({name: (Reason(reason, "app"),) for name in names})
    # the automaton is as large, and made sooner
    policy = Policy(apparmor.profile("slimtrace-many", seen, kept), "-O", "no-expr-simplify")
    for name in itertools.islice(names, 0, None, 997):
        assert policy.allows(name, "r")
    assert not policy.allows("/proc/sysrq-trigger", "w")


def test_volatile_names_of_many_kinds() -> None:
    """Globs that all have to be followed at once would be states without end."""
    calls = [CallSet(Phase.APP, Origin.CONTAINER, ("open",))]
    events = [
        FileUse(Use.WRITE, path, resolved=path, created=True)
        for number in range(300)
        for path in (
            f"/etc/{chr(97 + number % 26)}{number:03d}-{number}-x{number * 7}.d/f",
            f"/run/{number}a{number}",
        )
    ]
    policy = Policy(text(capture({}, events, calls=calls)))
    assert all(policy.allows(event.resolved, "rw") for event in events)


def test_the_estimate_of_states() -> None:
    assert estimated_states(["/a", "/b/c", "/b/d"]) == 2 + 3 + 1
    assert MAX_STATES < 65535


def test_a_small_profile_is_exact() -> None:
    seen = many(["/d/a", "/d/b"])
    kept = Selection({"/d/a": (Reason(Why.OPENED, "app"),)})
    assert "as a whole" not in apparmor.profile("slimtrace-x", seen, kept)


def test_listening_alone_takes_a_network() -> None:
    found = text(capture({}, listens=(Listen(8080, "::", 1),)))
    assert "network inet stream," in found and "network inet6 stream," in found
