"""Which data a command looks at: those that it names, or those that a run was fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vae4counts.inference.run.on_data import RunOnData
    from vae4counts.inference.run.run import Run

RunDirectory = Annotated[
    Path, typer.Argument(metavar="RUN", help="A directory that 'vae4counts fit' made.")
]
Label = Annotated[
    str | None,
    typer.Option(help="Column of obs with known classes; by default the one named in the fit."),
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Download nothing: data that are missing are an error.")
]


@dataclass(frozen=True)
class Source:
    """Data to look at through a run.

    Attributes:
        name: Where the data come from.
        on: The run on these data.
    """

    name: str
    on: RunOnData


def source_of(
    directory: Path,
    data: str | None,
    label: str | None = None,
    *,
    out_of_core: bool = False,
    offline: bool = False,
) -> Source:
    """Load a run, and the named data or else those that it was fitted to.

    Args:
        directory: The run's directory.
        data: The data; None for those of the fit.
        label: Column of ``obs`` with known classes; the run's own if None.
        out_of_core: Whether to leave the counts of named data on disk.
        offline: Whether to download nothing.

    Raises:
        RunDirectoryError: No data are named, and those of the fit are unknown or have changed.
    """
    from vae4counts.data import load
    from vae4counts.inference import Run, RunDirectoryError

    run = Run.load(directory)
    name = source_name(run, directory, data)
    on_disk = run.settings.get("out_of_core", False) if data is None else out_of_core
    on = run.on(load(name, out_of_core=on_disk, offline=offline or None), label=label)
    if data is None and not on.is_fitted:
        raise RunDirectoryError(
            f"{name} has changed since {directory} was fitted to it, and so has the part that was "
            "held out: to use all observations, name the data with --data"
        )
    return Source(name, on)


def source_name(run: Run, directory: Path, data: str | None) -> str:
    """Return where the data to look at come from.

    Raises:
        RunDirectoryError: No data are named, and those of the fit are unknown.
    """
    from vae4counts.inference import RunDirectoryError

    name = data if data is not None else run.settings.get("data")
    if name is None:
        raise RunDirectoryError(
            f"{directory} does not say what it was fitted to: name the data with --data"
        )
    return str(name)
