"""The application that all commands belong to, and the two streams that they write to."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from vae4counts.data.progress.stream import Stream

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
screen = Stream()
asides = Stream(stderr=True, soft_wrap=True, highlight=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        screen.print(f"vae4counts {version('vae4counts')}", highlight=False)
        raise typer.Exit


@app.callback()
def application(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Probabilistic models for sparse counts: fit one, and understand your data."""
