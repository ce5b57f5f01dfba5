"""Margins of a table: a row or column of totals, which is no observation and no feature."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data.warning import warn

_TOTAL = re.compile(
    r"all|((grand|row|col|column)[ _.-]?)?(total|sum)s?([ _.-]?(counts?|reads|umis?|abundance))?",
    re.IGNORECASE,
)


def without_totals(adata: AnnData, source: object) -> AnnData:
    """Return a table without rows and columns that are called totals and are the sum of the others.

    Warns:
        UserWarning: There are some; names them.
    """
    rows = _totals(adata.obs_names, adata.X)
    columns = _totals(adata.var_names, adata.X.T.tocsr())
    if not (rows.any() or columns.any()):
        return adata
    names = ", ".join(map(repr, [*adata.obs_names[rows], *adata.var_names[columns]]))
    warn(f"{source}: {names} left out: the sum of all others.")
    return adata[~rows, ~columns].copy()


def _totals(names: Iterable[str], matrix: sp.csr_matrix) -> np.ndarray:
    """Return which rows of a matrix are totals of the others, by their names and values."""
    whole = matrix.sum(axis=0, dtype=np.float64)
    found = np.zeros(matrix.shape[0], dtype=bool)
    for place, name in enumerate(names):
        if _TOTAL.fullmatch(name):
            row = matrix[[place]].sum(axis=0, dtype=np.float64)
            found[place] = row.any() and np.allclose(whole, 2 * row, rtol=1e-5)
    return found
