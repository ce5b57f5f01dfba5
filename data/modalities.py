"""Several tables of the same observations, side by side in one AnnData."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data.errors import DataError

_NAMED = 5  # how many names a report gives


def add_modality(adata: AnnData, name: str, other: AnnData) -> None:
    """Puts another table of the same observations beside the counts, joined by their names.

    Sets ``obsm[name]`` (of shape ``(N, F)``, sparse if ``other`` is), ``uns[name + "_features"]``
    (its ``F`` names) and ``obs["has_" + name]``. An observation that ``other`` lacks keeps its
    place: its row is NaN, or zero where the table is sparse.

    Args:
        adata: Takes the table.
        name: What to call it: ``"mirna"``.
        other: Observations x features, in any order.

    Raises:
        DataError: If no observation is in both.

    Warns:
        UserWarning: If some are in one of the two only; says how many, and names some.
    """
    positions = other.obs_names.get_indexer(adata.obs_names)
    has = positions >= 0
    if not has.any():
        raise DataError(
            f"None of the {len(has)} observations has {name}: they are called like "
            f"{adata.obs_names[0]!r}, and there like {other.obs_names[0]!r}."
        )
    report_unmatched(adata.obs_names[~has], len(has), f"no {name}")
    spare = ~other.obs_names.isin(adata.obs_names)
    report_unmatched(other.obs_names[spare], len(spare), f"{name} only and are left out")
    # An absent observation has the position -1: that of the row that is added at the end.
    if sp.issparse(other.X):
        empty = sp.csr_matrix((1, other.n_vars), dtype=other.X.dtype)
        adata.obsm[name] = sp.vstack([other.X, empty], format="csr")[positions]
    else:
        nothing = np.full((1, other.n_vars), np.nan, dtype=np.float32)
        adata.obsm[name] = np.vstack([other.X, nothing])[positions]
    adata.uns[f"{name}_features"] = other.var_names.to_numpy(dtype=str)
    adata.obs[f"has_{name}"] = has


def report_unmatched(names: Sequence[str], n_all: int, what: str) -> None:
    """Warns of observations without a match: how many they are, and the first of them."""
    if len(names):
        listed = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
        warnings.warn(f"{len(names)} of {n_all} observations have {what}: {listed}", stacklevel=3)
