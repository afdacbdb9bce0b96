"""slimtrace.toml and the command line together, as far as the request that comes of them."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import typer.main

from slimtrace import pipeline, settings
from slimtrace.cli.app import app
from slimtrace.cli.build import build
from slimtrace.errors import SlimtraceError
from slimtrace.observe.container.plan import Until
from slimtrace.pipeline import Request
from slimtrace.reason.keep.path_permissions import Permissions
from slimtrace.reason.keep.rules import Keep, Rules
from slimtrace.reason.keep.rules_file import to_text
from slimtrace.settings import Form

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
OTHER = 54321  # no user of this machine

Asked = Callable[..., Request]


class Enough(Exception):
    """The request is known; nothing is to be built."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    """asked("--keep", "exact") is what `slimtrace build --keep exact some/image` would do, run in tmp_path."""

    def note(request: Request, _: object) -> None:
        requests.append(request)
        raise Enough

    def ask(*words: str) -> Request:
        with pytest.raises(Enough):
            app(["build", *words, "some/image"], standalone_mode=False)
        return requests.pop()

    requests: list[Request] = []
    monkeypatch.setattr(pipeline, "build", note)
    monkeypatch.chdir(tmp_path)
    return ask


def write(text: str, file: str = "slimtrace.toml", mode: int = 0o644) -> Path:
    path = Path(file)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_without_a_file_nothing_is_asked_for(asked: Asked) -> None:
    assert asked() == Request("some/image")


def test_the_file_here_is_read_and_another_if_it_is_named(asked: Asked) -> None:
    write("[rules]\nkeep = 'exact'")
    write("[rules]\nkeep = 'package'", "other.toml")
    assert asked().rules == Rules(Keep.EXACT)
    assert asked("--config", "other.toml").rules == Rules(Keep.PACKAGE)


@pytest.mark.parametrize(
    ("words", "rules"),
    [
        ((), Rules(Keep.EXACT, ("/a", "/b"), include_shell=True)),
        (("--keep", "package"), Rules(Keep.PACKAGE, ("/a", "/b"), include_shell=True)),
        (("--include-path=/c",), Rules(Keep.EXACT, ("/a", "/b", "/c"), include_shell=True)),
        (("--include-exe", "x"), Rules(Keep.EXACT, ("/a", "/b"), include_exes=("x",), include_shell=True)),
    ],
)
def test_the_command_line_adds_to_lists_and_wins_otherwise(
    asked: Asked, words: tuple[str, ...], rules: Rules
) -> None:
    write("[rules]\nkeep = 'exact'\ninclude-path = ['/a', '/b']\ninclude-shell = true\ninclude-workdir = false")
    assert asked(*words).rules == rules


def test_how_it_is_driven(asked: Asked) -> None:
    write("[exercise]\nhttp-probe = false\nhost-exec = ['./a']\ncontinue-after = 7\ncmd = '-v'\nenv = ['A=1']")
    plan = asked("--host-exec", "./b", "-e", "B=2").plan
    assert (plan.http_probe, plan.host_execs, plan.until) == (False, ("./a", "./b"), Until("seconds", 7.0))
    assert (plan.launch.cmd, plan.launch.env) == (("-v",), {"A": "1", "B": "2"})
    assert asked("--http-probe").plan.http_probe


def test_the_example_of_the_page_is_understood_and_whole(asked: Asked) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert set(settings.read(example)) == {key for keys in settings.TABLES.values() for key in keys}
    write(example)
    write("/listed\n/with:0700#3#4\n", "keep.txt")
    request = asked()
    assert request.rules == Rules(
        Keep.CLOSURE,
        ("/srv/templates", "/listed", "/with"),
        ("/usr/lib/x86_64-linux-gnu/libnss_ldap.so.2",),
        ("pg_dump",),
        True,
        True,
        ("/srv/**/*.map", "/usr/share/doc"),
        ("/usr/share/doc/app/LICENSE",),
        (Permissions("/with", 0o700, 3, 4), Permissions("/var/lib/app", 0o750, 1000, 1000)),
    )
    assert request.tag == "registry.example/my/app:slim"
    assert request.artifacts == Path("out/slim")
    assert request.plan.launch.cmd == ("serve", "--verbose")


def test_places_are_relative_to_the_file(asked: Asked) -> None:
    Path("deep").mkdir()
    write("/listed", "deep/keep.txt")
    write("[build]\nartifacts = 'out'\n[rules]\ninclude-path-file = ['keep.txt']", "deep/x.toml")
    request = asked("--config", "deep/x.toml")
    assert request.artifacts == Path("deep/out")
    assert request.rules.include_paths == ("/listed",)


def test_rules_of_an_earlier_build_are_followed_again(asked: Asked) -> None:
    write("/b:0600#1#2\n", "list")
    words = "--include-path-file list --include-path /caf\udce9 --exclude-pattern [!a]* --preserve-path /-"
    first = asked(*words.split(" "), "--include-exe=--x", "--keep=exact").rules
    write(to_text(first), "rules.toml")
    assert asked("--config", "rules.toml").rules == first != Rules()


def test_every_option_is_a_key_of_its_type() -> None:
    group: Any = typer.main.get_command(app)
    options = {name: each for each in group.commands["build"].params for name in each.opts if name[:2] == "--"}
    forms = {f"--{key}": option.form for keys in settings.TABLES.values() for key, option in keys.items()}
    assert len(forms) == sum(map(len, settings.TABLES.values()))  # a key is in one table
    assert set(forms) == set(options) - {"--config", "--from", "--json", "--help"}
    types = get_type_hints(build)
    kinds: dict[Form, set[Any]] = {
        Form.TEXT: {str, str | None},
        Form.TEXTS: {list[str] | None},
        Form.PLACE: {Path | None},
        Form.PLACES: {list[Path] | None},
        Form.FLAG: {bool},
        Form.SWITCH: {bool},
        Form.NUMBER: {int, float},
        Form.MOMENT: {str},
    }
    for name, form in forms.items():
        assert types[options[name].name] in kinds[form], name
        assert bool(options[name].secondary_opts) == (form is Form.SWITCH), name


# ------------------------------------------------------------------ lists of paths


def test_a_list_of_paths(asked: Asked) -> None:
    Path("list").write_bytes(b"# what we need\n\n/a\r\n  /b c  \n/d#e\n/f:0600#1#2\n/caf\xe9\n#/no\n/g:1")
    rules = asked("--include-path-file", "list").rules
    assert rules.include_paths == ("/a", "/b c", "/d#e", "/f", "/caf\udce9", "/g:1")
    assert rules.path_perms == (Permissions("/f", 0o600, 1, 2),)


@pytest.mark.parametrize(
    ("content", "message"),
    [("/a\nb\n", "line 2 is no path in the image"), (None, "cannot read list: No such file or directory")],
)
def test_a_list_that_cannot_be_read(asked: Asked, content: str | None, message: str) -> None:
    if content:
        Path("list").write_text(content)
    with pytest.raises(SlimtraceError, match=message):
        app(["build", "--include-path-file", "list", "x"], standalone_mode=False)


# ------------------------------------------------------------------ whose file it is


def refused(*words: str) -> str:
    with pytest.raises(SlimtraceError) as caught:
        app(["build", *words, "x"], standalone_mode=False)
    return f"{caught.value.message}; {caught.value.hint}"


@pytest.mark.parametrize("words", [(), ("--config", "slimtrace.toml")])
def test_a_file_that_anyone_may_write_is_refused(asked: Asked, words: tuple[str, ...]) -> None:
    write("[rules]\nkeep = 'exact'", mode=0o666)
    assert refused(*words).startswith("cannot trust slimtrace.toml: anyone may write it")


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
def test_a_file_of_another_user_is_read_only_if_it_is_named(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(write("[rules]\nkeep = 'exact'"), OTHER, OTHER)
    assert f"it belongs to user {OTHER}" in refused()
    assert "--config slimtrace.toml" in refused()
    assert asked("--config", "slimtrace.toml").rules.keep is Keep.EXACT
    monkeypatch.setenv("SUDO_UID", str(OTHER))  # it is the caller's own
    assert asked().rules.keep is Keep.EXACT


def test_what_is_no_file_is_refused(asked: Asked) -> None:
    os.mkfifo("slimtrace.toml")
    assert "it is no regular file" in refused()
    Path("slimtrace.toml").unlink()
    Path("slimtrace.toml").symlink_to("gone")
    assert "No such file" in refused()
    assert "No such file" in refused("--config", "never.toml")


def test_a_broken_file_does_not_keep_the_help_away(asked: Asked) -> None:
    write("[")
    assert "cannot read slimtrace.toml" in refused()
    assert app(["build", "--help"], standalone_mode=False) in (0, None)


def test_a_large_or_binary_file_is_refused(asked: Asked) -> None:
    Path("slimtrace.toml").write_bytes(b"#" * ((1 << 20) + 1))
    assert "larger than" in refused()
    Path("slimtrace.toml").write_bytes(b"\xff")
    assert "not UTF-8" in refused()


# ------------------------------------------------------------------ how it is proven


def test_how_it_is_proven(asked: Asked) -> None:
    write(
        "[proof]\nrounds = 1\nwithout = ['seccomp']\nverify = false\nseccomp-action = 'kill'\ntolerance = 0.5"
    )
    found = asked("--without", "read-only", "--without", "seccomp", "--verify", "--tolerance", "0")
    assert (found.verify, found.rounds, found.tolerance) == (True, 1, 0.0)
    assert (found.without, found.seccomp_action) == (("seccomp", "read-only"), "kill")
    assert not asked().verify


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--without", "luck"),
            "cannot leave out 'luck'; say seccomp, capabilities, no-new-privileges, read-only, apparmor",
        ),
        (("--seccomp-action", "shout"), "cannot answer refused calls by 'shout'; say errno, kill, log"),
    ],
)
def test_what_is_no_measure_and_no_action(asked: Asked, words: tuple[str, ...], said: str) -> None:
    assert refused(*words) == said
