"""``vae4counts compare``."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from vae4counts.data.text import one_line
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
    refine: Annotated[
        bool,
        typer.Option(
            help="Refine the posterior of each observation first, so that models are compared, "
            "not guides."
        ),
    ] = True,
    leave_one_out: Annotated[
        bool,
        typer.Option(
            "--leave-one-out", help="Also predict each count from all others of its observation."
        ),
    ] = False,
) -> None:
    """Rank fitted models by the log-likelihood of held-out observations.

    Then tell which component of the first became which of the others, if two or more have any.
    """
    with one_line_errors():
        from vae4counts.inference import Run, RunDirectoryError, SettingsError
        from vae4counts.inference.run.comparison import compare_on, on_each
        from vae4counts.inference.run.matching import compare_components_on, with_components

        layer = layers.chosen_layer
        runs = {str(directory): Run.load(directory) for directory in directories}
        if len(runs) < 2:
            raise SettingsError(f"{directories[0]} alone: name two runs or more to compare")
        first = runs[str(directories[0])]
        source = source_name(first, directories[0], data)
        adata = load_like(first, source, layer)
        try:
            on_data = on_each(runs, adata, layer)
            for directory, on in on_data.items():
                if data is None and not on.is_fitted:
                    raise RunDirectoryError(
                        f"{directory} was not fitted to {source} as it is now: compare runs of the "
                        "same data, or use --data to name data that no run was fitted to"
                    )
            table = compare_on(on_data, samples, refine=refine, leave_one_out=leave_one_out)
        except ValueError as error:  # models that cannot be compared, or too few draws
            raise SettingsError(str(error)) from error
        _show(table, f"Log-likelihood of held-out observations of {source}, nats each")
        mixtures = with_components(on_data)
        if len(mixtures) > 1:
            _show_matches(compare_components_on(mixtures), next(iter(mixtures)))


def _show(table: pd.DataFrame, title: str) -> None:
    given_differs = len(set(table["given"])) > 1
    columns = ["", "run", "log-likelihood", "difference from the best", "bad k", "draws"]
    predicts = "leave_one_out" in table
    columns += ["each given all others"] * predicts + ["given"] * given_differs
    shown = Table(*columns, title=one_line(title))
    shown.columns[1].overflow = "fold"
    for _, alike in table.groupby("given", sort=False):
        shown.add_section()
        for name, row in alike.iterrows():
            shown.add_row(
                f"{row['rank'] + 1:.0f}",
                one_line(name),
                f"{row['log_likelihood']:,.2f}{_error(row['se'], 2)}",
                f"{row['difference']:,.3f}{_error(row['difference_se'], 3)}" if row["rank"] else "",
                f"{row['bad_k']:.0%}",
                f"{row['effective_draws']:.0%}",
                *([_with_error(row, "leave_one_out")] if predicts else []),
                *([row["given"]] if given_differs else []),
            )
    screen.print(shown)
    screen.print(
        "± is a standard error; bad k is the share of observations whose importance weights have "
        "too heavy a tail to be trusted; draws, the share of the draws that count."
    )
    if given_differs:
        screen.print(
            "Runs are ranked among those that are given the same of each observation's total count."
        )


def _show_matches(matches: pd.DataFrame, first: str) -> None:
    others = list(dict.fromkeys(matches["run"]))
    shown = Table(
        "component",
        "observations",
        *map(one_line, others),
        title=f"Components of {one_line(first)}",
    )
    for component, of in matches.groupby("component", sort=False):
        cells = [
            "" if row["match"] is None else f"{row['match']} ({row['agreement']:.2f})"
            for _, row in of.set_index("run").loc[others].iterrows()
        ]
        shown.add_row(str(component), f"{of['observations'].iloc[0]:,}", *cells)
    screen.print(shown)
    screen.print(
        "In each run the component that it became, and by how much they agree (Jaccard coefficient "
        "of their observations: 1 for the same)."
    )


def _with_error(row: pd.Series, name: str) -> str:
    """A mean and its standard error; nothing for what a model cannot tell."""
    if isnan(row[name]):
        return ""
    return f"{row[name]:,.2f}{_error(row[f'{name}_se'], 2)}"


def _error(value: float, digits: int) -> str:
    """A standard error, which a single observation does not have."""
    return "" if isnan(value) else f" ± {value:,.{digits}f}"
