"""Command line options made of the fields of dataclasses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from vae4counts.inference.cli.completion import completing
from vae4counts.inference.cli.errors import one_line_errors


@dataclass(frozen=True)
class Panel:
    """How the options of a dataclass are shown in a help text.

    Attributes:
        title: The heading under which they stand.
        flags: Names of options that are not those of their fields.
        moved: Headings of options that stand elsewhere.
    """

    title: str
    flags: Mapping[str, str] = field(default_factory=dict)
    moved: Mapping[str, str] = field(default_factory=dict)


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of the dataclasses that it takes.

    A parameter ``split: Annotated[SplitOptions, Panel("Split")]`` becomes the options of its
    fields; their help texts, bounds and defaults come from the fields (see `option`). The command
    is called with the dataclass made of them.
    """
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, type[Any]] = {}
    expanded: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        kind, panel = _dataclass_of(parameter.annotation)
        if panel is None:
            expanded.append(parameter.replace(kind=parameter.KEYWORD_ONLY))
        else:
            groups[parameter.name] = kind
            expanded += _parameters(kind, panel)

    @wraps(command)
    def call(**values: Any) -> None:
        with one_line_errors():
            made = {
                name: kind(**{each.name: values.pop(each.name) for each in _options(kind)})
                for name, kind in groups.items()
            }
        command(**values, **made)

    call.__signature__ = signature.replace(parameters=expanded)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in expanded}
    return call


def _dataclass_of(annotation: Any) -> tuple[Any, Panel | None]:
    if get_origin(annotation) is Annotated:
        kind, *further = get_args(annotation)
        panels = [each for each in further if isinstance(each, Panel)]
        if panels and is_dataclass(kind):
            return kind, panels[0]
    return annotation, None


def _options(kind: type[Any]) -> Iterator[Field[Any]]:
    """The fields that are options: those with a help text."""
    return (each for each in fields(kind) if "help" in each.metadata)


def _parameters(kind: type[Any], panel: Panel) -> Iterator[inspect.Parameter]:
    types = _types(kind)
    for each in _options(kind):
        help_text, choices = each.metadata["help"], each.metadata["choices"]
        if choices is not None and not all(choice in help_text for choice in choices):
            help_text += f" One of: {', '.join(choices)}."
        flag = panel.flags.get(each.name, f"--{each.name.replace('_', '-')}")
        shown = typer.Option(
            flag,
            min=each.metadata["minimum"],
            help=help_text,
            rich_help_panel=panel.moved.get(each.name, panel.title),
            autocompletion=None if choices is None else completing(choices),
        )
        yield inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=each.default,
            annotation=Annotated[types[each.name], shown],
        )


def _types(kind: type[Any]) -> dict[str, Any]:
    """The types of the fields that are options; those of others may need heavy imports."""
    annotations = {each.name: each.type for each in _options(kind)}
    bare = type(kind.__name__, (), {"__annotations__": annotations, "__module__": kind.__module__})
    return get_type_hints(bare)
