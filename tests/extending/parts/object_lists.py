"""A reader: text with a line for each picture, ``name: object object ...``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
from anndata import AnnData

from vae4counts.data.errors import DataError


def read_object_lists(path: Path) -> AnnData:
    """Read how often each object is named in each line.

    Raises:
        DataError: A line has no name.
    """
    counts = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        name, colon, objects = line.partition(":")
        if not colon:
            raise DataError(f"{path}: line {number} has no name, as in 'name: object object'.")
        counts[name] = Counter(objects.split())
    table = pd.DataFrame(list(counts.values()), index=list(counts)).fillna(0)
    return AnnData(table.sort_index(axis="columns").astype("float32"))


def is_object_lists(path: Path) -> bool:
    """Whether the first line looks like that of such a file."""
    with path.open(encoding="utf-8") as file:
        return ":" in file.readline()
