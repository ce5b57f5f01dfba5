"""Matrix Market files: sparse matrices as text, without names."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import scipy.io
from anndata import AnnData

from vae4counts.data.errors import DataError, reading
from vae4counts.data.readers.as_anndata import as_anndata
from vae4counts.data.readers.compression import decompress, is_compressed


def read_matrix_market(path: str | Path) -> AnnData:
    """Read a Matrix Market file of observations x features, numbered from 0.

    Args:
        path: An ``.mtx`` file, compressed or not.

    Raises:
        DataError: The file is broken.
    """
    matrix = read_matrix(Path(path))
    n, g = matrix.shape
    return as_anndata(matrix, pd.DataFrame(index=range(n)), pd.DataFrame(index=range(g)))


def read_matrix(path: Path) -> Any:
    """Read the matrix of a Matrix Market file, as SciPy gives it.

    Raises:
        DataError: The file is broken, or its numbers are complex.
    """
    with reading(path, "a Matrix Market file"), TemporaryDirectory(prefix="vae4counts-") as place:
        # SciPy goes by the suffix, and its reader in C++ crashes on a stream that fails
        is_plain = path.name.endswith(".mtx") and not is_compressed(path)
        plain = path if is_plain else decompress(path, Path(place) / "plain")
        matrix = scipy.io.mmread(plain, spmatrix=False)
    if matrix.dtype.kind == "c":
        raise DataError(f"{path} holds complex numbers, not counts.")
    return matrix
