"""``vae4counts report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vae4counts.inference.cli.application import app, screen
from vae4counts.inference.cli.covariate_options import HoldingOptions
from vae4counts.inference.cli.errors import one_line_errors
from vae4counts.inference.cli.options import Panel, with_options
from vae4counts.inference.cli.places import as_place, check_place
from vae4counts.inference.cli.sources import (
    LabelOptions,
    LayerOptions,
    Offline,
    RunDirectory,
    source_of,
)


@app.command("report")
@with_options
def report_command(
    directory: RunDirectory,
    *,
    data: Annotated[
        str | None,
        typer.Option(help="Other data with the same features; by default the fitted data."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The page to write; by default RUN/report.html.")
    ] = None,
    colour: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of obs or feature by which the map of the latents is coloured as well. "
            "May be given several times."
        ),
    ] = None,
    holding: Annotated[HoldingOptions, Panel("Options")],
    labels: Annotated[LabelOptions, Panel("Options")],
    layers: Annotated[LayerOptions, Panel("Options")],
    offline: Offline = False,
) -> None:
    """Write one HTML page that shows a fitted model: a verdict, the latents, components, checks."""
    page = directory / "report.html" if out is None else as_place(out)
    with one_line_errors():
        from vae4counts.inference.report import write_page

        at = holding.held

        check_place(page)
        source = source_of(directory, data, layers, labels, offline=offline)
        write_page(source.on, page, at, colour or ())
    screen.print(f"The report is {page}", soft_wrap=True)
