"""``vae4counts evaluate``."""

from __future__ import annotations

from typing import Annotated

import typer

from vae4counts.inference.cli.application import app
from vae4counts.inference.cli.errors import one_line_errors
from vae4counts.inference.cli.metrics_table import show_metrics, show_prediction
from vae4counts.inference.cli.modality_options import Given, Of, givens
from vae4counts.inference.cli.options import Panel, with_options
from vae4counts.inference.cli.results import is_evaluated, save_metrics
from vae4counts.inference.cli.sources import (
    LabelOptions,
    LayerOptions,
    Offline,
    RunDirectory,
    source_of,
)


@app.command("evaluate")
@with_options
def evaluate_command(
    directory: RunDirectory,
    *,
    data: Annotated[
        str | None,
        typer.Option(
            help="Other data with the same features, all of which count; by default the held-out "
            "observations of the fitted data."
        ),
    ] = None,
    labels: Annotated[LabelOptions, Panel("Options")],
    layers: Annotated[LayerOptions, Panel("Options")],
    out_of_core: Annotated[
        bool,
        typer.Option("--out-of-core", help="Leave the counts of other data on disk, as in fit."),
    ] = False,
    samples: Annotated[int, typer.Option(min=1, help="Draws for each observation.")] = 100,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine",
            help="Also refine the posterior of each observation, and measure the model by it.",
        ),
    ] = False,
    batch: Annotated[
        str | None,
        typer.Option(
            help="Column of obs, such as an experimental batch: also measure how well its values "
            "are mixed in the latent space."
        ),
    ] = None,
    leave_one_out: Annotated[
        bool,
        typer.Option(
            "--leave-one-out",
            help="Also predict each count from all others of its observation; always done where "
            "it is exact.",
        ),
    ] = False,
    of: Of = None,
    given: Given = None,
    offline: Offline = False,
) -> None:
    """Evaluate a fitted model on held-out observations, or on other data.

    RUN is left as it is. Only if the fit could not evaluate it (the disk was full, say), these
    metrics of the fitted data go into RUN/metrics.json.
    """
    with one_line_errors():
        from vae4counts.inference import SettingsError
        from vae4counts.inference.posterior.cross_modal import check_tables, conditional_summary
        from vae4counts.inference.posterior.importance import MIN_DRAWS

        if given and of is None:
            raise SettingsError("--given is for a table that is predicted: name it with --of")
        source = source_of(
            directory, data, layers, labels, out_of_core=out_of_core, offline=offline
        )
        on, run = source.on, source.on.run
        others = [] if of is None else check_tables(run.model, of, givens(run, of, given))
        is_own = on.is_fitted and on.label == run.label
        is_missing = is_own and not is_evaluated(run, refine=refine)
        predicts = leave_one_out or None
        result = on.evaluate(samples, batch=batch, leave_one_out=predicts).to_dict()
        if refine:
            refined = on.evaluate(samples, refine=True, batch=batch, leave_one_out=predicts)
            result |= refined.refined_metrics()
        predicted = None
        if of is not None:
            found = on.conditional_log_likelihoods(of, others, max(samples, MIN_DRAWS))
            predicted = conditional_summary(found)
        if is_missing:  # as where the disk was full when the fit came to it
            save_metrics(run, directory)
    if on.is_fitted:
        result["n_test"] = result["n"]
    show_metrics(result, title=f"{directory} on {source.name}")
    if predicted is not None:
        show_prediction(predicted, f"log p({of} | {', '.join(others)}), nats per observation")
