"""Which data a command looks at: those that it names, or those that a run was fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vae4counts.inference.cli.modality_options import further_modalities
from vae4counts.inference.fitting.options import option

if TYPE_CHECKING:
    from anndata import AnnData

    from vae4counts.inference.run.fitted_pair import AsFitted
    from vae4counts.inference.run.on_data import RunOnData
    from vae4counts.inference.run.run import Run

RunDirectory = Annotated[
    Path, typer.Argument(metavar="RUN", help="A directory that 'vae4counts fit' made.")
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Download nothing: data that are missing are an error.")
]


@dataclass(frozen=True)
class LayerOptions:
    """Which layer holds the counts of the data."""

    layer: str | None = option(
        None, "Layer that holds the raw counts; by default the one named in the fit."
    )
    no_layer: bool = option(False, "The raw counts are in X, whatever layer was named in the fit.")

    @property
    def chosen_layer(self) -> str | AsFitted | None:
        """The layer to read.

        Raises:
            SettingsError: One is named, and none is to be read.
        """
        return _chosen("layer", self.layer, none=self.no_layer)


@dataclass(frozen=True)
class LabelOptions:
    """Which column of the data holds known classes."""

    label: str | None = option(
        None, "Column of obs with known classes; by default the one named in the fit."
    )
    no_label: bool = option(False, "Compare with no classes, whatever was named in the fit.")

    @property
    def chosen_label(self) -> str | AsFitted | None:
        """The column to compare with.

        Raises:
            SettingsError: One is named, and none is to be compared with.
        """
        return _chosen("label", self.label, none=self.no_label)


@dataclass(frozen=True)
class Source:
    """A run on data.

    Attributes:
        name: Where the data come from.
        on: The run on these data.
    """

    name: str
    on: RunOnData


def source_of(
    directory: Path,
    data: str | None,
    layers: LayerOptions,
    labels: LabelOptions | None = None,
    *,
    out_of_core: bool = False,
    offline: bool = False,
) -> Source:
    """Load a run, and the named data or else those that it was fitted to.

    Args:
        directory: The run's directory.
        data: The data; None for those of the fit.
        layers: Which layer holds the counts.
        labels: Which column holds known classes, which the data must then have; None where they
            do not matter.
        out_of_core: Whether to leave the counts of named data on disk.
        offline: Whether to download nothing.

    Raises:
        RunDirectoryError: No data are named, and those of the fit are unknown or have changed.
        SettingsError: Options that exclude each other.
        UnknownName: The data have no such layer or column.
    """
    from vae4counts.inference import Run, RunDirectoryError

    layer = layers.chosen_layer
    label = None if labels is None else labels.chosen_label
    run = Run.load(directory)
    name = source_name(run, directory, data)
    on_disk = run.settings.get("out_of_core", False) if data is None else out_of_core
    adata = load_like(run, name, layer, out_of_core=on_disk, offline=offline)
    on = run.on(adata, label=label, layer=layer)
    if data is None and not on.is_fitted:
        raise RunDirectoryError(
            f"{name} has changed since {directory} was fitted to it, and so has the part that was "
            "held out: to use all observations, name the data with --data"
        )
    if labels is not None:
        on.classes  # noqa: B018 (a column that is missing is found before any work)
    return Source(name, on)


def load_like(
    run: Run,
    name: str,
    layer: str | AsFitted | None,
    *,
    out_of_core: bool = False,
    offline: bool = False,
) -> AnnData:
    """Load data in the way that those of a fit were loaded: turned, chosen from, and rounded.

    Args:
        run: The run.
        name: The data.
        layer: The layer that holds the counts; `AS_FITTED` for that of the fit.
        out_of_core: Whether to leave the counts on disk.
        offline: Whether to download nothing.
    """
    from vae4counts.data import load, round_counts
    from vae4counts.inference.run.fitted_pair import AS_FITTED

    adata = load(
        name,
        transpose=run.settings.get("transpose"),
        feature_type=run.settings.get("feature_type"),
        modalities=further_modalities(name, run.model.tables),
        out_of_core=out_of_core,
        offline=offline or None,
    )
    if run.settings.get("round"):
        return round_counts(adata, run.layer if layer is AS_FITTED else layer)
    return adata


def source_name(run: Run, directory: Path, data: str | None) -> str:
    """Return where the data to look at come from.

    Raises:
        RunDirectoryError: No data are named, and those of the fit are unknown or no longer there.
    """
    from vae4counts.inference import RunDirectoryError

    name = data if data is not None else run.settings.get("data")
    if name is None:
        raise RunDirectoryError(
            f"{directory} does not say what it was fitted to: name the data with --data"
        )
    if data is None and Path(name).is_absolute() and not Path(name).exists():
        raise RunDirectoryError(
            f"{name}, which {directory} was fitted to, is no longer there: put it back, or name "
            "it where it is now with --data (not of 'figures')"
        )
    return str(name)


def _chosen(what: str, name: str | None, *, none: bool) -> str | AsFitted | None:
    from vae4counts.inference import SettingsError
    from vae4counts.inference.run.fitted_pair import AS_FITTED

    if none and name is not None:
        raise SettingsError(f"--{what} {name} and --no-{what} exclude each other: give one of them")
    return None if none else AS_FITTED if name is None else name
