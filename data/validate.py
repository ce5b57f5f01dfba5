"""Are these raw counts? If not, which entry says so, and what should be done."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import scipy.sparse as sp

from vae4counts.data.errors import DataError

# float32 holds every whole number up to here.
LARGEST_EXACT = 2**24

_NOT_FINITE = "Counts are whole numbers, 0 or more: fill or drop such entries."
_NEGATIVE = "These look like scaled values, not raw counts."
_FRACTIONAL = "These look log-normalised or otherwise scaled, not raw counts."

_FAULTS: tuple[tuple[str, Callable[[np.ndarray], np.ndarray], str], ...] = (
    ("a value that is not finite", lambda values: ~np.isfinite(values), _NOT_FINITE),
    ("a negative value", lambda values: values < 0, _NEGATIVE),
    ("a fractional value", lambda values: values != np.floor(values), _FRACTIONAL),
)


def check_counts(
    matrix: sp.csr_matrix,
    *,
    name: str = "The matrix",
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    layers: Iterable[str] | None = None,
) -> None:
    """Checks that a matrix holds raw counts. Looks at stored entries only.

    Args:
        matrix: Canonical CSR matrix of shape ``(N, G)``.
        name: What the matrix is called in messages.
        rows: Names of the ``N`` observations, if they have any.
        columns: Names of the ``G`` features, if they have any.
        layers: Layers that could be named instead of this matrix; ``None`` where there is
            no such choice.

    Raises:
        DataError: If the matrix has no rows or no columns, or an entry is not finite,
            negative or fractional. The message names the first such entry.

    Warns:
        UserWarning: If whole rows or columns are zero, or counts are too large for float32.
    """
    n_rows, n_columns = matrix.shape
    if n_rows == 0 or n_columns == 0:
        raise DataError(
            f"{name} is empty: it has {n_rows} observations (rows) "
            f"and {n_columns} features (columns)."
        )
    values = matrix.data
    for fault, is_faulty, advice in _FAULTS:
        faulty = is_faulty(values)
        if faulty.any():
            first = int(faulty.argmax())
            row = int(np.searchsorted(matrix.indptr, first, side="right")) - 1
            place = f"{_at('row', row, rows)}, {_at('column', matrix.indices[first], columns)}"
            raise DataError(
                f"{name} has {fault}, {values[first]}, at {place}. {advice}{suggest_layer(layers)}"
            )
    _warn_of_zeros(name, n_rows - np.count_nonzero(np.diff(matrix.indptr)), n_rows, "observations")
    used = np.bincount(matrix.indices, minlength=n_columns)
    _warn_of_zeros(name, n_columns - np.count_nonzero(used), n_columns, "features")
    if values.size and values.max() > LARGEST_EXACT:
        warnings.warn(
            f"{name} has counts up to {values.max():.0f}; above {LARGEST_EXACT} they are rounded "
            "to the nearest number that float32 holds.",
            stacklevel=3,
        )


def _at(axis: str, position: int, names: Sequence[str] | None) -> str:
    return f"{axis} {position}" if names is None else f"{axis} {position} ({names[position]!r})"


def suggest_layer(layers: Iterable[str] | None) -> str:
    """Says how to name another layer, and which there are; nothing where it is no choice."""
    if layers is None:
        return ""
    listed = ", ".join(map(repr, layers)) or "none"
    return (
        " Name the layer that holds raw counts with layer=... (--layer on the command line); "
        f"other layers here: {listed}."
    )


def _warn_of_zeros(name: str, n_zero: int, n_all: int, what: str) -> None:
    if n_zero:
        warnings.warn(f"{name}: {n_zero} of {n_all} {what} have no counts at all.", stacklevel=4)
