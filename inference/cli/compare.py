"""``vae4counts compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from vae4counts.inference.cli.application import app, screen
from vae4counts.inference.cli.errors import one_line_errors
from vae4counts.inference.cli.options import Panel, with_options
from vae4counts.inference.cli.sources import LayerOptions, load_like, source_name

if TYPE_CHECKING:
    import pandas as pd


@app.command("compare")
@with_options
def compare_command(
    directories: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN...", help="Directories that 'vae4counts fit' made."),
    ],
    *,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data that none of the runs was fitted to; by default the observations that all "
            "of them held out."
        ),
    ] = None,
    layers: Annotated[LayerOptions, Panel("Options")],
    samples: Annotated[int, typer.Option(help="Draws for each observation, 100 or more.")] = 500,
) -> None:
    """Rank fitted models by the log-likelihood of held-out observations."""
    with one_line_errors():
        from vae4counts.inference import Run, RunDirectoryError, SettingsError, compare

        layer = layers.chosen_layer
        runs = {str(directory): Run.load(directory) for directory in directories}
        if len(runs) < 2:
            raise SettingsError(f"{directories[0]} alone: name two runs or more to compare")
        first = runs[str(directories[0])]
        source = source_name(first, directories[0], data)
        adata = load_like(first, source, layer)
        if data is None:
            for directory, run in runs.items():
                if not run.knows(adata, layer=layer):
                    raise RunDirectoryError(
                        f"{directory} was not fitted to {source} as it is now: compare runs of the "
                        "same data, or use --data to name data that no run was fitted to"
                    )
        try:
            table = compare(runs, adata, layer=layer, num_samples=samples)
        except ValueError as error:  # models that cannot be compared, or too few draws
            raise SettingsError(str(error)) from error
    _show(table, f"Log-likelihood of held-out observations of {source}, nats each")


def _show(table: pd.DataFrame, title: str) -> None:
    shown = Table("", "run", "log-likelihood", "difference from the best", "bad k", title=title)
    for name, row in table.iterrows():
        shown.add_row(
            f"{row['rank'] + 1:.0f}",
            str(name),
            f"{row['log_likelihood']:,.2f} ± {row['se']:,.2f}",
            f"{row['difference']:,.3f} ± {row['difference_se']:,.3f}" if row["rank"] else "",
            f"{row['bad_k']:.0%}",
        )
    screen.print(shown)
    screen.print(
        "± is a standard error; bad k is the share of observations whose importance weights have "
        "too heavy a tail to be trusted."
    )
