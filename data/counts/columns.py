"""Columns of ``obs``: found by name, turned into tensors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vae4counts.data.errors import DataError, UnknownName


def find_column(obs: pd.DataFrame, name: str) -> pd.Series:
    """Finds a column of ``obs``.

    Raises:
        UnknownName: If there is none of that name.
    """
    if name not in obs.columns:
        raise UnknownName("column", name, obs.columns)
    return obs[name]


def column_tensor(column: pd.Series) -> Tensor:
    """Turns a column into a tensor of shape ``(N,)``.

    Args:
        column: ``N`` values. Numbers (and truth values) become float32. Anything else is
            taken as categorical and becomes int64 codes into its categories, which for text
            are the sorted distinct values.

    Raises:
        DataError: If a value is missing; names the first row.
    """
    missing = column.isna().to_numpy()
    if missing.any():
        row = int(missing.argmax())
        raise DataError(
            f"Column {column.name!r} has no value at row {row} ({column.index[row]!r}): "
            "fill it in or drop the observation."
        )
    if pd.api.types.is_numeric_dtype(column):
        return torch.tensor(column.to_numpy(dtype=np.float32))
    return torch.tensor(column.astype("category").cat.codes.to_numpy(dtype=np.int64))
