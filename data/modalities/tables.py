"""From modalities to tables of values that their likelihoods take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from anndata import AnnData
from torch import Tensor

from vae4counts.data.counts.batch import COUNTS
from vae4counts.data.counts.columns import CovariateNames, covariate_tensors
from vae4counts.data.counts.file import counts_of
from vae4counts.data.counts.layers import find_layer, matrix_name
from vae4counts.data.counts.matrix import CountMatrix
from vae4counts.data.counts.stored_matrix import is_on_disk
from vae4counts.data.counts.tables import Counts, Member, Tables
from vae4counts.data.counts.validation import UnusedFeatures, accepted, outside
from vae4counts.data.counts.values import ValueMatrix
from vae4counts.data.errors import DataError
from vae4counts.data.modalities.multi_data import MultiData
from vae4counts.data.modalities.places import modalities_of
from vae4counts.data.warning import warn

if TYPE_CHECKING:
    from torch.distributions.constraints import Constraint


def read_tables(
    data: AnnData | MultiData | Any,
    supports: Mapping[str, Constraint],
    layer: str | None = None,
    modalities: Mapping[str, str] | None = None,
    covariates: CovariateNames = (),
    *,
    lacking: bool = False,
) -> Counts:
    """Read the tables of a model from data, and check that its likelihoods take their values.

    Args:
        data: An AnnData, a MuData, or what `modalities_of` has found. Counts on disk stay there.
        supports: By the name of each table, in the model's order, which values its likelihood
            takes: whole numbers are read as counts, others as values of which some may be missing
            (NaN).
        layer: See `modalities_of`.
        modalities: See `modalities_of`.
        covariates: Columns of the table of all observations, see `covariate_tensors`.
        lacking: Whether modalities may have no observation.

    Returns:
        What `counts_of` returns for the counts of one AnnData, and else `Tables`.

    Raises:
        DataError: A value is not one that its likelihood takes (names the modality, the row and
            the column); a modality has no observations or no features; or an observation has no
            modality; and as `modalities_of`, `covariate_tensors`.
        UnknownName: As `modalities_of`, `covariate_tensors`.

    Warns:
        UserWarning: Observations or features have no values at all.
    """
    if isinstance(data, AnnData) and modalities is None and len(supports) == 1:
        ((name, support),) = supports.items()
        if name == COUNTS and support.is_discrete:
            return counts_of(data, layer, covariates, support=support)
        member = _member(data, layer, support, None)
        columns = covariate_tensors(data.obs, covariates)
        return _complete(Tables({name: member}, {name: None}, columns), data.obs_names)
    is_found = isinstance(data, MultiData) and modalities is None and list(data.mod) == [*supports]
    found = data if is_found else modalities_of(data, [*supports], modalities, layer)
    members: dict[str, Member] = {}
    positions: dict[str, Tensor | None] = {}
    for name, adata in found.mod.items():
        if lacking and not adata.n_obs:
            members[name] = empty_table(adata.n_vars, supports[name])
        else:
            members[name] = _member(
                adata, found.layer_of[name], supports[name], f"Modality {name!r}"
            )
        rows = found.rows(name)
        is_whole = np.array_equal(rows, np.arange(adata.n_obs))
        positions[name] = None if is_whole else torch.from_numpy(rows.astype(np.int64))
    return _complete(
        Tables(members, positions, covariate_tensors(found.obs, covariates)), found.obs_names
    )


def empty_table(n_features: int, support: Constraint) -> Member:
    """Return a table without observations."""
    if support.is_discrete:
        return CountMatrix.from_checked(sp.csr_matrix((0, n_features)), np.zeros(0))
    return ValueMatrix(torch.zeros(0, n_features))


def _member(adata: AnnData, layer: str | None, support: Constraint, name: str | None) -> Member:
    if support.is_discrete:
        return counts_of(adata, layer, name=name, support=support)
    return _values(adata, layer, support, name or matrix_name(layer))


def _values(adata: AnnData, layer: str | None, support: Constraint, name: str) -> ValueMatrix:
    """Read values that are not counts into memory."""
    adata = adata.to_memory() if is_on_disk(adata, layer) else adata
    matrix, columns = find_layer(adata, layer)
    if matrix is None:
        raise DataError(f"{name} holds nothing.")
    dense = matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)
    dense = dense if columns is None else dense[:, columns]
    if dense.dtype.kind not in "buif":
        raise DataError(f"{name} is not a matrix of numbers, but of type {dense.dtype}.")
    if not all(dense.shape):
        raise DataError(
            f"{name} is empty: it has {dense.shape[0]} observations (rows) "
            f"and {dense.shape[1]} features (columns)."
        )
    missing = np.isnan(dense)
    wrong = ~missing & (np.isinf(dense) | outside(dense, support))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(
            f"{name} has the value {dense[row, column]} at row {row} ({adata.obs_names[row]!r}), "
            f"column {column} ({adata.var_names[column]!r}): its likelihood takes "
            f"{accepted(support)}, and NaN for a missing value."
        )
    if unused := int(missing.all(0).sum()):
        warn(f"{name}: {unused} of {dense.shape[1]} features have no values.", UnusedFeatures)
    return ValueMatrix(torch.from_numpy(dense.astype(np.float32)))


def _complete(tables: Tables, names: pd.Index) -> Tables:
    """Make sure that every observation has a table."""
    has_one = torch.stack(list(tables.present.values())).any(0)
    if not has_one.all():
        row = int((~has_one).to(torch.int8).argmax())
        raise DataError(
            f"{int((~has_one).sum())} of {len(tables)} observations have no value in any modality, "
            f"such as {names[row]!r}: leave them out."
        )
    return tables
