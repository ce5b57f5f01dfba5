"""AnnData's own files."""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata

from vae4counts.data.annotated import compact_csr, unique_names
from vae4counts.data.errors import reading


def read_h5ad(path: str | Path) -> anndata.AnnData:
    """Reads an ``.h5ad`` file.

    Args:
        path: The file. ``X`` need not be raw counts if a layer holds them: which one is meant
            is said, and checked, where batches are made.

    Returns:
        All that the file holds, with ``X`` (where there is one) as CSR, int32 or float32, and
        names made unique.

    Raises:
        DataError: If the file is not a readable ``.h5ad`` file.
    """
    path = Path(path)
    with reading(path, "an .h5ad file"), warnings.catch_warnings():
        # About files of older versions, and about repeated names, which are mended below.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        warnings.filterwarnings("ignore", message=".*names are not unique", category=UserWarning)
        adata = anndata.read_h5ad(path)
        adata.obs_names = unique_names(adata.obs_names)
        adata.var_names = unique_names(adata.var_names)
        if adata.X is not None:
            adata.X = compact_csr(adata.X)
    return adata
