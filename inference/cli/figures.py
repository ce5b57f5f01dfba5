"""``vae4counts figures``."""

from __future__ import annotations

import typer

from vae4counts.inference.cli.application import app, screen
from vae4counts.inference.cli.errors import FAILURE, one_line_errors
from vae4counts.inference.cli.results import draw_figures
from vae4counts.inference.cli.sources import Label, Offline, RunDirectory, source_of


@app.command("figures")
def figures_command(directory: RunDirectory, label: Label = None, offline: Offline = False) -> None:
    """Draw the figures of a fitted model into its directory, those that exist again."""
    with one_line_errors():
        source = source_of(directory, None, label, offline=offline)
        if not draw_figures(source.on, directory, again=True):
            raise typer.Exit(FAILURE)
    screen.print(f"The figures are in {directory}", soft_wrap=True)
