"""Data sets that ship with our dependencies, and so need no network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data.errors import DataError
from vae4counts.data.optional import optional_package
from vae4counts.data.readers.as_anndata import as_anndata


def load_pbmc68k_reduced() -> AnnData:
    """Load the part of 10x Genomics' 68k PBMCs that scanpy ships.

    Returns:
        700 cells x 765 genes, raw counts. ``obs`` has scanpy's columns and, equal to
        ``bulk_labels``, ``celltype`` (10 types); ``obsm`` has scanpy's ``X_umap``.

    Raises:
        DataError: scanpy is not installed; or the counts cannot be recovered from the data that it
            ships.
    """
    with optional_package("scanpy", "The data set pbmc68k-reduced", "take digits"):
        import scanpy  # slow to import, and needed here only

    shipped = scanpy.datasets.pbmc68k_reduced()
    if "counts" in shipped.layers:  # from scanpy 1.12 on
        counts = shipped.layers["counts"]
    else:
        counts = recover_counts(shipped.raw.X)
    adata = as_anndata(counts, shipped.obs, shipped.var)
    adata.obs["celltype"] = adata.obs["bulk_labels"]
    adata.obsm["X_umap"] = shipped.obsm["X_umap"]
    return adata


def recover_counts(log_normalised: Any) -> sp.csr_matrix:
    """Undo log1p and a scaling of each row, given that each row had a count of one.

    Args:
        log_normalised: ``log(1 + s_i * count_ij)`` with an unknown ``s_i > 0`` for each row, a
            sparse matrix of shape ``(N, G)``.

    Returns:
        The counts, a CSR matrix of shape ``(N, G)``.

    Raises:
        DataError: The result is not close to whole numbers everywhere.
    """
    scaled = sp.csr_matrix(log_normalised, dtype=np.float64)
    scaled.eliminate_zeros()
    np.expm1(scaled.data, out=scaled.data)
    lengths = np.diff(scaled.indptr)
    # a row's smallest non-zero is its count of one; rows without entries are left out
    ones = np.minimum.reduceat(scaled.data, scaled.indptr[:-1][lengths > 0])
    values = scaled.data / np.repeat(ones, lengths[lengths > 0])
    counts = np.round(values)
    residual = float(np.abs(values - counts).max())
    # the shipped logarithms are rounded to three decimals, so that a count of 259 comes back
    # 0.11 off; a wrong scale would put some halfway between two counts
    if residual > 0.25:
        raise DataError(
            f"Raw counts cannot be recovered: a value is {residual:.2f} off a whole number."
        )
    return sp.csr_matrix((counts, scaled.indices, scaled.indptr), shape=scaled.shape)


def load_digits() -> AnnData:
    """Load scikit-learn's handwritten digits: the amount of ink, 0 to 16, in each of 64 pixels.

    Returns:
        1,797 images x 64 pixels named ``pixel_ROW_COLUMN``. ``obs`` has the categorical
        ``digit``, ``"0"`` to ``"9"``. Three pixels are always empty.
    """
    from sklearn import datasets  # slow to import, and needed here only

    bunch = datasets.load_digits()
    obs = pd.DataFrame({"digit": pd.Categorical(bunch.target.astype(str))})
    pixels = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    return as_anndata(bunch.data, obs, pd.DataFrame(index=pixels))
