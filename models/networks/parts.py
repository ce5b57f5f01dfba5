"""Non-negative parts of counts, at which topics start."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

# Observations from which parts are learnt well, and steps after which they hardly change.
MOST_OBSERVATIONS = 3000
STEPS = 50
# The share of the mean in each part: no feature is impossible in any of them.
SHARE_OF_MEAN = 0.3


def nonnegative_parts(counts: Tensor, n: int) -> Tensor:
    r"""Return parts whose mixtures are close to the observations.

    Non-negative matrix factorisation of counts by the Kullback-Leibler divergence (Lee & Seung
    2001), which finds the topics of probabilistic latent semantic analysis (Gaussier & Goutte
    2005): deterministic, and in seconds. Three tenths of each part are the
    mean of all observations.

    Args:
        counts: Observations in CSR, shape ``(N, G)``, of which the first 3,000 are used.
        n: Number of parts.

    Returns:
        Expected counts of observations of average total, shape ``(n, G)``, float64.
    """
    from sklearn.decomposition import NMF  # 70 MB that only topics need
    from sklearn.exceptions import ConvergenceWarning

    counts = counts.cpu()
    parts = (counts.values(), counts.col_indices(), counts.crow_indices())
    matrix = csr_matrix(tuple(part.numpy() for part in parts), shape=tuple(counts.shape))
    matrix = matrix[:MOST_OBSERVATIONS].astype(np.float64)
    mean = np.asarray(matrix.mean(0)).ravel()
    if not mean.any():
        return torch.zeros(n, counts.shape[1], dtype=torch.float64)
    factorisation = NMF(
        n,
        init="nndsvda" if n <= min(matrix.shape) else "random",
        beta_loss="kullback-leibler",
        solver="mu",
        max_iter=STEPS,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = factorisation.fit(matrix).components_
    shares = found / np.maximum(found.sum(1, keepdims=True), np.finfo(float).tiny)
    return torch.as_tensor((1 - SHARE_OF_MEAN) * mean.sum() * shares + SHARE_OF_MEAN * mean)
