"""Tables of counts as text: comma- or tab-separated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from vae4counts.data.errors import DataError, reading
from vae4counts.data.readers.annotated import annotated
from vae4counts.data.readers.text import open_bytes


def read_table(path: str | Path) -> AnnData:
    """Reads a table with one row an observation, one column a feature, and a header.

    Args:
        path: ``.csv`` or ``.tsv``, ``.gz`` or not. The first column names the observations if
            it holds text or its header is empty; else they are numbered from 0.

    Raises:
        DataError: If the file is broken, is empty, or has a gap, or text in a column other than
            the first.
    """
    path = Path(path)
    frame = read_frame(path)
    if frame.empty:
        raise DataError(f"{path} is empty: it has a header, but no rows.")
    # As they stand: pandas renames what is repeated or missing.
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
            f"{path} has {n_fields} fields a row but {len(names)} names of features in its header: "
            "is the separator another one (a comma in .csv, a tab in .tsv)?"
        )
    # One type for all columns: numbers and truth values side by side would become objects.
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
    return annotated(counts, pd.DataFrame(index=frame.index), pd.DataFrame(index=names))


def read_frame(path: Path, n_rows: int | None = None) -> pd.DataFrame:
    """Reads the whole of a ``.csv`` or ``.tsv`` file, or its first rows.

    Raises:
        DataError: If the file is broken.
    """
    return _read_csv(path, nrows=n_rows)


def _read_csv(path: Path, **options: Any) -> pd.DataFrame:
    with reading_text(path, "a table"):
        separator = "\t" if path.name.endswith((".tsv", ".tsv.gz")) else ","
        # An observation may be called "NA": nothing but nothing is missing.
        with open_bytes(path) as file:
            return pd.read_csv(
                file, sep=separator, keep_default_na=False, na_values=[""], **options
            )


@contextmanager
def reading_text(path: Path, form: str) -> Iterator[None]:
    """What `reading` does, but that bytes which are no UTF-8 are placed in the file.

    Args:
        path: The file that is read, ``.gz`` or not.
        form: See `reading`.
    """
    with reading(path, form):
        try:
            yield
        except UnicodeDecodeError as error:
            with open_bytes(path) as file:
                line = next(i for i, text in enumerate(file, 1) if not _is_utf8(text))
            raise DataError(
                f"Cannot read {path} as {form}: line {line} is not UTF-8 ({error.reason}); "
                "save the file as UTF-8."
            ) from error


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
