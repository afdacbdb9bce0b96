"""Options as classes describe them, and the tables of slimtrace.toml that are made of these."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest

from slimtrace.settings import TABLES, Form, Option, described
from slimtrace.settings.groups import (
    ComparisonOptions,
    ProfileTrialOptions,
    RecordOptions,
    RunOptions,
    TrialOptions,
)
from slimtrace.settings.option import gathered


@dataclass(frozen=True)
class Inner:
    tags: Annotated[tuple[str, ...], Option("Tags.")] = ()
    files: Annotated[tuple[Path, ...], Option("Files.")] = ()


@dataclass(frozen=True)
class Outer:
    name: Annotated[str, Option("A name.")] = ""
    inner: Inner = Inner()
    place: Annotated[Path | None, Option("A place.")] = None
    cmd: Annotated[str | None, Option("A command.")] = None
    exec_: Annotated[bool, Option("Execute.")] = False
    use_it: Annotated[bool, Option("Use it.")] = True
    share: Annotated[float, Option("A share.")] = 0.5
    after: Annotated[str, Option("A moment.", moment=True)] = "probe"


def test_a_class_lists_its_options_and_those_of_the_classes_in_it() -> None:
    assert [(option.key, option.form, option.default) for option in described(Outer)] == [
        ("name", Form.TEXT, ""),
        ("tags", Form.TEXTS, ()),
        ("files", Form.PLACES, ()),
        ("place", Form.PLACE, None),
        ("cmd", Form.TEXT, None),
        ("exec", Form.FLAG, False),
        ("use-it", Form.SWITCH, True),
        ("share", Form.NUMBER, 0.5),
        ("after", Form.MOMENT, "probe"),
    ]


def test_values_come_back_as_the_class() -> None:
    given = {option.name: option.default for option in described(Outer)}
    assert gathered(Outer, given) == Outer()
    assert gathered(Outer, {**given, "tags": ("a",), "name": "b"}) == Outer("b", Inner(("a",)))


@dataclass(frozen=True)
class Plain:
    name: str = ""


@dataclass(frozen=True)
class OfBytes:
    name: Annotated[bytes, Option("Bytes.")] = b""


def test_a_field_that_is_no_option_is_a_defect() -> None:
    with pytest.raises(TypeError, match=r"internal error: Plain\.name is no option"):
        list(described(Plain))
    with pytest.raises(TypeError, match="internal error: no option is a <class 'bytes'>"):
        _ = next(described(OfBytes)).form


def test_a_key_is_in_one_table_and_every_form_is_known() -> None:
    keys = [key for table in TABLES.values() for key in table]
    assert len(keys) == len(set(keys)) > 30
    assert {option.form for table in TABLES.values() for option in table.values()} == set(Form)


@pytest.mark.parametrize(
    ("special", "general", "changed"),
    [(RecordOptions, RunOptions, {"continue-after"}), (ProfileTrialOptions, TrialOptions, {"verify"})],
)
def test_a_verb_of_its_own_help_differs_in_that_alone(special: type, general: type, changed: set[str]) -> None:
    def known(group: type) -> dict[str, Any]:
        return {option.key: (option.kind, option.default, option.option) for option in described(group)}

    ours, theirs = known(special), known(general)
    assert list(ours) == list(theirs)
    assert {key for key in ours if ours[key] != theirs[key]} == changed


def test_verify_and_build_compare_by_the_same_options() -> None:
    assert {option.key for option in described(ComparisonOptions)} < {
        option.key for option in described(TrialOptions)
    }
