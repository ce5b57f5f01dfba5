"""``vae4counts datasets``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from vae4counts.inference.cli.application import app, screen

if TYPE_CHECKING:
    from vae4counts.data import DataSet


@app.command("datasets")
def datasets_command() -> None:
    """List the data sets that are known by name."""
    from vae4counts.data import DATASETS
    from vae4counts.data.datasets.download import data_directory

    table = Table(title="Known data sets", show_header=False, show_lines=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, known in DATASETS.items():
        n, g = known.shape
        table.add_row(
            Text(name, style="bold").append(f"\n{n:,} x {g:,}\n{_availability(known)}", "not bold"),
            f"{known.title}\n{known.source}\n{known.licence}",
        )
    screen.print(table)
    screen.print(f"Downloads are kept in {data_directory()}", soft_wrap=True)


def _availability(known: DataSet) -> str:
    """Whether a data set is on this machine, or how much there is to download."""
    if not known.files:
        return "installed"
    if known.is_here:
        return "downloaded"
    return "to download" if known.size is None else f"to download: {decimal(known.size)}"
