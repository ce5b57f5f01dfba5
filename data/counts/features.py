"""Which features to keep: those that are not rare, or those that say most."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import xlog1py, xlogy

from vae4counts.data.counts.file import Counts, counts_of
from vae4counts.data.counts.matrix import CountMatrix
from vae4counts.data.counts.stored import is_on_disk
from vae4counts.data.errors import DataError, UnknownName

if TYPE_CHECKING:
    from anndata import AnnData

# Observations that are looked at in one go.
MANY = 4096


def top_features(
    adata: AnnData, n: int, layer: str | None = None, method: str = "deviance"
) -> AnnData:
    """Keeps the features that vary most between observations.

    Args:
        adata: Raw counts.
        n: Number of features to keep; data with no more are returned as they are.
        layer: The layer that holds the counts; None for ``X``.
        method: ``"deviance"``: the binomial deviance of Townes et al. (2019), from raw counts,
            without a normalisation and without a fit of the variance; ``"seurat-v3"``: the
            standardised variance of Stuart et al. (2019), by scanpy, in memory only.

    Returns:
        A copy with the chosen features, in their old order; of counts on disk, a view.

    Raises:
        DataError: Values that are no counts, or counts that the method cannot take.
        UnknownName: No such layer or method.
        ValueError: ``n`` is below 1.
    """
    if n < 1:
        raise ValueError(f"the number of features to keep must be 1 or more, not {n}")
    if method not in FEATURE_SCORES:
        raise UnknownName("method of choosing features", method, FEATURE_SCORES)
    if n >= adata.n_vars:
        return adata
    best = np.argsort(-FEATURE_SCORES[method](adata, layer), kind="stable")[:n]
    return _keep(adata, layer, np.sort(best))


def frequent_features(adata: AnnData, n: int, layer: str | None = None) -> AnnData:
    """Keeps the features with a count above 0 in ``n`` observations or more.

    Args:
        adata: Raw counts.
        n: Least number of observations.
        layer: The layer that holds the counts; None for ``X``.

    Returns:
        A copy with the features that are left, in their old order; of counts on disk, a view.

    Raises:
        DataError: Values that are no counts, or no feature is left.
    """
    seen = np.zeros(adata.n_vars, dtype=np.int64)
    for batch in counts_of(adata, layer).batches(MANY):
        seen += np.bincount(batch.counts.col_indices().numpy(), minlength=adata.n_vars)
    if not (seen >= n).any():
        raise DataError(
            f"No feature has counts in {n} observations or more; the most frequent has them "
            f"in {seen.max(initial=0)}."
        )
    return _keep(adata, layer, np.flatnonzero(seen >= n))


def _keep(adata: AnnData, layer: str | None, features: np.ndarray) -> AnnData:
    kept = adata[:, features]
    return kept if is_on_disk(adata, layer) else kept.copy()


def deviance(counts: Counts) -> np.ndarray:
    r"""Binomial deviance of each feature from a constant share of the library.

    .. math:: D_j = 2 \sum_i \left[ x_{ij} \log\frac{x_{ij}}{n_i \pi_j}
              + (n_i - x_{ij}) \log\frac{n_i - x_{ij}}{n_i (1 - \pi_j)} \right],
              \qquad \pi_j = \sum_i x_{ij} / \sum_i n_i.

    Args:
        counts: The counts.

    Returns:
        Shape ``(G,)``, in nats, at the cost of the non-zeros, in one pass; 0 for a feature
        without counts.
    """
    size, everything = counts.n_features, 0.0
    # Sums over the non-zeros of each feature: of x, and of the terms without pi.
    present, terms = np.zeros((2, size))
    for batch in counts.batches(MANY):
        x = batch.counts.values().double().cpu().numpy()
        columns = batch.counts.col_indices().cpu().numpy()
        library = batch.library.double().cpu().numpy()
        n = np.repeat(library, np.diff(batch.counts.crow_indices().cpu().numpy()))
        rest = n - x
        present += np.bincount(columns, x, size)
        terms += np.bincount(columns, xlogy(x, x / n) + xlogy(rest, rest / n), size)
        everything += library.sum()
    share = present / max(everything, 1.0)
    # the terms with pi, which a zero has too, are summed without visiting it
    return 2 * (terms - xlogy(present, share) - xlog1py(everything - present, -share))


def _by_deviance(adata: AnnData, layer: str | None) -> np.ndarray:
    return deviance(counts_of(adata, layer))


def _by_seurat_v3(adata: AnnData, layer: str | None) -> np.ndarray:
    """Standardised variance after a LOESS fit to the mean, as scanpy has it."""
    import scanpy  # slow to import, and needed here only

    if is_on_disk(adata, layer):
        raise DataError("seurat-v3 needs the counts in memory: choose features by deviance.")
    CountMatrix.from_anndata(adata, layer)  # for its checks
    try:
        found = scanpy.pp.highly_variable_genes(
            adata, layer=layer, n_top_genes=adata.n_vars, flavor="seurat_v3", inplace=False
        )
    except ImportError as error:
        raise DataError(
            "seurat-v3 needs the package scikit-misc (pip install scikit-misc): "
            "install it, or choose features by deviance."
        ) from error
    except ValueError as error:
        raise DataError(
            f"seurat-v3 cannot be fitted to these counts ({error}): choose features by deviance."
        ) from error
    return found["variances_norm"].to_numpy()


FEATURE_SCORES: dict[str, Callable[[AnnData, str | None], np.ndarray]] = {
    "deviance": _by_deviance,
    "seurat-v3": _by_seurat_v3,
}
