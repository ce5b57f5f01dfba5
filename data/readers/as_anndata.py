"""The form that every reader returns: an AnnData with CSR counts and unique names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data.counts.sparse import canonical_csr


def as_anndata(matrix: Any, obs: pd.DataFrame, var: pd.DataFrame) -> AnnData:
    """Combine a matrix with the tables of its rows and columns.

    Args:
        matrix: Sparse or dense, of shape ``(N, G)``.
        obs: Table of ``N`` rows; its index names the observations.
        var: Table of ``G`` rows; its index names the features.

    Returns:
        An AnnData whose ``X`` is CSR, int32 where all values are whole numbers and float32
        otherwise, and whose names are unique strings.
    """
    return AnnData(
        X=compact_csr(matrix),
        obs=obs.set_axis(unique_names(obs.index), axis="index"),
        var=var.set_axis(unique_names(var.index), axis="index"),
    )


def transposed(adata: AnnData) -> AnnData:
    """Return data with observations and features exchanged; ``X`` is CSR again."""
    turned = adata.T.copy()
    turned.X = None if adata.X is None else compact_csr(turned.X)
    turned.obs_names.name = turned.var_names.name = None
    return turned


def compact_csr(matrix: Any) -> sp.csr_matrix:
    """Copy a matrix as canonical CSR, int32 if that is exact and float32 otherwise."""
    csr = canonical_csr(matrix, "X")
    # infinities are whole numbers, but out of bounds; NaN is not even whole
    bounds = np.iinfo(np.int32)
    is_int32 = csr.nnz == 0 or bool(
        (csr.data == np.floor(csr.data)).all()
        and csr.data.min() >= bounds.min
        and csr.data.max() <= bounds.max
    )
    return csr.astype(np.int32 if is_int32 else np.float32)


def unique_names(names: Iterable[object]) -> pd.Index:
    """Convert names to strings, and add ``-1``, ``-2``, ... to repetitions of a name."""
    wanted = [str(name) for name in names]
    taken = set(wanted)
    seen: dict[str, int] = {}
    unique = []
    for name in wanted:
        number = seen.get(name, -1) + 1
        if number:
            while f"{name}-{number}" in taken:
                number += 1
            taken.add(f"{name}-{number}")
        seen[name] = number
        unique.append(f"{name}-{number}" if number else name)
    return pd.Index(unique)
