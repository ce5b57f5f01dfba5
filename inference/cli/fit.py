"""``vae4counts fit``."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vae4counts.inference.cli.application import app, asides, screen
from vae4counts.inference.cli.errors import one_line_errors
from vae4counts.inference.cli.feature_options import FeatureOptions
from vae4counts.inference.cli.metrics_table import show_metrics
from vae4counts.inference.cli.options import Panel, with_options
from vae4counts.inference.cli.pair_options import PairOptions
from vae4counts.inference.cli.results import complete, warn_of_unwritable
from vae4counts.inference.fitting.options import Compute, Schedule, SplitOptions

if TYPE_CHECKING:
    from anndata import AnnData

    from vae4counts.inference.run.run import Run

EPOCHS_HELP = "Most epochs; by default 400, or fewer for more than 20,000 observations."
TORCHRUN_HELP = "torchrun --nproc-per-node N -m vae4counts.inference fit ..."
# Options that the results do not depend on.
INCIDENTAL = ("checkpoint_minutes", "resume")


@app.command("fit")
@with_options
def fit_command(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            help="A data set's name (see 'vae4counts datasets') or a file: .h5ad, .zarr, .h5 or a "
            "folder (or .tar.gz) of 10x, .loom, .mtx, .csv, .tsv, COCO .json. Observations "
            "are rows, counts are raw."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Directory to make for the results.")],
    label: Annotated[
        str | None,
        typer.Option(
            help="Column of obs with known classes, to compare with.", rich_help_panel="Data"
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(help="Layer that holds the raw counts; by default X.", rich_help_panel="Data"),
    ] = None,
    features: Annotated[FeatureOptions, Panel("Data")] = FeatureOptions(),
    out_of_core: Annotated[
        bool,
        typer.Option(
            "--out-of-core",
            help="Leave the counts of an .h5ad or .zarr on disk; annotated.h5ad is without them.",
            rich_help_panel="Data",
        ),
    ] = False,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            help="Download nothing: data that are missing are an error.",
            rich_help_panel="Data",
        ),
    ] = False,
    pair: Annotated[PairOptions, Panel("Model")] = PairOptions(),
    schedule: Annotated[Schedule, Panel("Training")] = Schedule(),
) -> None:
    """Fit a model to counts; leave model, metrics, annotated data and figures in a directory.

    Now and then, and when it is stopped by SIGTERM or Ctrl-C, the state is saved in OUT.partial.
    """
