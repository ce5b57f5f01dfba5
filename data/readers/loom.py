"""Loom files."""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata

from vae4counts.data.errors import reading
from vae4counts.data.optional import optional_package
from vae4counts.data.readers.as_anndata import as_anndata
from vae4counts.data.readers.untrusted import check_hdf5


def read_loom(path: str | Path) -> anndata.AnnData:
    """Read a ``.loom`` file, with anndata and loompy.

    Args:
        path: The file; ``obs`` is indexed by ``CellID`` and ``var`` by ``Gene``, if it has them.

    Raises:
        DataError: The file is broken, or the package loompy is not installed.
    """
    path = Path(path)
    with optional_package("loompy", f"Reading {path}", "write the data as .h5ad"):
        import loompy  # noqa: F401 (which anndata calls)
    with reading(path, "a .loom file"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        # names are made unique below
        warnings.filterwarnings("ignore", message=".*names are not unique", category=UserWarning)
        check_hdf5(path)
        adata = anndata.io.read_loom(path)
        return as_anndata(adata.X, adata.obs, adata.var)
