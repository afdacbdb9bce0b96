"""Classes of options as a typer verb has them."""

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from slimtrace.cli.spread import spread
from slimtrace.settings import Option


@dataclass(frozen=True)
class Inner:
    env: Annotated[tuple[str, ...], Option("Set a variable.", metavar="NAME=VALUE", short="-e")] = ()


@dataclass(frozen=True)
class Group:
    inner: Inner = Inner()
    exec_: Annotated[str | None, Option("A command.", metavar="CMD")] = None
    probe: Annotated[bool, Option("Ask.")] = True
    strict: Annotated[bool, Option("Fail.")] = False
    rounds: Annotated[int, Option("Rounds.", metavar="N", least=0, most=20)] = 3


Called = list[dict[str, Any]]


@pytest.fixture
def called() -> Called:
    return []


@pytest.fixture
def app(called: Called) -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)

    @app.command()
    @spread
    def verb(
        *,
        image: Annotated[str, typer.Argument(metavar="IMAGE")],
        before: Annotated[bool, typer.Option("--before")] = False,
        group: Group,
        after: Annotated[bool, typer.Option("--after")] = False,
    ) -> None:
        """Do it."""
        called.append({"image": image, "before": before, "group": group, "after": after})

    return app


@pytest.mark.parametrize(
    ("words", "group"),
    [
        ([], Group()),
        (["-e", "A=1", "--env", "B"], Group(Inner(("A=1", "B")))),
        (["--exec", "ls -l"], Group(exec_="ls -l")),
        (["--no-probe", "--strict"], Group(probe=False, strict=True)),
        (["--rounds", "20"], Group(rounds=20)),
    ],
)
def test_the_verb_gets_the_classes(app: typer.Typer, called: Called, words: list[str], group: Group) -> None:
    outcome = CliRunner().invoke(app, ["some/image", *words])
    assert outcome.exit_code == 0, outcome.output
    assert called == [{"image": "some/image", "before": False, "group": group, "after": False}]


@pytest.mark.parametrize("words", [["--rounds", "21"], ["--no-strict"], ["--exec_", "x"], ["--inner", "x"], []])
def test_what_the_classes_do_not_allow_is_refused(app: typer.Typer, called: Called, words: list[str]) -> None:
    assert CliRunner().invoke(app, ["some/image", *words] if words else []).exit_code == 2
    assert called == []


def test_the_help_has_the_options_in_the_place_of_their_class(app: typer.Typer) -> None:
    told = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100", "TERM": "dumb"}).output
    at = [
        told.index(text) for text in ("--before", "-e, --env NAME=VALUE", "--exec CMD", "--probe / --no-probe")
    ]
    at += [told.index(text) for text in ("--strict ", "--rounds N", "--after")]
    assert at == sorted(at)
    assert "[default: 3; 0<=x<=20]" in told
