"""Scores of how much each feature tells about differences between observations.

What is slow to import is imported where it is used, so that the command line can list the methods
without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import xlog1py, xlogy

from vae4counts.data.errors import DataError
from vae4counts.data.optional import optional_package

if TYPE_CHECKING:
    from anndata import AnnData

    from vae4counts.data.counts.file import CountFile
    from vae4counts.data.counts.matrix import CountMatrix

# Observations that are read at a time.
CHUNK_SIZE = 4096


def deviance(counts: CountMatrix | CountFile) -> np.ndarray:
    r"""Return the binomial deviance of each feature from a constant share of the library.

    .. math:: D_j = 2 \sum_i \left[ x_{ij} \log\frac{x_{ij}}{n_i \pi_j}
              + (n_i - x_{ij}) \log\frac{n_i - x_{ij}}{n_i (1 - \pi_j)} \right],
              \qquad \pi_j = \sum_i x_{ij} / \sum_i n_i.

    Takes one pass, and time in proportion to the number of non-zeros.

    Returns:
        Shape ``(G,)``, in nats; 0 for a feature without counts.
    """
    size, everything = counts.n_features, 0.0
    # Sums over the non-zeros of each feature: of x, and of the terms without pi.
    present, terms = np.zeros((2, size))
    for batch in counts.batches(CHUNK_SIZE):
        x = batch.counts.values().double().cpu().numpy()
        columns = batch.counts.col_indices().cpu().numpy()
        library = batch.library.double().cpu().numpy()
        n = np.repeat(library, np.diff(batch.counts.crow_indices().cpu().numpy()))
        rest = n - x
        present += np.bincount(columns, x, size)
        terms += np.bincount(columns, xlogy(x, x / n) + xlogy(rest, rest / n), size)
        everything += library.sum()
    share = present / max(everything, 1.0)
    # the terms with pi, which zeros have too, are summed without visiting the zeros
    return 2 * (terms - xlogy(present, share) - xlog1py(everything - present, -share))


def _by_deviance(adata: AnnData, layer: str | None) -> np.ndarray:
    from vae4counts.data.counts.file import counts_of

    return deviance(counts_of(adata, layer))


def _by_seurat_v3(adata: AnnData, layer: str | None) -> np.ndarray:
    """Return scanpy's standardised variance after a LOESS fit to the mean."""
    from vae4counts.data.counts.layers import find_layer
    from vae4counts.data.counts.matrix import CountMatrix
    from vae4counts.data.counts.stored_matrix import is_on_disk

    if is_on_disk(adata, layer):
        raise DataError("seurat-v3 needs the counts in memory: choose features by deviance.")
    with optional_package("scanpy", "seurat-v3", "choose features by deviance"):
        import scanpy
    with optional_package("scikit-misc", "seurat-v3", "choose features by deviance"):
        import skmisc.loess  # noqa: F401 (which scanpy calls)
    CountMatrix.from_anndata(adata, layer)  # for its checks
    if layer is not None and layer not in adata.layers:  # scanpy's layers do not include raw
        matrix, columns = find_layer(adata, layer)
        adata = adata.copy()
        adata.layers[layer] = matrix if columns is None else matrix[:, columns]
    try:
        found = scanpy.pp.highly_variable_genes(
            adata, layer=layer, n_top_genes=adata.n_vars, flavor="seurat_v3", inplace=False
        )
    except ValueError as error:
        raise DataError(
            f"seurat-v3 cannot be fitted to these counts ({error}): choose features by deviance."
        ) from error
    return found["variances_norm"].to_numpy()


FEATURE_SCORES: dict[str, Callable[[AnnData, str | None], np.ndarray]] = {
    "deviance": _by_deviance,
    "seurat-v3": _by_seurat_v3,
}
