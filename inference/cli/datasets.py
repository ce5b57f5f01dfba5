"""``vae4counts datasets``."""

from __future__ import annotations

from rich.table import Table

from vae4counts.data import DATASETS
from vae4counts.inference.cli.shared import app, screen


@app.command("datasets")
def datasets_command() -> None:
    """List the data sets that are known by name."""
    table = Table("name", "observations x features", "what", "licence", title="Known data sets")
    for name, known in DATASETS.items():
        table.add_row(name, f"{known.shape[0]:,} x {known.shape[1]:,}", known.title, known.licence)
    screen.print(table)
