"""How data are matched with a run: features by name, classes by column, data by a fingerprint."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from vae4counts.data import Counts, DataError, UnknownName


def fingerprint(names: pd.Index, counts: Counts) -> str:
    """Return a digest of the observations' names and total counts, in order."""
    digest = hashlib.sha256("\n".join(map(str, names)).encode())
    digest.update(counts.library.cpu().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def labels_of(adata: AnnData, label: str | None) -> np.ndarray | None:
    """Return the known classes of the observations, as strings; None without a label.

    Raises:
        UnknownName: There is no such column; the message lists those that exist.
    """
    if label is None:
        return None
    if label not in adata.obs:
        raise UnknownName("label column", label, list(adata.obs.columns))
    return adata.obs[label].astype(str).to_numpy()


def align(adata: AnnData, features: Sequence[str]) -> AnnData:
    """Return the data with the model's features, in the model's order.

    Raises:
        DataError: A feature of the model is missing.

    Warns:
        UserWarning: The features are in another order.
    """
    if list(adata.var_names) == list(features):
        return adata
    missing = pd.Index(features).difference(adata.var_names)
    if len(missing):
        raise DataError(
            f"{len(missing)} of the model's {len(features)} features are missing from the data, "
            f"such as {missing[0]!r}: name the features as in the data that the model was fitted to"
        )
    aligned = adata[:, list(features)]
    if list(adata.var_names[adata.var_names.isin(features)]) != list(features):
        warnings.warn(
            "the features of the data are not in the model's order: they are matched by name",
            stacklevel=4,
        )
    return aligned
