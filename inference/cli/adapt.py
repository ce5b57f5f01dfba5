"""``vae4counts adapt``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vae4counts.data.readers.registry import accepted_formats
from vae4counts.inference.cli.application import app, screen
from vae4counts.inference.cli.command_line import command_line
from vae4counts.inference.cli.completion import data_sets
from vae4counts.inference.cli.data_options import resolved
from vae4counts.inference.cli.errors import one_line_errors
from vae4counts.inference.cli.fit import how_training_ended
from vae4counts.inference.cli.metrics_table import show_metrics
from vae4counts.inference.cli.options import Panel, with_options
from vae4counts.inference.cli.places import as_place
from vae4counts.inference.cli.results import check_annotation, complete
from vae4counts.inference.cli.sources import (
    LabelOptions,
    LayerOptions,
    Offline,
    RunDirectory,
    load_like,
)
from vae4counts.inference.fitting.options import AdaptationOptions, SplitOptions


@app.command("adapt")
@with_options
def adapt_command(
    context: typer.Context,
    directory: RunDirectory,
    data: Annotated[
        str,
        typer.Argument(
            help="Data with new levels of the run's covariates, such as a new batch: a name, or "
            f"the path of {accepted_formats()}.",
            autocompletion=data_sets,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Directory to make for the results.")],
    labels: Annotated[LabelOptions, Panel("Data")],
    layers: Annotated[LayerOptions, Panel("Data")],
    split: Annotated[SplitOptions, Panel("Split", flags={"column": "--split"})],
    basic: Annotated[AdaptationOptions, Panel("Training")],
    out_of_core: Annotated[
        bool, typer.Option("--out-of-core", help="Leave the counts on disk, as in fit.")
    ] = False,
    offline: Offline = False,
) -> None:
    """Adapt a fitted model to new levels of its covariates; leave results as fit does.

    Only what belongs to the new levels is trained, in about a tenth of a fit's time. RUN is left as
    it is.
    """
    out = as_place(out)
    with one_line_errors():
        from vae4counts.inference import Run, adapt
        from vae4counts.inference.run import storage
        from vae4counts.inference.run.fitted_pair import AS_FITTED

        storage.check_free(out)
        run = Run.load(directory)
        layer = layers.chosen_layer
        adata = load_like(run, data, layer, out_of_core=out_of_core, offline=offline)
        check_annotation(adata, run.model, run.layer if layer is AS_FITTED else layer)
        adapted = adapt(
            run,
            adata,
            epochs=basic.epochs,
            batch_size=basic.batch_size,
            learning_rate=basic.learning_rate,
            seed=basic.seed,
            label=labels.chosen_label,
            layer=layer,
            device=basic.device,
            split=split,
        )
        adapted.settings |= {
            "data": resolved(data),
            "out_of_core": out_of_core,
            "command": command_line(context),
        }
        adapted.save(out)
        complete(adapted.on(adata), out, writes=True)
    show_metrics(adapted.metrics, title=f"{type(adapted.model).__name__} adapted to {data}")
    screen.print(how_training_ended(adapted))
    screen.print(f"Results are in {out}", soft_wrap=True)
