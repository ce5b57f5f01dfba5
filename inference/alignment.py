"""Other data's features, brought into a model's order by their names."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pandas as pd
from anndata import AnnData

from vae4counts.data import DataError


def align(adata: AnnData, features: Sequence[str]) -> AnnData:
    """The data with the model's features in the model's order.

    Raises:
        DataError: A feature of the model is missing.

    Warns:
        UserWarning: The features had to be put into another order.
    """
    if list(adata.var_names) == list(features):
        return adata
    missing = pd.Index(features).difference(adata.var_names)
    if len(missing):
        raise DataError(
            f"{len(missing)} of the model's {len(features)} features are missing from the data, "
            f"{missing[0]!r} for one: name the features as in the data that the model was fitted to"
        )
    aligned = adata[:, list(features)]
    if list(adata.var_names[adata.var_names.isin(features)]) != list(features):
        warnings.warn(
            "the features of the data are not in the model's order: they are taken by name",
            stacklevel=4,
        )
    return aligned
