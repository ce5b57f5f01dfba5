"""AnnData's own HDF5 files and zarr folders, read into memory or left on disk."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import h5py
import pandas as pd
import zarr
from anndata.io import read_elem, sparse_dataset

from vae4counts.data.errors import DataError, reading
from vae4counts.data.readers.as_anndata import compact_csr, unique_names
from vae4counts.data.readers.untrusted import check_hdf5, check_zarr

_MATRICES = ("layers", "obsm", "varm", "obsp", "varp")


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
        return tidy(adata)


def tidy(adata: anndata.AnnData) -> anndata.AnnData:
    """Give an AnnData unique names, and ``X`` as compact CSR; in place."""
    adata.obs_names = unique_names(adata.obs_names)
    adata.var_names = unique_names(adata.var_names)
    if adata.raw is not None:
        adata.raw.var.index = unique_names(adata.raw.var_names)
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
        return opened(zarr.open_group(path, mode="r") if path.is_dir() else h5py.File(path, "r"))


def opened(store: Any) -> anndata.AnnData:
    """Return the AnnData in an HDF5 or zarr group, as `open_store` does; it must be checked."""
    tables = ("obs", "var", "obsm", "varm", "uns")
    parts = {name: read_elem(store[name]) for name in tables if name in store}
    for name in ("obs", "var"):
        parts[name].index = unique_names(parts[name].index)
    layers = {name: _on_disk(store["layers"][name]) for name in list(store.get("layers", ()))}
    adata = anndata.AnnData(_on_disk(store["X"]) if "X" in store else None, layers=layers, **parts)
    if "raw/X" in store:
        var = read_elem(store["raw/var"])
        var.index = unique_names(var.index)
        # AnnData's own Raw would be read whole by every view
        adata._raw = RawOnDisk(_on_disk(store["raw/X"]), var)
    return adata


@dataclass(eq=False)
class RawOnDisk:
    """What `AnnData.raw` is if it stays on disk; a view of the data has the same.

    Attributes:
        X: The matrix, of all observations.
        var: Table of its features.
    """

    X: Any
    var: pd.DataFrame

    @property
    def var_names(self) -> pd.Index:
        """Names of the features."""
        return self.var.index

    def __getitem__(self, _: Any) -> RawOnDisk:
        return self


def _on_disk(element: Any) -> Any:
    """Return a matrix without reading it."""
    is_group = isinstance(element, (h5py.Group, zarr.Group))
    return sparse_dataset(element) if is_group else element


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    form = "a .zarr folder" if path.is_dir() else "an .h5ad file"
    with reading(path, form), without_warnings():
        (check_zarr if path.is_dir() else check_hdf5)(path)
        check_names(path)
        try:
            yield
        except DataError as error:
            raise DataError(f"{path}: {error}") from error


def check_names(path: Path) -> None:
    """Raise a `DataError` if the name of a matrix has a slash: anndata writes it, but reads it not.

    In the store there is a group called like what is before the slash. It is no element of
    anndata's, but holds one.
    """
    is_folder = path.is_dir()  # of zarr, which has nothing to close
    opened: Any = (
        nullcontext(zarr.open_group(path, mode="r")) if is_folder else h5py.File(path, "r")
    )
    with opened as store:
        for part in (store, *(store["mod"][name] for name in store.get("mod", ()))):
            for slot in _MATRICES:
                _check_slot(path, slot, part.get(slot, {}))


def _check_slot(path: Path, slot: str, matrices: Any) -> None:
    for name in matrices:
        stored = matrices[name]
        is_group = isinstance(stored, (h5py.Group, zarr.Group)) and not _is_element(stored)
        for inner in stored if is_group else ():
            if _is_element(stored[inner]):
                raise DataError(
                    f"{path} has {slot}[{f'{name}/{inner}'!r}], which anndata cannot read because "
                    "of the slash: give it another name before the data are written."
                )


def _is_element(stored: Any) -> bool:
    """Tell whether anndata wrote this as one of its own."""
    return "encoding-type" in stored.attrs


@contextmanager
def without_warnings() -> Iterator[None]:
    """Ignore warnings of files of older versions, and of repeated names, which are made unique."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        warnings.filterwarnings("ignore", message=".*names are not unique", category=UserWarning)
        yield
