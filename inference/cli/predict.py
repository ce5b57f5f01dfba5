"""``vae4counts predict``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vae4counts.inference.cli.application import app, screen
from vae4counts.inference.cli.errors import one_line_errors
from vae4counts.inference.cli.modality_options import Given
from vae4counts.inference.cli.options import Panel, with_options
from vae4counts.inference.cli.places import as_place, check_place
from vae4counts.inference.cli.sources import LayerOptions, Offline, RunDirectory, source_of

if TYPE_CHECKING:
    from vae4counts.inference.interpretation.prediction import Prediction

SUFFIXES = (".csv", ".h5ad")


@app.command("predict")
@with_options
def predict_command(
    directory: RunDirectory,
    data: Annotated[
        str | None,
        typer.Argument(
            help="Observations to predict for, which may lack the table; by default the "
            "fitted data."
        ),
    ] = None,
    *,
    of: Annotated[str, typer.Option(help="The table to predict.")],
    given: Given = None,
    out: Annotated[
        Path,
        typer.Option(
            help="The file to make: .csv of expected values, or .h5ad, also of quantiles."
        ),
    ],
    quantile: Annotated[
        list[float] | None,
        typer.Option(
            help="A quantile of the values, between 0 and 1, as a layer of the .h5ad "
            "file; may be given several times."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Draws for each observation.")] = 100,
    library_size: Annotated[
        float | None,
        typer.Option(
            help="Total of the predicted counts; by default an observation's own, or the "
            "mean of the others where it is unknown."
        ),
    ] = None,
    layers: Annotated[LayerOptions, Panel("Options")],
    offline: Offline = False,
) -> None:
    """Predict one table of each observation from others: proteins from RNA, words from objects.

    vae4counts predict RUN new.h5mu --of protein --given rna --out protein.csv
    """
    path = as_place(out)
    with one_line_errors():
        from vae4counts.inference import SettingsError

        if path.suffix not in SUFFIXES:
            raise SettingsError(f"{out} is neither a {' nor a '.join(SUFFIXES)} file")
        if quantile and path.suffix != ".h5ad":
            raise SettingsError("quantiles are layers of an .h5ad file: name one with --out")
        if path.exists():
            raise SettingsError(f"{out} exists already: name a file to make")
        check_place(path)
        source = source_of(directory, data, layers, offline=offline)
        try:
            found = source.on.interpret().predict(
                of,
                given,
                quantiles=quantile or (),
                num_samples=samples,
                library_size=library_size,
            )
        except ValueError as error:
            raise SettingsError(str(error)) from error
        _write(found, path)
    screen.print(f"The predictions are in {path}", soft_wrap=True)


def _write(found: Prediction, path: Path) -> None:
    from anndata import AnnData

    from vae4counts.inference.cli.h5ad import write_h5ad
    from vae4counts.inference.run import storage

    with storage.replace_file(path) as staged:
        if path.suffix == ".csv":
            found.mean.to_csv(staged)
            return
        adata = AnnData(
            found.mean.to_numpy(),
            found.effective_draws.rename("effective_draws").to_frame(),
            found.mean.columns.to_frame(name="feature")[[]],
            layers={f"q{q:g}": table.to_numpy() for q, table in found.quantiles.items()},
        )
        write_h5ad(adata, staged)
