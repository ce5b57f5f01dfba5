"""AnnData's own HDF5 files and zarr folders, read into memory or left on disk."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anndata
import h5py
import zarr
from anndata.io import read_elem, sparse_dataset

from vae4counts.data.errors import DataError, reading
from vae4counts.data.readers.as_anndata import compact_csr, unique_names
from vae4counts.data.readers.untrusted import check_hdf5, check_zarr


def read_store(path: str | Path) -> anndata.AnnData:
    """Read an ``.h5ad`` file or a ``.zarr`` folder.

    Args:
        path: File or folder. ``X`` need not be raw counts if a layer holds them: the layer is
            named, and checked, where batches are made.

    Returns:
        All of its content, with ``X`` (if any) as CSR, int32 or float32, and with unique names.

    Raises:
        DataError: It is not a readable store of an AnnData.
    """
    path = Path(path)
    with _reading(path):
        adata = anndata.io.read_zarr(path) if path.is_dir() else anndata.read_h5ad(path)
        adata.obs_names = unique_names(adata.obs_names)
        adata.var_names = unique_names(adata.var_names)
        if adata.X is not None:
            adata.X = compact_csr(adata.X)
    return adata


def open_store(path: str | Path) -> anndata.AnnData:
    """Open an ``.h5ad`` file or a ``.zarr`` folder, and leave ``X`` and the layers on disk.

    Args:
        path: File or folder; it stays open as long as the result exists, and is not written to.

    Returns:
        An AnnData whose tables (``obs``, ``var``, ``obsm``, ``varm``, ``uns``) are in memory,
        with unique names.

    Raises:
        DataError: It is not a readable store of an AnnData.
    """
    path = Path(path)
    with _reading(path):
        store: Any = zarr.open_group(path, mode="r") if path.is_dir() else h5py.File(path, "r")
        tables = ("obs", "var", "obsm", "varm", "uns")
        parts = {name: read_elem(store[name]) for name in tables if name in store}
        for name in ("obs", "var"):
            parts[name].index = unique_names(parts[name].index)
        layers = {name: _on_disk(store["layers"][name]) for name in list(store.get("layers", ()))}
        return anndata.AnnData(
            _on_disk(store["X"]) if "X" in store else None, layers=layers, **parts
        )


def _on_disk(element: Any) -> Any:
    """Return a matrix without reading it."""
    is_group = isinstance(element, (h5py.Group, zarr.Group))
    return sparse_dataset(element) if is_group else element


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    form = "a .zarr folder" if path.is_dir() else "an .h5ad file"
    with reading(path, form), _without_warnings():
        (check_zarr if path.is_dir() else check_hdf5)(path)
        try:
            yield
        except DataError as error:
            raise DataError(f"{path}: {error}") from error


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Ignore warnings of files of older versions, and of repeated names, which are made unique."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        warnings.filterwarnings("ignore", message=".*names are not unique", category=UserWarning)
        yield
