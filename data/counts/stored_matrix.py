"""Sparse matrices that stay on disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import scipy.sparse as sp
import zarr
from anndata.abc import CSCDataset, CSRDataset

from vae4counts.data.counts.layers import find_layer, matrix_name
from vae4counts.data.counts.sparse import canonical_csr
from vae4counts.data.errors import DataError, reading

# Consecutive rows that are read at a time.
BLOCK = 256


@dataclass(frozen=True, slots=True, eq=False)
class StoredMatrix:
    """A CSR matrix on disk, or some columns of it.

    Attributes:
        data: HDF5 or zarr array of the stored values, row by row.
        indices: HDF5 or zarr array of their columns.
        indptr: Where each row starts in the two, shape ``(M + 1,)``, int64, in memory.
        width: Number of columns on disk.
        columns: Positions of the wanted columns; None for all.
        name: What errors call the matrix.
    """

    data: Any
    indices: Any
    indptr: np.ndarray
    width: int
    columns: np.ndarray | None
    name: str

    @classmethod
    def of(cls, matrix: Any, columns: np.ndarray | None, name: str) -> StoredMatrix:
        """Wrap AnnData's view of a matrix on disk.

        Raises:
            DataError: The matrix is not stored by row, or its row starts are broken.
        """
        if not isinstance(matrix, CSRDataset):
            form = "by column (CSC)" if isinstance(matrix, CSCDataset) else "dense"
            raise DataError(
                f"{name} is stored {form}, but only CSR can be read from disk: "
                "load it into memory, or write it again with X=scipy.sparse.csr_matrix(X)."
            )
        group = matrix.group
        data, indices = group["data"], group["indices"]
        with _reading(data):
            indptr = np.asarray(group["indptr"][:], dtype=np.int64)
            sizes = {data.shape[0], indices.shape[0], int(indptr[-1])}
        if indptr[0] != 0 or (np.diff(indptr) < 0).any() or len(sizes) > 1:
            raise DataError(
                f"{name} is broken: its indptr does not go from 0 up to the number of its "
                "stored values."
            )
        return cls(data, indices, indptr, matrix.shape[1], columns, name)

    @property
    def n_features(self) -> int:
        """The number of wanted columns."""
        return self.width if self.columns is None else len(self.columns)

    def n_entries(self, rows: np.ndarray) -> int:
        """Return the number of values that are stored for some rows, in all columns."""
        return int((self.indptr[rows + 1] - self.indptr[rows]).sum())

    def read(self, rows: np.ndarray) -> sp.csr_matrix:
        """Read rows, a block of the file at a time.

        Args:
            rows: Their positions on disk, shape ``(B,)``, in any order.

        Returns:
            Canonical CSR, shape ``(B, n_features)``, in the order of ``rows``.

        Raises:
            DataError: The file is broken, or has a column index out of range.
        """
        if not len(rows):
            return sp.csr_matrix((0, self.n_features), dtype=np.float32)
        order = np.argsort(rows, kind="stable")
        with _reading(self.data):
            parts = [self._span(run) for run in _runs(rows[order])]
        csr = canonical_csr(sp.vstack(parts, format="csr"), self.name)[np.argsort(order)]
        return csr if self.columns is None else canonical_csr(csr[:, self.columns], self.name)

    def _span(self, rows: np.ndarray) -> sp.csr_matrix:
        """Read from the first of ascending rows to the last, and keep those rows."""
        first, last = rows[0], rows[-1]
        start, stop = self.indptr[first], self.indptr[last + 1]
        parts = (
            self.data[start:stop],
            self.indices[start:stop],
            self.indptr[first : last + 2] - start,
        )
        span = sp.csr_matrix((last + 1 - first, self.width), dtype=parts[0].dtype)
        span.data, span.indices, span.indptr = parts
        is_whole = np.array_equal(rows, np.arange(first, last + 1))
        return span if is_whole else span[rows - first]


def _runs(rows: np.ndarray) -> list[np.ndarray]:
    """Cut ascending rows where a block of the file ends."""
    return np.split(rows, np.flatnonzero(np.diff(rows // BLOCK)) + 1)


@contextmanager
def _reading(array: Any) -> Iterator[None]:
    if isinstance(array, h5py.Dataset):
        place = array.file.filename
    else:
        place = getattr(array, "store_path", None) or array.store.path  # zarr 3, 2
    with reading(Path(str(place)), "counts on disk"):
        yield


def is_on_disk(adata: anndata.AnnData, layer: str | None = None) -> bool:
    """Tell whether the counts of an AnnData, or of what it is a view of, are on disk.

    Raises:
        UnknownName: There is no such layer.
    """
    on_disk = (CSRDataset, CSCDataset, h5py.Dataset, zarr.Array)
    return isinstance(find_layer(_whole(adata), layer)[0], on_disk)


def find_stored(adata: anndata.AnnData, layer: str | None) -> tuple[StoredMatrix, np.ndarray]:
    """Find the counts of an AnnData on disk, and which rows of them are its observations.

    The rows and columns of a view are read from AnnData's private attributes, because accessing
    the matrix of a view would read all of it into memory.

    Raises:
        DataError: The counts cannot be read from disk.
        UnknownName: There is no such layer.
    """
    whole = _whole(adata)
    rows, columns = np.arange(whole.n_obs), np.arange(whole.n_vars)
    if adata.is_view:
        rows, columns = rows[adata._oidx], columns[adata._vidx]
    matrix, places = find_layer(whole, layer)
    columns = columns if places is None else places[columns]
    is_whole = np.array_equal(columns, np.arange(matrix.shape[1]))
    name = matrix_name(layer)
    return StoredMatrix.of(matrix, None if is_whole else columns, name), rows


def _whole(adata: anndata.AnnData) -> anndata.AnnData:
    return adata._adata_ref if adata.is_view else adata
