"""Selection of features: those that are not rare, or those that vary most."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from vae4counts.data.counts.feature_scores import CHUNK_SIZE, FEATURE_SCORES
from vae4counts.data.counts.file import counts_of
from vae4counts.data.counts.stored_matrix import is_on_disk
from vae4counts.data.errors import DataError, UnknownName
from vae4counts.data.modalities.multi_data import MultiData, is_multi
from vae4counts.data.modalities.places import modalities_of

if TYPE_CHECKING:
    from anndata import AnnData


def top_features(
    adata: AnnData | MultiData,
    n: int,
    layer: str | None = None,
    method: str = "deviance",
    *,
    modality: str | None = None,
) -> Any:
    """Keep the features that vary most between observations.

    Args:
        adata: Raw counts, or several modalities.
        n: Number of features to keep; data with no more features are returned unchanged.
        layer: The layer that holds the counts; None for ``X``.
        method: ``"deviance"``: the binomial deviance of Townes et al. (2019), from raw counts,
            without normalisation and without fitting a variance; ``"seurat-v3"``: the
            standardised variance of Stuart et al. (2019), by scanpy, in memory only.
        modality: The modality that they are of; None for the counts of an AnnData.

    Returns:
        A copy with the chosen features in their original order; a view if the counts are on
        disk. Of several modalities, a `MultiData` in which one is such a copy.

    Raises:
        DataError: The values are not raw counts, or the method cannot take them.
        UnknownName: There is no such layer or method.
        ValueError: ``n`` is below 1.
    """
    if n < 1:
        raise ValueError(f"the number of features to keep must be 1 or more, not {n}")
    if modality is not None or isinstance(adata, MultiData) or is_multi(adata):
        return _in(adata, modality, lambda each, own: top_features(each, n, own, method))
    if method not in FEATURE_SCORES:
        raise UnknownName("method of choosing features", method, FEATURE_SCORES)
    if n >= adata.n_vars:
        return adata
    best = np.argsort(-FEATURE_SCORES[method](adata, layer), kind="stable")[:n]
    return _keep(adata, layer, np.sort(best))


def frequent_features(
    adata: AnnData | MultiData, n: int, layer: str | None = None, *, modality: str | None = None
) -> Any:
    """Keep the features with a count above 0 in ``n`` observations or more.

    Args:
        adata: Raw counts, or several modalities.
        n: Smallest number of observations.
        layer: The layer that holds the counts; None for ``X``.
        modality: See `top_features`.

    Returns:
        A copy with the remaining features in their original order; a view if the counts are on
        disk. Of several modalities, see `top_features`.

    Raises:
        DataError: The values are not raw counts, or no feature remains.
    """
    if modality is not None or isinstance(adata, MultiData) or is_multi(adata):
        return _in(adata, modality, lambda each, own: frequent_features(each, n, own))
    seen = np.zeros(adata.n_vars, dtype=np.int64)
    for batch in counts_of(adata, layer).batches(CHUNK_SIZE):
        seen += np.bincount(batch.counts.col_indices().numpy(), minlength=adata.n_vars)
    if not (seen >= n).any():
        raise DataError(
            f"No feature has counts in {n} observations or more; the most frequent has them "
            f"in {seen.max(initial=0)}."
        )
    return _keep(adata, layer, np.flatnonzero(seen >= n))


def _in(
    data: Any, modality: str | None, choose: Callable[[AnnData, str | None], AnnData]
) -> MultiData:
    """Choose features of a modality."""
    found = modalities_of(data)
    if modality is None or modality not in found.mod:
        raise UnknownName("modality", modality or "", found.mod, "Name it with modality=...")
    return found.with_modality(modality, choose(found[modality], found.layer_of[modality]))


def _keep(adata: AnnData, layer: str | None, features: np.ndarray) -> AnnData:
    kept = adata[:, features]
    return kept if is_on_disk(adata, layer) else kept.copy()
