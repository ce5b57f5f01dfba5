"""AnnData's own files and folders, read into memory or left on disk."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anndata
import h5py
import zarr
from anndata.io import read_elem, sparse_dataset

from vae4counts.data.errors import DataError, reading
from vae4counts.data.readers.annotated import annotated, compact_csr, unique_names
from vae4counts.data.readers.untrusted import check_hdf5, check_zarr


def read_store(path: str | Path) -> anndata.AnnData:
    """Reads an ``.h5ad`` file or a ``.zarr`` folder.

    Args:
        path: File or folder. ``X`` need not be raw counts if a layer holds them: which one is
            meant is said, and checked, where batches are made.

    Returns:
        All that it holds, with ``X`` (where there is one) as CSR, int32 or float32, and names
        made unique.

    Raises:
        DataError: If it is not a readable store of an AnnData.
    """
    path = Path(path)
    with _reading(path):
        adata = anndata.io.read_zarr(path) if path.is_dir() else anndata.read_h5ad(path)
        adata.obs_names = unique_names(adata.obs_names)
        adata.var_names = unique_names(adata.var_names)
        if adata.X is not None:
            adata.X = compact_csr(adata.X)
    return adata


def read_loom(path: str | Path) -> anndata.AnnData:
    """Reads a ``.loom`` file, by anndata and loompy.

    Args:
        path: The file; ``obs`` is indexed by ``CellID`` and ``var`` by ``Gene``, if it has them.

    Raises:
        DataError: If it is broken, or the package loompy is not there.
    """
    path = Path(path)
    if find_spec("loompy") is None:
        raise DataError(
            f"Reading {path} needs the package loompy (pip install loompy): "
            "install it, or write the data as .h5ad."
        )
    with reading(path, "a .loom file"), _calm():
        check_hdf5(path)
        adata = anndata.io.read_loom(path)
        return annotated(adata.X, adata.obs, adata.var)


def open_store(path: str | Path) -> anndata.AnnData:
    """Opens an ``.h5ad`` file or a ``.zarr`` folder and leaves ``X`` and the layers on disk.

    Args:
        path: File or folder; it stays open as long as the result lives, and is not written to.

    Returns:
        An AnnData whose tables (``obs``, ``var``, ``obsm``, ``varm``, ``uns``) are in memory,
        with names made unique.

    Raises:
        DataError: If it is not a readable store of an AnnData.
    """
    path = Path(path)
    with _reading(path):
        store: Any = zarr.open_group(path, mode="r") if path.is_dir() else h5py.File(path, "r")
        tables = ("obs", "var", "obsm", "varm", "uns")
        parts = {name: read_elem(store[name]) for name in tables if name in store}
        for name in ("obs", "var"):
            parts[name].index = unique_names(parts[name].index)
        layers = {name: _left(store["layers"][name]) for name in store.get("layers", ())}
        return anndata.AnnData(_left(store["X"]) if "X" in store else None, layers=layers, **parts)


def _left(element: Any) -> Any:
    """A matrix as it is on disk."""
    is_group = isinstance(element, (h5py.Group, zarr.Group))
    return sparse_dataset(element) if is_group else element


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    form = "a .zarr folder" if path.is_dir() else "an .h5ad file"
    with reading(path, form), _calm():
        (check_zarr if path.is_dir() else check_hdf5)(path)
        try:
            yield
        except DataError as error:
            raise DataError(f"{path}: {error}") from error


@contextmanager
def _calm() -> Iterator[None]:
    """Leaves out warnings of files of older versions, and of repeated names, which are mended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        warnings.filterwarnings("ignore", message=".*names are not unique", category=UserWarning)
        yield
