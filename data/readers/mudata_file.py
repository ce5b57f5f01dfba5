"""MuData's files, read without the package mudata."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import scipy.sparse as sp
from anndata import AnnData
from anndata.abc import CSRDataset
from anndata.io import read_elem

from vae4counts.data.errors import DataError, reading
from vae4counts.data.modalities.multi_data import MultiData
from vae4counts.data.readers.anndata_store import check_names, opened, without_warnings
from vae4counts.data.readers.as_anndata import compact_csr, unique_names
from vae4counts.data.readers.untrusted import check_hdf5


def read_mudata(path: str | Path) -> AnnData | MultiData:
    """Read an ``.h5mu`` file.

    Args:
        path: The file.

    Returns:
        The modalities, each an AnnData with unique names of features and with ``X``, if it is
        sparse, as CSR; a single one alone, as `read_store` returns it.

    Raises:
        DataError: It is broken, or its modalities share features instead of observations; or one
            names an observation twice.
    """
    path = Path(path)
    with _checked(path), h5py.File(path, "r") as file:
        return _assembled(path, file, _read)


def open_mudata(path: str | Path) -> AnnData | MultiData:
    """Open an ``.h5mu`` file, and leave its modalities on disk, if their ``X`` is CSR there.

    Args:
        path: The file; it stays open as long as the result exists, and is not written to.

    Returns and raises as `read_mudata` does.
    """
    path = Path(path)
    with _checked(path):
        return _assembled(path, h5py.File(path, "r"), _open)


def _assembled(path: Path, file: h5py.File, read: Callable[[Any], AnnData]) -> AnnData | MultiData:
    if file.attrs.get("axis", 0) == 1:
        raise DataError(f"The modalities of {path} share features, not observations (axis=1).")
    stored = file["mod"]
    order = [str(name) for name in stored.attrs.get("mod-order", ()) if name in stored]
    names = [*order, *(name for name in stored if name not in order)]
    mod = {name: read(stored[name]) for name in names}
    if len(names) == 1:
        return mod[names[0]]
    parts = {part: read_elem(file[part]) for part in ("obs", "obsm", "uns") if part in file}
    arrays = {name: array for name, array in parts.get("obsm", {}).items() if name not in names}
    try:
        return MultiData(mod, parts.get("obs"), obsm=arrays, uns=parts.get("uns"))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _read(stored: h5py.Group) -> AnnData:
    adata = read_elem(stored)
    adata.var_names = unique_names(adata.var_names)
    if sp.issparse(adata.X):
        adata.X = compact_csr(adata.X)
    return adata


def _open(stored: h5py.Group) -> AnnData:
    adata = opened(stored)
    return adata if isinstance(adata.X, CSRDataset) else _read(stored)


@contextmanager
def _checked(path: Path) -> Iterator[None]:
    with reading(path, "an .h5mu file"), without_warnings():
        check_hdf5(path)
        check_names(path)
        yield
