"""Checks that a matrix holds raw counts: which entry does not, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from vae4counts.data.errors import DataError
from vae4counts.data.warning import warn


class UnusedFeatures(UserWarning):
    """Features without counts: odd in data to fit, but not in a part of them."""


# float32 represents every whole number up to this one.
LARGEST_EXACT = 2**24

_NOT_FINITE = "Counts are whole numbers, 0 or more: fill or drop such entries."
_NEGATIVE = "These look like scaled values, not raw counts."
_FRACTIONAL = "These look log-normalised or otherwise scaled, not raw counts."

_EXPECTED = (
    "These look like expected counts of RSEM, salmon or kallisto, which round_counts (--round on "
    "the command line) makes whole; or else log-normalised or otherwise scaled, not raw counts."
)

_APART = (
    "Only {} of {} features have such values here: what is measured, not counted, belongs into obs."
)
# Fractions in so few of the features are not of one scale for all.
_MAX_SHARE_APART = 0.2

_WORDS: dict[Constraint, str] = {
    constraints.nonnegative_integer: "whole numbers, 0 or more",
    constraints.boolean: "0 and 1",
    constraints.real: "finite numbers",
    constraints.unit_interval: "numbers from 0 to 1",
    constraints.nonnegative: "numbers, 0 or more",
    constraints.positive: "numbers above 0",
}

_FAULTS: tuple[tuple[str, Callable[[np.ndarray], np.ndarray], str], ...] = (
    ("a value that is not finite", lambda values: ~np.isfinite(values), _NOT_FINITE),
    ("a negative value", lambda values: values < 0, _NEGATIVE),
    ("a fractional value", lambda values: values != np.floor(values), _FRACTIONAL),
)


def check_counts(
    blocks: Iterable[sp.csr_matrix],
    shape: tuple[int, int],
    *,
    name: str = "The matrix",
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    layers: Iterable[str] | None = None,
    support: Constraint | None = None,
) -> np.ndarray:
    """Check that a matrix holds raw counts, and add up its rows. Looks at stored entries only.

    Args:
        blocks: The matrix, cut into canonical CSR matrices of some rows each.
        shape: Shape ``(N, G)`` of the whole.
        name: What messages call the matrix.
        rows: Names of the ``N`` observations, if they have any.
        columns: Names of the ``G`` features, if they have any.
        layers: Layers that could be named instead of this matrix; None where there is no such
            choice.
        support: Which counts the likelihood takes, if not all.

    Returns:
        The total count of each observation, shape ``(N,)``, float64.

    Raises:
        DataError: The matrix has no rows or no columns, or an entry is not finite, negative,
            fractional or outside the support. The message names the first such entry.

    Warns:
        UserWarning: Whole rows or columns are zero, or counts are too large for float32.
    """
    n_rows, n_columns = shape
    if n_rows == 0 or n_columns == 0:
        raise DataError(
            f"{name} is empty: it has {n_rows} observations (rows) "
            f"and {n_columns} features (columns)."
        )
    totals = np.zeros(n_rows)
    used = np.zeros(n_columns, dtype=np.int64)
    row, largest = 0, 0.0
    for block in blocks:
        if (fault := _first_fault(block, support)) is not None:
            kind, value, at_row, at_column, advice = fault
            place = f"{_at('row', row + at_row, rows)}, {_at('column', at_column, columns)}"
            raise DataError(
                f"{name} has {kind}, {value}, at {place}. {advice}{suggest_layer(layers)}"
            )
        # in float64, so that large rows are summed exactly
        totals[row : row + block.shape[0]] = block @ np.ones(n_columns)
        used += np.bincount(block.indices, minlength=n_columns)
        largest = max(largest, block.data.max(initial=0))
        row += block.shape[0]
    if empty := n_rows - np.count_nonzero(totals):
        warn(f"{name}: {empty} of {n_rows} observations have no counts at all.")
    if unused := n_columns - np.count_nonzero(used):
        warn(f"{name}: {unused} of {n_columns} features have no counts at all.", UnusedFeatures)
    if largest > LARGEST_EXACT:
        warn(
            f"{name} has counts up to {largest:.0f}; above {LARGEST_EXACT} they are rounded "
            "to the nearest number that float32 holds."
        )
    return totals


def accepted(support: Constraint) -> str:
    """Say in words which values a likelihood takes."""
    return _WORDS.get(support, str(support))


def outside(values: np.ndarray, support: Constraint) -> np.ndarray:
    """Tell which values a likelihood does not take."""
    return ~support.check(torch.from_numpy(values.astype(np.float64))).numpy()


def _first_fault(
    block: sp.csr_matrix, support: Constraint | None
) -> tuple[str, Any, int, int, str] | None:
    """Return the fault, value, row and column of the first entry that is no count, and advice."""
    for kind, is_faulty, advice in _FAULTS:
        faulty = is_faulty(block.data)
        if faulty.any():
            first = int(faulty.argmax())
            row = int(np.searchsorted(block.indptr, first, side="right")) - 1
            columns = np.unique(block.indices[faulty])
            if advice == _FRACTIONAL and len(columns) <= _MAX_SHARE_APART * block.shape[1]:
                advice = _APART.format(len(columns), block.shape[1])
            elif advice == _FRACTIONAL and _are_expected_counts(block):
                advice = _EXPECTED
            return kind, block.data[first], row, int(block.indices[first]), advice
    if support is not None and (faulty := outside(block.data, support)).any():
        first = int(faulty.argmax())
        row = int(np.searchsorted(block.indptr, first, side="right")) - 1
        advice = f"Its likelihood takes {accepted(support)}."
        return "a count too high", block.data[first], row, int(block.indices[first]), advice
    return None


def _are_expected_counts(block: sp.csr_matrix) -> bool:
    """Tell expected counts from normalised ones, whose rows have one total or are logarithms."""
    totals = np.asarray(block.sum(axis=1)).ravel()
    totals = totals[totals > 0]
    have_one_total = len(totals) > 1 and np.ptp(totals) < 1e-3 * totals.mean()
    share_whole = np.mean(block.data == np.floor(block.data))
    return not have_one_total and bool(share_whole > 0.1 or block.data.max() > 100)


def _at(axis: str, position: int, names: Sequence[str] | None) -> str:
    return f"{axis} {position}" if names is None else f"{axis} {position} ({names[position]!r})"


def suggest_layer(layers: Iterable[str] | None) -> str:
    """Return a sentence on how to name another layer, and which there are; "" without a choice."""
    if layers is None:
        return ""
    listed = ", ".join(map(repr, layers)) or "none"
    return (
        " Name the layer that holds raw counts with layer=... (--layer on the command line); "
        f"other layers here: {listed}."
    )
