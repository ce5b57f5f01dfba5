"""Counts in whatever form they are given: an AnnData, a table, an array, a file's path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data.errors import DataError
from vae4counts.data.loading import load

Data: TypeAlias = AnnData | pd.DataFrame | np.ndarray | sp.spmatrix | sp.sparray | str | Path
"""What `to_anndata` takes."""


def to_anndata(data: Data) -> AnnData:
    """Return data as an AnnData, whose features have names.

    Args:
        data: An AnnData, which is returned as it is; a data frame, array, tensor or SciPy matrix
            of observations x features; or what `load` takes: a path, or the name of a data set.

    Raises:
        DataError: It is none of these; or a feature has no name.
        UnknownName: There is no such data set.
    """
    adata = _converted(data)
    names = adata.var_names
    if (missing := names.isna()).any():
        raise DataError(f"Feature {int(missing.argmax())} has no name: set adata.var_names.")
    return adata


def _converted(data: Any) -> AnnData:
    if isinstance(data, AnnData):
        return data
    if isinstance(data, (str, Path)):
        return load(data)
    if isinstance(data, pd.DataFrame):
        return AnnData(data.to_numpy(), _named(data.index), _named(data.columns))
    if isinstance(getattr(data, "mod", None), Mapping):
        known = ", ".join(repr(name) for name in data.mod)
        raise DataError(f"This is a MuData: name one of its modalities, data[...]: {known}.")
    try:
        data = data.tocsr() if sp.issparse(data) else np.asarray(data)
    except ValueError as error:
        raise DataError(f"Rows of different lengths are no table of counts: {error}") from error
    if data.ndim != 2 or not np.issubdtype(data.dtype, np.number):
        raise DataError(
            f"Data of type {type(data).__name__}, shape {data.shape} and dtype {data.dtype} are no "
            "table of counts: give an AnnData, a data frame, an array of observations x features, "
            "or a path."
        )
    return AnnData(data)


def _named(names: pd.Index) -> pd.DataFrame:
    return pd.DataFrame(index=names.astype(object).map(str, na_action="ignore"))
