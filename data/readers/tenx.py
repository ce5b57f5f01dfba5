"""The folders and HDF5 files of 10x Genomics' Cell Ranger, and what is stored like them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data.errors import DataError, reading
from vae4counts.data.readers.as_anndata import as_anndata
from vae4counts.data.readers.compression import bare_name
from vae4counts.data.readers.matrix_market import read_matrix
from vae4counts.data.readers.names_beside import CELLS, FEATURES, find_names, read_names
from vae4counts.data.readers.stores import describe_hdf5, is_genome
from vae4counts.data.readers.untrusted import check_hdf5


def read_10x(folder: str | Path) -> AnnData:
    """Read a folder written by Cell Ranger, of any version, compressed or not.

    Args:
        folder: Holds one ``.mtx`` file and the names of features and cells; see
            `read_named_matrix`.

    Returns:
        See `read_named_matrix`.

    Raises:
        DataError: A file is missing or broken, or their sizes do not agree.
    """
    folder = Path(folder)
    matrices = [path for path in folder.iterdir() if bare_name(path).endswith(".mtx")]
    wanted = (
        (len(matrices) == 1, "a matrix.mtx"),
        (any(find_names(matrix, FEATURES) for matrix in matrices), "features.tsv or genes.tsv"),
        (any(find_names(matrix, CELLS) for matrix in matrices), "barcodes.tsv"),
    )
    for is_there, name in wanted:
        if not is_there:
            raise DataError(f"{folder} is not a 10x folder: it has no {name} (.gz or not).")
    return read_named_matrix(matrices[0])


def has_names(matrix: Path) -> bool:
    """Tell whether names of features or cells are beside a Matrix Market file."""
    return any(find_names(matrix, axis) for axis in (FEATURES, CELLS))


def read_named_matrix(path: Path) -> AnnData:
    """Read a Matrix Market file with the names of features and cells that are beside it.

    Args:
        path: ``matrix.mtx``, or any ``.mtx`` file; of features x cells or cells x features, which
            the numbers of names tell. Where they are equal it is features x cells, as 10x Genomics
            writes it.

    Returns:
        Cells x features of every type. ``var`` is indexed by gene symbol and has the columns
        ``gene_ids`` and, if the file has them, ``feature_types``. Where the names of one axis are
        missing it is numbered from 0.

    Raises:
        DataError: A file is broken, or their sizes do not agree.
    """
    beside = {axis: find_names(path, axis) for axis in (FEATURES, CELLS)}
    found = {axis: names for axis, names in beside.items() if names is not None}
    tables = {axis: read_names(names) for axis, names in found.items()}
    matrix = read_matrix(path)
    for counts in (matrix.T, matrix):
        cells = _named(tables.get(CELLS), counts.shape[0])
        features = _named(tables.get(FEATURES), counts.shape[1])
        if cells is not None and features is not None:
            return as_anndata(counts, pd.DataFrame(index=cells[0]), _var(features))
    said = " and ".join(
        f"{names.name} names {len(tables[axis])} {axis}" for axis, names in found.items()
    )
    raise DataError(f"{path} holds {matrix.shape[0]} x {matrix.shape[1]} counts, but {said}.")


def _named(table: pd.DataFrame | None, size: int) -> pd.DataFrame | None:
    """Return names that fit an axis, without a header if there is one; None if they do not."""
    if table is None:
        return pd.DataFrame({0: range(size)})
    return {size: table, size + 1: table.iloc[1:]}.get(len(table))


def _var(table: pd.DataFrame) -> pd.DataFrame:
    columns = ["gene_ids", "symbol", "feature_types"][: table.shape[1]]
    var = table.iloc[:, :3].set_axis(columns, axis="columns")
    var.index = var.pop("symbol") if "symbol" in var else var["gene_ids"]
    return var


def read_10x_h5(path: str | Path) -> AnnData:
    """Read an ``.h5`` file written by Cell Ranger, of any version, or by what writes like it.

    Args:
        path: The file. Several genomes (of version 2 and before) must have the same cells.

    Returns:
        Cells x features of every type, named as by `read_named_matrix`.

    Raises:
        DataError: The file is broken, or is not a 10x file.
    """
    path = Path(path)
    with reading(path, "a 10x .h5 file"):
        check_hdf5(path)
        with h5py.File(path, "r") as file:
            # listed first: what is left of h5py's iterator after an error may block a thread
            parts = [name for name in list(file) if is_genome(file, name)]
            genomes = {name: _read_genome(file[name]) for name in parts}
        if not genomes:
            raise DataError(f"Cannot read {path} as a 10x .h5 file: {describe_hdf5(path)}.")
        matrices, cells, tables = zip(*genomes.values(), strict=True)
        if any(names != cells[0] for names in cells):
            raise DataError(
                f"{path} holds the genomes {', '.join(map(repr, parts))} with cells of their own: "
                f"write one of them with scanpy.read_10x_h5({str(path)!r}, genome={parts[0]!r})"
                ".write_h5ad('one.h5ad'), and name that file."
            )
        if len(parts) > 1:
            tables = tuple(var.assign(genome=name) for name, var in zip(parts, tables, strict=True))
        matrix = sp.hstack(matrices) if len(parts) > 1 else matrices[0]
        return as_anndata(matrix, pd.DataFrame(index=cells[0]), pd.concat(tables))


def _read_genome(group: Any) -> tuple[sp.csr_matrix, list[str], pd.DataFrame]:
    """Read counts, cells and features of one matrix, which is stored cell by cell."""
    shape = tuple(int(size) for size in group["shape"][:])[::-1]
    arrays = (group["data"][:], group["indices"][:], group["indptr"][:])
    counts = sp.csr_matrix(arrays, shape=shape)
    if "features" in group:
        table, keys = group["features"], {"gene_ids": "id", "feature_types": "feature_type"}
    else:
        table, keys = group, {"gene_ids": "genes"}
    columns = {name: table[key].asstr()[:] for name, key in keys.items() if key in table}
    symbols = next(key for key in ("name", "gene_names", "id", "genes") if key in table)
    var = pd.DataFrame(columns, index=table[symbols].asstr()[:])
    return counts, list(group["barcodes"].asstr()[:]), var
