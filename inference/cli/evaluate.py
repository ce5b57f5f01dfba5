"""``vae4counts evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vae4counts.inference.cli.shared import app, data_of, one_line_errors, show
from vae4counts.inference.run.run import Run


@app.command("evaluate")
def evaluate_command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory that fit made.")],
    data: Annotated[
        str | None,
        typer.Option(help="Other data with the same features; by default the fitted data's test."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Column of obs with known classes; the fit's by default.")
    ] = None,
    out_of_core: Annotated[
        bool,
        typer.Option("--out-of-core", help="Leave the counts of other data on disk, as fit does."),
    ] = False,
    samples: Annotated[int, typer.Option(min=1, help="Draws for each observation.")] = 100,
    offline: Annotated[
        bool, typer.Option("--offline", help="Download nothing: what is not here is an error.")
    ] = False,
) -> None:
    """Evaluate a fitted model on held-out observations, or on other data."""
    with one_line_errors():
        run = Run.load(directory)
        source, adata, known = data_of(
            run, directory, data, out_of_core=out_of_core, offline=offline
        )
        result = run.evaluate(adata, label=label, num_samples=samples).to_dict()
    show(result | {"n_test": result["n"]} if known else result, title=f"{directory} on {source}")
