"""``vae4counts report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vae4counts.inference.cli.shared import app, data_of, one_line_errors, screen
from vae4counts.inference.run.run import Run


@app.command("report")
def report_command(
    directory: Annotated[Path, typer.Argument(metavar="RUN", help="A directory that fit made.")],
    data: Annotated[
        str | None,
        typer.Option(help="Other data with the same features; by default the fitted data."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The page to write; by default RUN/report.html.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Column of obs with known classes; the fit's by default.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Download nothing: what is not here is an error.")
    ] = False,
) -> None:
    """Write one HTML page that shows a fitted model: data, training, latent space, components."""
    page = directory / "report.html" if out is None else out
    with one_line_errors():
        run = Run.load(directory)
        _, adata, _ = data_of(run, directory, data, offline=offline)
        run.report(adata, page, label=label)
    screen.print(f"The report is {page}", soft_wrap=True)
