"""Option classes (slimtrace/settings/groups.py) as options of a typer verb."""

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from typing import Annotated, Any, get_args, get_origin

import typer

from slimtrace.settings.option import Described, described, gathered


def spread(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb as typer is to see it: each parameter whose type is an option class becomes the options of that
    class, in its place. The verb itself is called with instances of the classes."""
    signature = inspect.signature(verb, eval_str=True)
    annotations = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    groups: dict[str, Any] = {name: kind for name, kind in annotations.items() if is_dataclass(kind)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        if name in groups:
            parameters += _parameters(groups[name])
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(verb)
    def called(**given: Any) -> None:
        for option in (option for group in groups.values() for option in described(group)):
            if get_origin(option.kind) is tuple:
                given[option.name] = tuple(given[option.name] or ())
        own = {name: value for name, value in given.items() if name in signature.parameters}
        verb(**own, **{name: gathered(group, given) for name, group in groups.items()})

    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return called


def _parameters(group: type) -> Iterator[inspect.Parameter]:
    for option in described(group):
        several = get_origin(option.kind) is tuple
        kind = list[get_args(option.kind)[0]] | None if several else option.kind  # type: ignore[misc]
        yield inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None if several else option.default,
            annotation=Annotated[kind, _typer_option(option)],
        )


def _typer_option(described_option: Described) -> Any:
    option, key = described_option.option, described_option.key
    switch = described_option.kind is bool and described_option.default
    names = [f"--{key}/--no-{key}" if switch else f"--{key}", *filter(None, [option.short])]
    return typer.Option(
        *names, metavar=option.metavar or None, min=option.least, max=option.most, help=option.help
    )
