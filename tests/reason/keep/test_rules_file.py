"""Rules as text: what slimtrace.toml may say, what it may not, and that rules come back as they were."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimtrace import settings
from slimtrace.errors import SlimtraceError
from slimtrace.facts import paths
from slimtrace.reason.keep.path_permissions import Permissions
from slimtrace.reason.keep.rules import Keep, PackageDb, Rules
from slimtrace.reason.keep.rules_file import rules_from_text, to_text

# What a file's name may hold: any bytes but a slash and a zero.
PARTS = st.binary(min_size=1, max_size=12).map(
    lambda raw: paths.decode(raw.replace(b"\0", b"0").replace(b"/", b"_"))
)
PATHS = st.lists(PARTS, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
MODES, IDS = st.integers(0, 0o7777), st.integers(0, 2**32 - 2)
PERMISSIONS = st.one_of(
    st.builds(Permissions, PATHS, MODES, st.none() | IDS, st.none() | IDS),
    st.builds(Permissions, PATHS, st.none(), IDS, st.none() | IDS),
    st.builds(Permissions, PATHS, st.none(), st.none(), IDS),
)


def some(items: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(items, max_size=3).map(tuple)


RULES = st.builds(
    Rules,
    keep=st.sampled_from(Keep),
    package_db=st.sampled_from(PackageDb),
    include_paths=some(PATHS),
    include_bins=some(PATHS | PARTS),
    include_exes=some(PARTS),
    include_shell=st.booleans(),
    include_workdir=st.booleans(),
    exclude_patterns=some(PATHS | PARTS | st.text("*/?[]!a", min_size=1)),
    preserve_paths=some(PATHS),
    path_perms=st.lists(PERMISSIONS, max_size=3).map(tuple),
)


@given(RULES)
def test_rules_come_back_as_they_were(rules: Rules) -> None:
    text = to_text(rules)
    text.encode("utf-8")  # TOML is nothing else
    tomllib.loads(text)
    assert rules_from_text(text) == rules
    assert to_text(rules_from_text(text)) == text


def test_what_was_not_asked_for_is_not_written() -> None:
    assert to_text(Rules()).splitlines()[1:] == ["[rules]", 'keep = "closure"', 'package-db = "trimmed"']


def test_rules_as_a_user_writes_them() -> None:
    text = """
        [build]
        tag = "a:b"
        [rules]
        keep = "exact"
        include-path = ["/a", "/caf\\u0000e9"]
        path-perms = ["/a:0600#1#2"]
        include-shell = false
        [exercise]
        env = ["A=B"]
        continue-after = 3.5
    """
    assert rules_from_text(text) == Rules(
        Keep.EXACT, ("/a", "/caf\udce9"), path_perms=(Permissions("/a", 0o600, 1, 2),)
    )
    assert settings.read(text)["continue-after"] == 3.5


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[rules", "cannot read x.toml: ", "it is to be TOML"),
        ("[rules]\nkeep = 'exact'\nkeep = 'exact'", "cannot read x.toml: ", "it is to be TOML"),
        ("a = " + "[" * 100_000, "cannot read x.toml: it is nested too deep", "it is to be TOML"),
        ("[rules]\ninclude-pth = []", "[rules] has no key 'include-pth'", "include-path in [rules]?"),
        (
            "[rules]\nexclude_pattern = []",
            "[rules] has no key 'exclude_pattern'",
            "exclude-pattern in [rules]?",
        ),
        ("[rules]\nenv = []", "[rules] has no key 'env'", "did you mean env in [exercise]?"),
        ("[build]\nkeep = 'exact'", "[build] has no key 'keep'", "did you mean keep in [rules]?"),
        ("[rules]\nqqqq = 1", "[rules] has no key 'qqqq'", "known are keep, include-path"),
        ("[rule]\nkeep = 'exact'", "there is no table 'rule'", "did you mean [rules]?"),
        ("keep = 'exact'", "there is no table 'keep'", "did you mean keep in [rules]?"),
        ("rules = 5", "there is no table 'rules'", "[rules]"),
        ("zzzz = 5", "there is no table 'zzzz'", "known are build, proof, rules, exercise"),
        ("[rules]\ninclude-path = '/a'", "[rules] include-path: it is to be a list of strings", ""),
        ("[rules]\ninclude-path = [1]", "[rules] include-path: it is to be a list of strings", ""),
        ("[rules]\ninclude-shell = 'yes'", "[rules] include-shell: it is to be true or false", ""),
        ("[rules]\ninclude-shell = 1", "[rules] include-shell: it is to be true or false", ""),
        ("[rules]\nkeep = true", "[rules] keep: it is to be a string", ""),
        ("[exercise]\nstop-timeout = '5'", "[exercise] stop-timeout: it is to be a number", ""),
        ("[exercise]\nstop-timeout = true", "[exercise] stop-timeout: it is to be a number", ""),
        ("[exercise]\ncontinue-after = true", "it is to be a string or a number of seconds", ""),
        ("[rules]\ninclude-path = ['/a\\u0000']".replace("'", '"'), "it has a zero character", "not UTF-8"),
        ("[rules]\nkeep = 'all'", "cannot understand --keep 'all'", "exact, closure, package"),
        ("[rules]\ninclude-path = ['a']", "--include-path 'a': a path in the image begins with /", ""),
        ("[rules]\npreserve-path = ['']", "--preserve-path '': a path in the image begins with /", ""),
        ("[rules]\npath-perms = ['a:600']", "--path-perms 'a': a path in the image begins with /", ""),
        ("[rules]\npath-perms = ['/a']", "cannot set permissions by '/a'", "PATH:MODE#UID#GID"),
        ("[rules]\ninclude-exe = ['/bin/sh']", "cannot look up the program '/bin/sh'", "--include-bin"),
    ],
)
def test_the_message_says_what_is_wrong(text: str, message: str, hint: str) -> None:
    with pytest.raises(SlimtraceError) as caught:
        rules_from_text(text, "x.toml")
    assert message in caught.value.message
    assert hint in caught.value.hint


@given(st.text(max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    try:
        settings.read(text)
    except SlimtraceError as problem:
        assert problem.message.startswith("cannot read")
