"""Counts made with a fixed seed: sparse, overdispersed, with groups of observations."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from anndata import AnnData


def made_counts(n_obs: int, n_features: int, density: float, seed: int = 0) -> AnnData:
    """Draws Poisson counts from gamma rates, thinned to a density.

    Args:
        n_obs: Number of observations, in ten groups with features of their own.
        n_features: Number of features.
        density: Expected share of non-zeros.
        seed: Seed.

    Returns:
        An AnnData with float32 counts in CSR.
    """
    random = np.random.default_rng(seed)
    popularity = random.lognormal(sigma=1.5, size=n_features)
    profiles = popularity * random.gamma(1.0, 1.0, size=(10, n_features))
    profiles /= profiles.mean(1, keepdims=True)
    # the scale at which the expected share of non-zeros is the one asked for, by bisection
    low, high = 1e-4, 1e3
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (
            (middle, high) if (1 - np.exp(-middle * profiles)).mean() < density else (low, middle)
        )
    rows = []
    for start in range(0, n_obs, 500):
        size = min(500, n_obs - start)
        depth = low * random.lognormal(sigma=0.4, size=(size, 1))
        rates = depth * profiles[random.integers(0, 10, size)]
        rows.append(sp.csr_matrix(random.poisson(rates).astype(np.float32)))
    return AnnData(sp.vstack(rows, format="csr"))
