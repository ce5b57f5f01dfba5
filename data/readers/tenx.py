"""The folders, archives and HDF5 files of 10x Genomics' Cell Ranger."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from anndata import AnnData

from vae4counts.data.errors import DataError, reading
from vae4counts.data.readers.archives import unpack
from vae4counts.data.readers.as_anndata import as_anndata
from vae4counts.data.readers.compression import open_bytes
from vae4counts.data.readers.matrix_market import read_matrix
from vae4counts.data.readers.untrusted import check_hdf5
from vae4counts.data.readers.utf8 import reading_text


def read_10x(folder: str | Path) -> AnnData:
    """Read a folder written by Cell Ranger, of any version, compressed or not.

    Args:
        folder: Holds ``matrix.mtx`` (features x cells), ``genes.tsv`` or ``features.tsv``, and
            ``barcodes.tsv``; each may end in ``.gz``.

    Returns:
        Cells x features of every type. ``var`` is indexed by gene symbol and has the columns
        ``gene_ids`` and, from Cell Ranger 3 on, ``feature_types``.

    Raises:
        DataError: A file is missing or broken, or their sizes do not agree.
    """
    folder = Path(folder)
    matrix_path = _find(folder, "matrix.mtx")
    features_path = _find(folder, "features.tsv", "genes.tsv")
    barcodes_path = _find(folder, "barcodes.tsv")
    matrix = read_matrix(matrix_path)
    features = _read_lines(features_path)
    barcodes = _read_lines(barcodes_path)
    if matrix.shape != (len(features), len(barcodes)):
        raise DataError(
            f"{matrix_path} holds {matrix.shape[0]} features x {matrix.shape[1]} cells, "
            f"but {features_path.name} names {len(features)} features "
            f"and {barcodes_path.name} {len(barcodes)} cells."
        )
    features = features.iloc[:, :3]
    names = ["gene_ids", "symbol", "feature_types"]
    var = features.set_axis(names[: features.shape[1]], axis="columns")
    var.index = var.pop("symbol") if "symbol" in var else var["gene_ids"]
    return as_anndata(matrix.T, pd.DataFrame(index=barcodes[0]), var)


def is_10x_matrix(path: Path) -> bool:
    """Tell whether a Matrix Market file is the matrix of a 10x folder: features x cells."""
    return path.name.startswith("matrix.mtx") and any(path.parent.glob("barcodes.tsv*"))


def read_10x_around(matrix: Path) -> AnnData:
    """Read the 10x folder that a matrix is in, so that it has names and the right orientation.

    Raises:
        DataError: See `read_10x`.
    """
    return read_10x(matrix.parent)


def read_10x_archive(path: Path) -> AnnData:
    """Read an archive that holds a 10x folder, at any depth.

    Raises:
        DataError: It holds no such folder, or several; or see `unpack` and `read_10x`.
    """
    with TemporaryDirectory() as place:
        unpacked = unpack(path, Path(place) / "unpacked")
        folders = {matrix.parent for matrix in unpacked.rglob("matrix.mtx*")}
        if len(folders) != 1:
            raise DataError(
                f"{path} holds {len(folders)} folders with a matrix.mtx, not one: unpack it and "
                "name the folder or file that you mean."
            )
        return read_10x(folders.pop())


def read_10x_h5(path: str | Path) -> AnnData:
    """Read an ``.h5`` file written by Cell Ranger, of any version.

    Args:
        path: The file; of version 2 and before with one genome.

    Returns:
        Cells x features of every type, named as by `read_10x`.

    Raises:
        DataError: The file is broken, or is not a 10x file.
    """
    import scanpy  # slow to import, and needed here only

    path = Path(path)
    with reading(path, "a 10x .h5 file"), warnings.catch_warnings():
        # names are made unique below
        warnings.filterwarnings("ignore", message=".*names are not unique", category=UserWarning)
        check_hdf5(path)
        adata = scanpy.read_10x_h5(path, gex_only=False)
        return as_anndata(adata.X, adata.obs, adata.var)


def _find(folder: Path, *names: str) -> Path:
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.exists():
                return path
    raise DataError(f"{folder} is not a 10x folder: it has no {' or '.join(names)} (.gz or not).")


def _read_lines(path: Path) -> pd.DataFrame:
    with reading_text(path, "a tab-separated table"), open_bytes(path) as file:
        # a gene may be called "NA" or contain a quote: all of it is text
        return pd.read_csv(
            file, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE
        )
