"""One form for every input matrix: CSR, sorted, without duplicates or stored zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from vae4counts.data.errors import DataError


def canonical_csr(matrix: Any, name: str) -> sp.csr_matrix:
    """Copy a matrix into canonical CSR form.

    Args:
        matrix: Any SciPy sparse matrix or array, or a dense array, of shape ``(N, G)`` and
            any boolean, integer or floating-point type. It is not changed.
        name: What errors call the matrix.

    Returns:
        A CSR matrix of shape ``(N, G)``: column indices sorted within each row, duplicate
        entries summed, stored zeros dropped.

    Raises:
        DataError: ``matrix`` is not a matrix of numbers, or its arrays are broken.
    """
    if not sp.issparse(matrix):
        matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.dtype.kind not in "buif":
        raise DataError(
            f"{name} is not a matrix of numbers (observations x features), "
            f"but {matrix.ndim}-dimensional with values of type {matrix.dtype}."
        )
    # SciPy has no sparse half precision, nor bytes in the other order, as some files have
    native = matrix.dtype.newbyteorder("=")
    matrix = matrix.astype(np.float32 if native == np.float16 else native, copy=False)
    if sp.issparse(matrix) and matrix.format in ("csr", "csc"):
        _check_arrays(matrix, name)
    csr = sp.csr_matrix(matrix, copy=True)
    if not csr.has_canonical_format:
        # summed in a wide type: two stored uint8 entries of 200 are 400, not 144.
        csr = csr.astype(np.promote_types(csr.dtype, np.int64))
        csr.sum_duplicates()
    csr.eliminate_zeros()
    return csr


def _check_arrays(matrix: Any, name: str) -> None:
    """Check the arrays of a compressed matrix: SciPy trusts them, and would write out of bounds."""
    axis, size = ("column", matrix.shape[1]) if matrix.format == "csr" else ("row", matrix.shape[0])
    stored = min(len(matrix.data), len(matrix.indices))
    starts = matrix.indptr
    if starts[0] != 0 or starts[-1] > stored or (np.diff(starts) < 0).any():
        raise DataError(
            f"{name} is broken: its indptr does not go from 0 up to {stored}, the number of its "
            "stored values."
        )
    indices = matrix.indices[: starts[-1]]
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        wrong = indices[(indices < 0) | (indices >= size)][0]
        raise DataError(
            f"{name} is broken: it stores a value with the {axis} index {wrong}, "
            f"but there are {size} {axis}s (from 0)."
        )
