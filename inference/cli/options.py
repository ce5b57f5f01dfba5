"""Command line options made of the fields of dataclasses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from vae4counts.inference.cli.errors import one_line_errors


@dataclass(frozen=True)
class Panel:
    """The heading in the help text under which a dataclass's options stand."""

    title: str


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
                name: kind(**{field.name: values.pop(field.name) for field in _options(kind)})
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
    return (field for field in fields(kind) if "help" in field.metadata)


def _parameters(kind: type[Any], panel: Panel) -> Iterator[inspect.Parameter]:
    types = get_type_hints(kind)
    for field in _options(kind):
        metadata = field.metadata
        help_text = metadata["help"]
        if metadata.get("choices"):
            help_text += f" One of: {', '.join(metadata['choices'])}."
        shown = typer.Option(
            metadata.get("flag") or f"--{field.name.replace('_', '-')}",
            min=metadata.get("minimum"),
            help=help_text,
            rich_help_panel=panel.title,
        )
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=Annotated[types[field.name], shown],
        )
