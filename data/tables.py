"""Tables of counts as text: comma- or tab-separated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from vae4counts.data.annotated import annotated
from vae4counts.data.errors import DataError, reading


def read_table(path: str | Path) -> AnnData:
    """Reads a table with one row an observation, one column a feature, and a header.

    Args:
        path: ``.csv`` or ``.tsv``, ``.gz`` or not. The first column names the observations if
            it holds text or its header is empty; else they are numbered from 0.

    Raises:
        DataError: If the file is broken, is empty, or has text in a column other than the first.
    """
    path = Path(path)
    frame = read_frame(path)
    if frame.empty:
        raise DataError(f"{path} is empty: it has a header, but no rows.")
    # pandas calls a column without a header so; R leaves it out, and pandas makes it the index.
    first = frame.columns[0]
    is_named = first == "Unnamed: 0" or not pd.api.types.is_numeric_dtype(frame[first])
    if is_named and isinstance(frame.index, pd.RangeIndex):
        frame = frame.set_index(first)
    for column in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            is_text = pd.to_numeric(frame[column], errors="coerce").isna() & frame[column].notna()
            row = int(is_text.to_numpy().argmax())
            raise DataError(
                f"{path} has text, {frame[column].iloc[row]!r}, at row {row} "
                f"({str(frame.index[row])!r}), column {column!r}: "
                "only the first column may hold text, all others counts."
            )
    # One type for all columns: numbers and truth values side by side would become objects.
    counts = frame.to_numpy(dtype=np.float64)
    return annotated(counts, pd.DataFrame(index=frame.index), pd.DataFrame(index=frame.columns))


def read_frame(path: Path, n_rows: int | None = None) -> pd.DataFrame:
    """Reads the whole of a ``.csv`` or ``.tsv`` file, or its first rows.

    Raises:
        DataError: If the file is broken.
    """
    with reading(path, "a table"):
        separator = "\t" if path.name.endswith((".tsv", ".tsv.gz")) else ","
        return pd.read_csv(path, sep=separator, nrows=n_rows)
