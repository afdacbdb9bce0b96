"""How an option is described: as a field of a frozen dataclass, whose annotation says everything about it.

    @dataclass(frozen=True, slots=True)
    class RunOptions:
        user: Annotated[str, Option("Run it as another user.", metavar="USER", short="-u")] = ""

The command line (cli/spread.py) and slimtrace.toml (settings/toml.py) are made of such classes, so an option
has one name, one type and one default. A field whose type is another such class stands for all its options.
The description knows nothing of typer: rules.toml is read below the command line, where typer is not imported.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints


class Form(StrEnum):
    """What the value of an option looks like in slimtrace.toml; the text is for the user."""

    TEXT = "a string"
    TEXTS = "a list of strings"
    PLACE = "a string, the path of a file of this machine"
    PLACES = "a list of strings, each the path of a file of this machine"
    FLAG = "true or false"
    SWITCH = "true or false, as it is by default or not"
    NUMBER = "a number"
    MOMENT = "a string or a number of seconds"


@dataclass(frozen=True, slots=True)
class Option:
    """An option beside its name and type: its `help`; what the help calls its value (`metavar`); a `short` form
    such as ``-e``; the bounds of a number; whether a text may also be a number of seconds (`moment`)."""

    help: str
    metavar: str = ""
    short: str = ""
    least: float | None = None
    most: float | None = None
    moment: bool = False


@dataclass(frozen=True, slots=True)
class Described:
    """An option as it stands in its class: the field's `name`, the type of its value (`str`,
    ``tuple[str, ...]``, …), its default, and the rest."""

    name: str
    kind: Any
    default: Any
    option: Option

    @property
    def key(self) -> str:
        """What the option is called, without the dashes in front: ``exec_`` is exec."""
        return self.name.rstrip("_").replace("_", "-")

    @property
    def form(self) -> Form:
        """What its value looks like in a file. Raises TypeError for a type that no option has."""
        if self.option.moment:
            return Form.MOMENT
        if self.kind is bool:
            return Form.SWITCH if self.default else Form.FLAG
        found = _FORMS.get(self.kind)
        if found is None:
            raise TypeError(f"internal error: no option is a {self.kind}")
        return found


_FORMS: dict[Any, Form] = {
    str: Form.TEXT,
    str | None: Form.TEXT,
    tuple[str, ...]: Form.TEXTS,
    Path | None: Form.PLACE,
    tuple[Path, ...]: Form.PLACES,
    int: Form.NUMBER,
    float: Form.NUMBER,
}


def described(group: type) -> Iterator[Described]:
    """The options of a class, in the order of its fields, with those of the classes in it."""
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        hint = hints[field.name]
        if is_dataclass(hint):
            assert isinstance(hint, type)
            yield from described(hint)
        elif get_origin(hint) is Annotated:
            kind, option = get_args(hint)
            yield Described(field.name, kind, field.default, option)
        else:
            raise TypeError(f"internal error: {group.__name__}.{field.name} is no option")


def gathered(group: type, given: dict[str, Any]) -> Any:
    """An instance of `group` with the values of its options (and of the classes in it) out of `given`, by field
    name."""
    hints = get_type_hints(group)
    return group(
        **{
            field.name: gathered(hints[field.name], given)
            if is_dataclass(hints[field.name])
            else given[field.name]
            for field in fields(group)
        }
    )
