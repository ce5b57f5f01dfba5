"""One form for every matrix that comes in: CSR, sorted, without duplicates or stored zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from vae4counts.data.errors import DataError


def canonical_csr(matrix: Any, name: str) -> sp.csr_matrix:
    """Copies a matrix into canonical CSR form.

    Args:
        matrix: Any SciPy sparse matrix or array, or a dense array, of shape ``(N, G)`` and
            any boolean, integer or floating-point type. It is left as it is.
        name: What the matrix is called in errors.

    Returns:
        A CSR matrix of shape ``(N, G)``: column indices sorted within each row, duplicate
        entries summed, stored zeros dropped.

    Raises:
        DataError: If ``matrix`` is not a numeric matrix, or is CSR with a column out of range.
    """
    if not sp.issparse(matrix):
        matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.dtype.kind not in "buif":
        raise DataError(
            f"{name} is not a matrix of numbers (observations x features), "
            f"but {matrix.ndim}-dimensional with values of type {matrix.dtype}."
        )
    if matrix.dtype == np.float16:  # SciPy has no sparse half precision
        matrix = matrix.astype(np.float32)
    csr = sp.csr_matrix(matrix, copy=True)
    _check_columns(csr, name)
    if not csr.has_canonical_format:
        # Summed in a wide type: two stored uint8 entries of 200 are 400, not 144.
        csr = csr.astype(np.promote_types(csr.dtype, np.int64))
        csr.sum_duplicates()
    csr.eliminate_zeros()
    return csr


def _check_columns(csr: sp.csr_matrix, name: str) -> None:
    """SciPy takes column indices as they are, and would read and write past its arrays."""
    if csr.nnz and (csr.indices.min() < 0 or csr.indices.max() >= csr.shape[1]):
        wrong = csr.indices[(csr.indices < 0) | (csr.indices >= csr.shape[1])][0]
        raise DataError(
            f"{name} is broken: it stores a value with the column index {wrong}, "
            f"but there are {csr.shape[1]} columns (from 0)."
        )
