"""Which features say most: a choice of features by deviance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vae4counts.data.counts import CountMatrix

if TYPE_CHECKING:
    from anndata import AnnData


def top_features(adata: AnnData, n: int, layer: str | None = None) -> AnnData:
    """Keeps the features whose counts are farthest from a constant share of the library.

    The measure is the binomial deviance of Townes et al. (2019), from raw counts, without a
    normalisation and without a fit of the variance.

    Args:
        adata: Raw counts.
        n: Number of features to keep; data with no more are returned as they are.
        layer: The layer that holds the counts; None for ``X``.

    Returns:
        A copy with the chosen features, in their old order.

    Raises:
        DataError: Values that are no counts.
        ValueError: ``n`` is below 1.
    """
    if n < 1:
        raise ValueError(f"the number of features to keep must be 1 or more, not {n}")
    if n >= adata.n_vars:
        return adata
    kept = np.argsort(-deviance(CountMatrix.from_anndata(adata, layer=layer)), kind="stable")[:n]
    return adata[:, np.sort(kept)].copy()


def deviance(counts: CountMatrix) -> np.ndarray:
    r"""Binomial deviance of each feature from a constant share of the library.

    .. math:: D_j = 2 \sum_i \left[ x_{ij} \log\frac{x_{ij}}{n_i \pi_j}
              + (n_i - x_{ij}) \log\frac{n_i - x_{ij}}{n_i (1 - \pi_j)} \right],
              \qquad \pi_j = \sum_i x_{ij} / \sum_i n_i.

    Args:
        counts: The counts.

    Returns:
        Shape ``(G,)``, in nats, at the cost of the non-zeros; 0 for a feature without counts.
    """
    x = counts.values.double().cpu().numpy()
    columns = counts.indices.cpu().numpy()
    library = counts.library.double().cpu().numpy()
    n = np.repeat(library, np.diff(counts.indptr.cpu().numpy()))
    size = counts.n_features
    share = np.bincount(columns, x, size) / max(library.sum(), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = np.where(n > x, (n - x) * np.log((n - x) / (n * (1 - share[columns]))), 0.0)
        at_nonzeros = x * np.log(x / (n * share[columns])) + rest
        # a zero leaves n_i log(1 / (1 - share)), which is summed without visiting it
        at_zeros = -np.log1p(-share) * (library.sum() - np.bincount(columns, n, size))
    return 2 * (np.bincount(columns, at_nonzeros, size) + np.nan_to_num(at_zeros, nan=0.0))
