"""``vae4counts annotate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vae4counts.inference.cli.application import app, screen
from vae4counts.inference.cli.errors import one_line_errors
from vae4counts.inference.cli.options import Panel, with_options
from vae4counts.inference.cli.places import as_place, check_place
from vae4counts.inference.cli.results import (
    ANNOTATED,
    annotate,
    annotated_name,
    check_annotation,
)
from vae4counts.inference.cli.sources import LayerOptions, Offline, RunDirectory, source_of


@app.command("annotate")
@with_options
def annotate_command(
    directory: RunDirectory,
    *,
    data: Annotated[
        str | None,
        typer.Option(help="Other data with the same features; by default the fitted data."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help=f"The .h5ad (or .h5mu) file to write; by default RUN/{ANNOTATED}."),
    ] = None,
    layers: Annotated[LayerOptions, Panel("Options")],
    out_of_core: Annotated[
        bool,
        typer.Option("--out-of-core", help="Leave the counts of other data on disk, as in fit."),
    ] = False,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine",
            help="Refine the posterior of each observation first; obs gets pareto_k as well.",
        ),
    ] = False,
    offline: Offline = False,
) -> None:
    """Write data with what a fitted model says of each observation, where scanpy looks for it.

    obsm: X_vae, responsibilities, topics. obs: component, component_entropy. varm: loadings,
    topics.
    """
    with one_line_errors():
        from vae4counts.inference import SettingsError

        if data is not None and out is None:
            raise SettingsError("name the file to write the other data to with --out")
        path = directory / ANNOTATED if out is None else as_place(out)
        if out is not None and path.exists():
            raise SettingsError(f"{out} exists already: name a file to make")
        check_place(path)
        source = source_of(directory, data, layers, out_of_core=out_of_core, offline=offline)
        if out is None:
            path = directory / annotated_name(source.on.adata)
        check_annotation(source.on.adata, source.on.run.model, source.on.layer, refine=refine)
        annotate(source.on, path, refine=refine)
    screen.print(f"The annotated data are in {path}", soft_wrap=True)
