"""Tables of the same observations, joined by name in one AnnData."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data.errors import DataError
from vae4counts.data.warning import warn

_N_NAMES = 5  # names in a warning


def add_modality(adata: AnnData, name: str, other: AnnData) -> None:
    """Add another table of the same observations to an AnnData, joined by their names.

    Sets ``obsm[name]`` (of shape ``(N, F)``, sparse if ``other`` is), ``uns[name + "_features"]``
    (its ``F`` names) and ``obs["has_" + name]``. The row of an observation that ``other``
    lacks is NaN, or zero if the table is sparse.

    Args:
        adata: The AnnData, changed in place.
        name: Name of the table: ``"mirna"``.
        other: Observations x features, in any order.

    Raises:
        DataError: No observation is in both.

    Warns:
        UserWarning: Some observations are in only one of the two; says how many, and names some.
    """
    positions = other.obs_names.get_indexer(adata.obs_names)
    has = positions >= 0
    if not has.any():
        raise DataError(
            f"None of the {len(has)} observations has {name}: their names look like "
            f"{adata.obs_names[0]!r}, and those of {name} like {other.obs_names[0]!r}."
        )
    warn_of_unmatched(adata.obs_names[~has], len(has), f"no {name}")
    spare = ~other.obs_names.isin(adata.obs_names)
    warn_of_unmatched(other.obs_names[spare], len(spare), f"{name} only and are left out")
    # an absent observation has the position -1: that of the row added at the end
    if sp.issparse(other.X):
        empty = sp.csr_matrix((1, other.n_vars), dtype=other.X.dtype)
        adata.obsm[name] = sp.vstack([other.X, empty], format="csr")[positions]
    else:
        nothing = np.full((1, other.n_vars), np.nan, dtype=np.float32)
        adata.obsm[name] = np.vstack([other.X, nothing])[positions]
    adata.uns[f"{name}_features"] = other.var_names.to_numpy(dtype=str)
    adata.obs[f"has_{name}"] = has


def warn_of_unmatched(names: Sequence[str], n_all: int, what: str) -> None:
    """Warn of observations without a match, with their number and the first of their names."""
    if len(names):
        listed = ", ".join(names[:_N_NAMES]) + (", ..." if len(names) > _N_NAMES else "")
        warn(f"{len(names)} of {n_all} observations have {what}: {listed}")
