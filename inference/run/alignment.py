"""How data are matched with a run: features by name, classes by column."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data import (
    Counts,
    DataError,
    MultiData,
    UnknownName,
    classes_of,
    find_column,
    is_on_disk,
    read_tables,
)
from vae4counts.data.counts.columns import CovariateNames
from vae4counts.data.counts.layers import find_layer
from vae4counts.data.counts.validation import UnusedFeatures
from vae4counts.data.modalities.names import own_names
from vae4counts.data.warning import warn
from vae4counts.inference.run.fingerprint import fingerprint_like
from vae4counts.inference.run.fitted_pair import FittedPair

# As scvi-tools does, which takes new data that have 80 % of the genes of its reference.
MAX_MISSING_SHARE = 0.2


def labels_of(
    adata: AnnData | MultiData, label: str | None, ignored: Collection[str] = ()
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


def batches_of(adata: AnnData | MultiData, column: str) -> np.ndarray:
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


def align(
    adata: AnnData,
    features: Sequence[str],
    layer: str | None = None,
    *,
    what: str = "the data",
    absent: float = 0.0,
) -> AnnData:
    """Return the data with the model's features, in the model's order.

    Args:
        adata: The data.
        features: Names of the model's features.
        layer: The layer that holds the values; None for ``X``. Features that are missing are added
            there; other layers are then left out.
        what: What messages call the data.
        absent: The values of features that are missing: 0 for counts, NaN for others.

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
            f"{int(repeated.sum())} names of features are repeated in {what}, such as "
            f"{names[repeated.argmax()]!r}: they cannot be matched with the model's"
        )
    known = set(names)
    missing = [name for name in features if name not in known]
    if missing:
        adata = _with_missing(adata, missing, len(features), layer, what, absent)
        names = names.append(pd.Index(missing))
    elif list(names[names.isin(features)]) != list(features):
        warn(f"the features of {what} are not in the model's order: they are matched by name")
    return adata[:, names.get_indexer_for(features)]


def align_modalities(data: MultiData, run: FittedPair) -> MultiData:
    """Return modalities with the model's features, in the model's order.

    A modality that the data lack is one without observations.

    Raises and warns as `align` does.
    """
    mod, layers = {}, {}
    for table, features in run.table_features.items():
        layers[table] = data.layer_of.get(table)
        if table not in data.mod:
            nothing = sp.csr_matrix((0, len(features)), dtype=np.float32)
            mod[table] = AnnData(nothing, var=pd.DataFrame(index=features))
            continue
        adata = data[table]
        mod[table] = align(
            adata,
            own_names(features, table, adata.var_names.astype(str)),
            layers[table],
            what=f"modality {table!r}",
            absent=0.0 if run.model.supports[table].is_discrete else np.nan,
        )
    return MultiData(mod, data.obs, layers=layers, source=data.source)


def counts_like(
    data: AnnData | MultiData, run: FittedPair, layer: str | None, covariates: CovariateNames
) -> tuple[Counts, str]:
    """Return the tables of the model's features, in the model's order, and their fingerprint.

    Args:
        data: What `to_modalities` returns.
        run: The pair. Nothing is warned again about the data that it was fitted to.
        layer: The layer of an AnnData that holds the counts; None for ``X``.
        covariates: The columns of ``obs`` that are read, see `counts_of`.

    Raises and warns as `align` and `read_tables` do.
    """
    supports = run.model.supports
    if isinstance(data, MultiData):
        aligned: AnnData | MultiData = align_modalities(data, run)
    else:
        is_count = all(support.is_discrete for support in supports.values())
        aligned = align(data, run.features, layer, absent=0.0 if is_count else np.nan)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        counts = read_tables(aligned, supports, layer, covariates=covariates, lacking=True)
    known_by = fingerprint_like(run.fingerprint, data.obs_names, counts)
    if known_by != run.fingerprint:
        for warning in caught:
            if not issubclass(warning.category, UnusedFeatures):
                warn(warning.message, warning.category)
    return counts, known_by


def _with_missing(
    adata: AnnData, missing: list[str], wanted: int, layer: str | None, what: str, absent: float
) -> AnnData:
    """Add features that are missing, if they are few."""
    share = len(missing) / wanted
    said = (
        f"{len(missing)} of the model's {wanted} features ({share:.0%}) are missing from {what}, "
        f"such as {missing[0]!r}"
    )
    if is_on_disk(adata, layer):
        raise DataError(f"{said}, which are on disk: read them into memory to continue without")
    if share > MAX_MISSING_SHARE:
        raise DataError(f"{said}: name the features as in the data that the model was fitted to")
    values, columns = find_layer(adata, layer)
    is_count = absent == 0
    warn(f"{said}: they are taken to have no {'counts' if is_count else 'values'}")
    if values is None:
        raise DataError("X holds nothing: name the layer that holds the counts")
    values = values if columns is None else values[:, columns]
    if is_count:
        nothing = sp.csr_matrix((adata.n_obs, len(missing)))
        values = sp.hstack([sp.csr_matrix(values), nothing], format="csr")
    else:
        dense = values.toarray() if sp.issparse(values) else np.asarray(values)
        values = np.hstack([dense, np.full((adata.n_obs, len(missing)), absent, dtype=np.float32)])
    names = pd.DataFrame(index=[*map(str, adata.var_names), *missing])
    held = {"X": values} if layer is None else {"layers": {layer: values}}
    return AnnData(obs=adata.obs, var=names, **held)
