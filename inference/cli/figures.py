"""``vae4counts figures``."""

from __future__ import annotations

from typing import Annotated

import typer

from vae4counts.inference.cli.application import app, screen
from vae4counts.inference.cli.errors import FAILURE, one_line_errors
from vae4counts.inference.cli.options import Panel, with_options
from vae4counts.inference.cli.results import draw_figures
from vae4counts.inference.cli.sources import (
    LabelOptions,
    LayerOptions,
    Offline,
    RunDirectory,
    source_of,
)


@app.command("figures")
@with_options
def figures_command(
    directory: RunDirectory,
    *,
    labels: Annotated[LabelOptions, Panel("Options")],
    layers: Annotated[LayerOptions, Panel("Options")],
    offline: Offline = False,
) -> None:
    """Draw the figures of a fitted model into its directory, those that exist again."""
    with one_line_errors():
        source = source_of(directory, None, layers, labels, offline=offline)
        if not draw_figures(source.on, directory, again=True):
            raise typer.Exit(FAILURE)
    screen.print(f"The figures are in {directory}", soft_wrap=True)
