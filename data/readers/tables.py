"""Tables of counts as text, comma- or tab-separated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from vae4counts.data.errors import DataError
from vae4counts.data.readers.as_anndata import as_anndata
from vae4counts.data.readers.compression import open_bytes
from vae4counts.data.readers.utf8 import reading_text


def read_table(path: str | Path) -> AnnData:
    """Read a table with a header, a row for each observation and a column for each feature.

    Args:
        path: ``.csv`` or ``.tsv``, ``.gz`` or not. The first column names the observations if
            it holds text or its header is empty; otherwise they are numbered from 0.

    Raises:
        DataError: The file is broken or empty, has a missing value, or has text in a column
            other than the first.
    """
    path = Path(path)
    frame = read_frame(path)
    if frame.empty:
        raise DataError(f"{path} is empty: it has a header, but no rows.")
    # as they are in the file: pandas renames repeated and missing names
    names = _read_csv(path, header=None, nrows=1, dtype=str).iloc[0].fillna("").tolist()
    first = frame.iloc[:, 0]
    is_named = isinstance(frame.index, pd.RangeIndex) and (
        names[0] == "" or not pd.api.types.is_numeric_dtype(first)
    )
    if is_named:
        frame, names = frame.set_index(frame.columns[0]), names[1:]
    if isinstance(frame.index, pd.MultiIndex) or not names:
        n_fields = len(names) + frame.index.nlevels
        raise DataError(
            f"{path} has {n_fields} fields in a row but {len(names)} names of features in its "
            "header: fields must be separated by commas in .csv files, and by tabs in .tsv files."
        )
    # one type for all columns: numbers beside truth values would become objects
    counts = np.empty(frame.shape)
    for j, name in enumerate(names):
        column = frame.iloc[:, j]
        counts[:, j] = pd.to_numeric(column, errors="coerce")
        if np.isnan(counts[:, j]).any():
            row = int(np.isnan(counts[:, j]).argmax())
            value = column.iloc[row]
            fault = "nothing" if pd.isna(value) else f"text, {value!r},"
            raise DataError(
                f"{path} has {fault} at row {row} ({str(frame.index[row])!r}), column {name!r}: "
                "only the first column may hold text, all others counts, none of them missing."
            )
    return as_anndata(counts, pd.DataFrame(index=frame.index), pd.DataFrame(index=names))


def read_frame(path: Path, n_rows: int | None = None) -> pd.DataFrame:
    """Read a ``.csv`` or ``.tsv`` file, or its first rows.

    Raises:
        DataError: The file is broken.
    """
    return _read_csv(path, nrows=n_rows)


def _read_csv(path: Path, **options: Any) -> pd.DataFrame:
    with reading_text(path, "a table"):
        separator = "\t" if path.name.endswith((".tsv", ".tsv.gz")) else ","
        # an observation may be called "NA": only empty fields are missing
        with open_bytes(path) as file:
            return pd.read_csv(
                file, sep=separator, keep_default_na=False, na_values=[""], **options
            )
