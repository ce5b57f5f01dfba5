"""Counts in whatever form they are given: an AnnData, a table, an array, a file's path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data.errors import DataError
from vae4counts.data.loading import load
from vae4counts.data.modalities.multi_data import MultiData, is_multi
from vae4counts.data.modalities.places import modalities_of

Data: TypeAlias = (
    AnnData | MultiData | pd.DataFrame | np.ndarray | sp.spmatrix | sp.sparray | str | Path
)
"""What `to_anndata` and `to_modalities` take; a MuData may stand for a `MultiData`."""


def to_modalities(
    data: Data,
    tables: Sequence[str],
    modalities: Mapping[str, str] | None = None,
    layer: str | None = None,
    *,
    lacking: bool = False,
) -> AnnData | MultiData:
    """Return data in the form that a model of some tables reads.

    Args:
        data: A `MultiData` or MuData, or what `to_anndata` takes.
        tables: Names of the model's tables.
        modalities: See `modalities_of`.
        layer: See `modalities_of`.
        lacking: See `modalities_of`.

    Returns:
        An AnnData for a model of one table that is not said to be in a certain place; otherwise
        the modalities.

    Raises and warns as `to_anndata` and `modalities_of` do.
    """
    found: Any = load(data) if isinstance(data, (str, Path)) else data
    if not is_multi(found):
        found = to_anndata(found)
        if modalities is None and len(tables) == 1:
            return found
    multi = modalities_of(found, tables, modalities, layer, lacking=lacking)
    for adata in multi.mod.values():
        _check_features(adata)
    return multi


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
    _check_features(adata)
    return adata


def _check_features(adata: AnnData) -> None:
    if (missing := adata.var_names.isna()).any():
        raise DataError(f"Feature {int(missing.argmax())} has no name: set adata.var_names.")


def _converted(data: Any) -> AnnData:
    if isinstance(data, (str, Path)):
        data = load(data)
    if isinstance(data, AnnData):
        return data
    if isinstance(data, pd.DataFrame):
        return AnnData(data.to_numpy(), _named(data.index), _named(data.columns))
    if is_multi(data):
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
