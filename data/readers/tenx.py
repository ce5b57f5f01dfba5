"""Matrix Market files, and the folders and files that 10x Genomics' Cell Ranger writes."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import scipy.io
from anndata import AnnData

from vae4counts.data.errors import DataError, reading
from vae4counts.data.readers.annotated import annotated
from vae4counts.data.readers.tables import reading_text
from vae4counts.data.readers.text import check_unpacks, open_bytes
from vae4counts.data.readers.untrusted import check_hdf5


def read_10x(folder: str | Path) -> AnnData:
    """Reads a folder written by Cell Ranger, of any version, compressed or not.

    Args:
        folder: Holds ``matrix.mtx`` (features x cells), ``genes.tsv`` or ``features.tsv``, and
            ``barcodes.tsv``; each may end in ``.gz``.

    Returns:
        Cells x features of every type. ``var`` is indexed by gene symbol and has the columns
        ``gene_ids`` and, from Cell Ranger 3 on, ``feature_types``.

    Raises:
        DataError: If a file is missing or broken, or their sizes do not agree.
    """
    folder = Path(folder)
    matrix_path = _find(folder, "matrix.mtx")
    features_path = _find(folder, "features.tsv", "genes.tsv")
    barcodes_path = _find(folder, "barcodes.tsv")
    matrix = _read_matrix(matrix_path)
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
    return annotated(matrix.T, pd.DataFrame(index=barcodes[0]), var)


def read_mtx(path: str | Path) -> AnnData:
    """Reads a Matrix Market file of observations x features.

    Args:
        path: ``.mtx`` or ``.mtx.gz``. A ``matrix.mtx`` that has its ``barcodes.tsv`` beside it
            is features x cells and is read by `read_10x`, with its names.

    Raises:
        DataError: If the file is broken.
    """
    path = Path(path)
    if path.name.startswith("matrix.mtx") and any(path.parent.glob("barcodes.tsv*")):
        return read_10x(path.parent)
    matrix = _read_matrix(path)
    n, g = matrix.shape
    return annotated(matrix, pd.DataFrame(index=range(n)), pd.DataFrame(index=range(g)))


def read_10x_h5(path: str | Path) -> AnnData:
    """Reads an ``.h5`` file written by Cell Ranger, of any version.

    Args:
        path: The file; of version 2 and before with one genome.

    Returns:
        Cells x features of every type, named as by `read_10x`.

    Raises:
        DataError: If the file is broken, or is no 10x file.
    """
    import scanpy  # slow to import, and needed here only

    path = Path(path)
    with reading(path, "a 10x .h5 file"), warnings.catch_warnings():
        # They are mended below.
        warnings.filterwarnings("ignore", message=".*names are not unique", category=UserWarning)
        check_hdf5(path)
        adata = scanpy.read_10x_h5(path, gex_only=False)
        return annotated(adata.X, adata.obs, adata.var)


def _find(folder: Path, *names: str) -> Path:
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.exists():
                return path
    raise DataError(f"{folder} is not a 10x folder: it has no {' or '.join(names)} (.gz or not).")


def _read_matrix(path: Path) -> Any:
    with reading(path, "a Matrix Market file"):
        check_unpacks(path)
        matrix = scipy.io.mmread(path)
    if matrix.dtype.kind == "c":
        raise DataError(f"{path} holds complex numbers, not counts.")
    return matrix


def _read_lines(path: Path) -> pd.DataFrame:
    with reading_text(path, "a tab-separated table"), open_bytes(path) as file:
        # A gene may be called "NA" or hold a quote; all of it is text.
        return pd.read_csv(
            file, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE
        )
