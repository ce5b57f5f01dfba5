"""Columns of ``obs``: found by name, converted to tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vae4counts.data.errors import DataError, UnknownName

# What a missing value becomes when NumPy or pandas turns it into text.
_MISSING = ("", "nan", "NaN", "<NA>", "NaT")

CovariateNames = Iterable[str] | Mapping[str, Sequence[str] | None]
"""Names of columns, or the levels of each: see `covariate_tensors`."""


def find_column(obs: pd.DataFrame, name: str) -> pd.Series:
    """Return a column of ``obs``.

    Raises:
        UnknownName: There is no column of that name.
    """
    if name not in obs.columns:
        raise UnknownName("column", name, obs.columns)
    return obs[name]


def classes_of(column: pd.Series) -> pd.Series:
    """Return the class of each observation as text, missing (NaN) where none is known.

    Empty text is a missing value, and so is what ``astype(str)`` makes of one: "nan". Whole numbers
    are written without a point: one missing value among them has made all of them floats.
    """
    values = column.astype(object)
    known = values.notna() & ~values.astype(str).str.strip().isin(_MISSING)
    return values.where(known).map(class_name, na_action="ignore")


def class_name(value: Any) -> str:
    """Return the text of a class: a whole number's without a point."""
    is_whole = isinstance(value, (float, np.floating)) and value.is_integer()
    return str(int(value)) if is_whole else str(value)


def covariate_tensors(obs: pd.DataFrame, covariates: CovariateNames) -> dict[str, Tensor]:
    """Convert columns of ``obs`` to tensors, by name.

    Args:
        obs: Table of ``N`` observations.
        covariates: A mapping from the name of each column to its levels in order, with None for a
            column of numbers. Or names alone: columns of numbers and of truth values are then
            taken for numbers, and others for classes with the levels that they have.

    Raises:
        DataError: See `column_tensor`.
        UnknownName: There is no such column.
    """
    columns = {name: find_column(obs, name) for name in covariates}
    if not isinstance(covariates, Mapping):
        is_number = pd.api.types.is_numeric_dtype
        covariates = {
            name: None if is_number(column) else levels_of(column)
            for name, column in columns.items()
        }
    return {name: column_tensor(columns[name], levels) for name, levels in covariates.items()}


def levels_of(column: pd.Series) -> list[str]:
    """Return the distinct classes of a column: numbers by their size, others in sorted order.

    (The category codes of a pandas column are never used, because anndata drops unused categories
    when it copies.)
    """
    levels = classes_of(column).dropna().unique()
    try:
        return sorted(levels, key=float)
    except ValueError:
        return sorted(levels)


def column_tensor(column: pd.Series, levels: Sequence[str] | None) -> Tensor:
    """Convert a column to a tensor of shape ``(N,)``.

    Args:
        column: ``N`` values.
        levels: The levels of a categorical column, in the order of their codes; values are
            compared with them as text (see `classes_of`), and the column may lack some of them.
            None for a column of numbers.

    Returns:
        Float32 values, or int64 codes: positions in ``levels``.

    Raises:
        DataError: A value is missing, is none of the levels or is not a finite number; names the
            first row, and lists the levels.
    """
    if levels is None:
        return _numbers(column)
    known = f" Known levels: {', '.join(map(repr, levels)) or 'none'}."
    words = classes_of(column)
    _check_present(column, words.isna().to_numpy(), known)
    codes = words.map({level: code for code, level in enumerate(levels)})
    unknown = codes.isna().to_numpy()
    if unknown.any():
        raise DataError(
            f"Column {column.name!r} has the unknown level {words.iloc[int(unknown.argmax())]!r} "
            f"at {_place(column, unknown)}.{known}"
        )
    return torch.tensor(codes.to_numpy(dtype=np.int64))


def _numbers(column: pd.Series) -> Tensor:
    _check_present(column, column.isna().to_numpy())
    numbers = pd.to_numeric(column.astype(object), errors="coerce").to_numpy(dtype=np.float32)
    faulty = ~np.isfinite(numbers)
    if faulty.any():
        raise DataError(
            f"Column {column.name!r} holds '{column.iloc[int(faulty.argmax())]}' at "
            f"{_place(column, faulty)}, which is not a finite number: if its values are classes, "
            "declare it as categorical."
        )
    return torch.tensor(numbers)


def _check_present(column: pd.Series, missing: np.ndarray, known: str = "") -> None:
    if missing.any():
        raise DataError(
            f"Column {column.name!r} has no value at {_place(column, missing)}: "
            f"fill it in or drop the observation.{known}"
        )


def _place(column: pd.Series, faulty: np.ndarray) -> str:
    row = int(faulty.argmax())
    return f"row {row} ({column.index[row]!r})"
