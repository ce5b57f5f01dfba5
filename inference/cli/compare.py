"""``vae4counts compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.table import Table

from vae4counts.data import load
from vae4counts.inference.cli.shared import app, one_line_errors, screen, source_of
from vae4counts.inference.fitting.options import SettingsError
from vae4counts.inference.posterior.comparison import FEWEST_DRAWS, compare
from vae4counts.inference.run import storage
from vae4counts.inference.run.run import Run


@app.command("compare")
def compare_command(
    directories: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Directories that fit made.")
    ],
    data: Annotated[
        str | None,
        typer.Option(help="Data that no run was fitted to; by default the fitted data's test."),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=FEWEST_DRAWS, help="Draws for each observation.")
    ] = 500,
) -> None:
    """Rank fitted models by the log-likelihood of held-out observations."""
    with one_line_errors():
        runs = {str(directory): Run.load(directory) for directory in directories}
        if len(runs) < 2:
            raise SettingsError(f"{directories[0]} alone: name two runs or more to compare")
        source = source_of(runs[str(directories[0])], directories[0], data)
        adata = load(source)
        if data is None:
            for directory, run in runs.items():
                if not run.knows(adata):
                    raise storage.RunDirectoryError(
                        f"{directory} was not fitted to {source} as it is now: compare runs of the "
                        "same data, or name data that no run was fitted to with --data"
                    )
        try:
            table = compare(runs, adata, num_samples=samples)
        except ValueError as error:  # models that are not to be compared
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
    screen.print("± is a standard error; bad k, the share whose importance weights say little.")
