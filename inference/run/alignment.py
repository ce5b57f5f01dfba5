"""How data are matched with a run: features by name, classes by column, data by a fingerprint."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from anndata import AnnData

from vae4counts.data import (
    CountLoader,
    Counts,
    DataError,
    UnknownName,
    classes_of,
    counts_of,
    find_column,
    is_on_disk,
)
from vae4counts.data.counts.columns import CovariateNames
from vae4counts.data.counts.layers import find_layer
from vae4counts.data.counts.validation import UnusedFeatures
from vae4counts.data.readers.as_anndata import unique_names
from vae4counts.data.warning import warn

# As scvi-tools does, which takes new data that have 80 % of the genes of its reference.
MAX_MISSING_SHARE = 0.2
# What fingerprints begin with that tell counts apart, not only totals.
OF_COUNTS = "counts:"
# Read at once for a fingerprint, which does not depend on it.
FINGERPRINT_ROWS = 4096


def fingerprint(names: pd.Index, counts: Counts) -> str:
    """Return a digest of the observations' names and counts, in order.

    Of the counts ``x_j`` of an observation it has the total and ``sum_j w_j x_j``, with random
    whole numbers ``w``: exact, however the counts are stored and in which pieces they are read.
    """
    weights = np.random.default_rng(0).integers(2**20, size=counts.n_features)
    weight = torch.from_numpy(weights)
    digest = hashlib.sha256(by_totals(names, counts).encode())
    for batch in CountLoader(counts, batch_size=FINGERPRINT_ROWS, shuffle=False):
        table = batch.counts.cpu()
        lengths = table.crow_indices().diff()
        rows = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
        products = table.values().long() * weight[table.col_indices().long()]
        sums = torch.zeros(len(lengths), dtype=torch.int64).index_add_(0, rows, products)
        digest.update(sums.numpy().astype("<i8").tobytes())
    return f"{OF_COUNTS}{digest.hexdigest()}"


def fingerprint_like(fitted: str, names: pd.Index, counts: Counts) -> str:
    """Return the fingerprint to compare with a fit's: one of 0.1.0 has names and totals alone."""
    make = fingerprint if fitted.startswith(OF_COUNTS) else by_totals
    return make(names, counts)


def by_totals(names: pd.Index, counts: Counts) -> str:
    """Return a digest of the observations' names and total counts, in order."""
    # repeated names are made unique, as they are when a file is loaded; and names may hold half of
    # a pair of surrogates, as those of files do
    digest = hashlib.sha256("\n".join(unique_names(names)).encode(errors="surrogatepass"))
    digest.update(counts.library.cpu().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def labels_of(
    adata: AnnData, label: str | None, ignored: Collection[str] = ()
) -> np.ndarray | None:
    """Return the known classes of the observations as text, NaN for those that have none.

    Args:
        adata: The observations.
        label: The column of ``obs`` that holds the classes; without one there are none.
        ignored: Values that are no class, such as "unassigned".

    Raises:
        DataError: No observation has a class.
        UnknownName: There is no such column; the message lists those that exist.
    """
    if label is None:
        return None
    if label not in adata.obs:
        raise UnknownName("label column", label, list(adata.obs.columns))
    classes = classes_of(adata.obs[label])
    classes = classes.where(~classes.isin(ignored))
    if classes.isna().all():
        raise DataError(f"The label column {label!r} has no value: name another, or none.")
    return classes.to_numpy()


def batches_of(adata: AnnData, column: str) -> np.ndarray:
    """Return the batch of each observation, a value of a column of ``obs``, as text.

    Raises:
        DataError: An observation has none, or all have the same.
        UnknownName: There is no such column.
    """
    batches = classes_of(find_column(adata.obs, column))
    if (missing := batches.isna()).any():
        name = adata.obs_names[int(missing.argmax())]
        raise DataError(
            f"{int(missing.sum())} observations have no batch in column {column!r}, such as "
            f"{name!r}: fill it in or drop them."
        )
    if len(batches.unique()) == 1:
        raise DataError(f"All observations have one batch in column {column!r}: nothing can mix.")
    return batches.to_numpy()


def align(adata: AnnData, features: Sequence[str], layer: str | None = None) -> AnnData:
    """Return the data with the model's features, in the model's order.

    Args:
        adata: The data.
        features: Names of the model's features.
        layer: The layer that holds the counts; None for ``X``. Features that are missing get zeros
            there; other layers are then left out.

    Raises:
        DataError: Names that have to be matched are repeated, more than a few features of the
            model are missing, or any are missing from data on disk.
        UnknownName: There is no such layer to add features to.

    Warns:
        UserWarning: The features are in another order, or a few are missing.
    """
    names = adata.var_names.astype(str)  # whole numbers, say
    if list(names) == list(features):
        return adata
    if (repeated := names.duplicated() & names.isin(features)).any():
        raise DataError(
            f"{int(repeated.sum())} names of features are repeated in the data, such as "
            f"{names[repeated.argmax()]!r}: they cannot be matched with the model's"
        )
    known = set(names)
    missing = [name for name in features if name not in known]
    if missing:
        adata = _with_zeros(adata, missing, len(features), layer)
        names = names.append(pd.Index(missing))
    elif list(names[names.isin(features)]) != list(features):
        warn("the features of the data are not in the model's order: they are matched by name")
    return adata[:, names.get_indexer_for(features)]


def counts_like(
    adata: AnnData,
    features: Sequence[str],
    layer: str | None,
    covariates: CovariateNames,
    fitted: str,
) -> tuple[Counts, str]:
    """Return the counts of the model's features, in the model's order, and their fingerprint.

    Args:
        adata: See `align`.
        features: See `align`.
        layer: See `align`.
        covariates: The columns of ``obs`` that the pair reads, see `counts_of`.
        fitted: The fingerprint of the data that the pair was fitted to, about which nothing is
            warned again.

    Raises and warns as `align` and `counts_of` do.
    """
    aligned = align(adata, features, layer)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        counts = counts_of(aligned, layer=layer, covariates=covariates)
    known_by = fingerprint_like(fitted, adata.obs_names, counts)
    if known_by != fitted:
        for warning in caught:
            if not issubclass(warning.category, UnusedFeatures):
                warn(warning.message, warning.category)
    return counts, known_by


def _with_zeros(adata: AnnData, missing: list[str], wanted: int, layer: str | None) -> AnnData:
    """Add features without counts, if they are few."""
    share = len(missing) / wanted
    said = (
        f"{len(missing)} of the model's {wanted} features ({share:.0%}) are missing from the data, "
        f"such as {missing[0]!r}"
    )
    if is_on_disk(adata, layer):
        raise DataError(f"{said}, which are on disk: read them into memory to continue without")
    if share > MAX_MISSING_SHARE:
        raise DataError(f"{said}: name the features as in the data that the model was fitted to")
    counts, columns = find_layer(adata, layer)
    warn(f"{said}: they are taken to have no counts")
    if counts is None:
        raise DataError("X holds nothing: name the layer that holds the counts")
    counts = counts if columns is None else counts[:, columns]
    counts = sp.hstack(
        [sp.csr_matrix(counts), sp.csr_matrix((adata.n_obs, len(missing)))], format="csr"
    )
    names = pd.DataFrame(index=[*map(str, adata.var_names), *missing])
    held = {"X": counts} if layer is None else {"layers": {layer: counts}}
    return AnnData(obs=adata.obs, var=names, **held)
