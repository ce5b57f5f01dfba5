"""Counts made with a fixed seed: sparse, overdispersed, with groups of observations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
from anndata import AnnData


def made_counts(n_obs: int, n_features: int, density: float, seed: int = 0) -> AnnData:
    """Draw Poisson counts from gamma rates, thinned to a density.

    Args:
        n_obs: Number of observations, in ten groups with features of their own.
        n_features: Number of features.
        density: Expected share of non-zeros.
        seed: Seed.

    Returns:
        An AnnData with float32 counts in CSR.
    """
    random = np.random.default_rng(seed)
    rates = _rates(n_features, density, random)
    rows = []
    for start in range(0, n_obs, 500):
        size = min(500, n_obs - start)
        depth = random.lognormal(sigma=0.4, size=(size, 1))
        drawn = random.poisson(depth * rates[random.integers(0, 10, size)])
        rows.append(sp.csr_matrix(drawn.astype(np.float32)))
    return AnnData(sp.vstack(rows, format="csr"))


def made_blocks(
    n_obs: int, n_features: int, density: float, seed: int = 0, block: int = 5_000
) -> Iterator[sp.csr_matrix]:
    """Draw counts of the same distribution block by block, at the cost of the non-zeros.

    Independent Poisson counts are a Poisson total divided among the features.
    """
    random = np.random.default_rng(seed)
    rates = _rates(n_features, density, random)
    totals = rates.sum(1)
    shares = np.cumsum(rates, axis=1) / totals[:, None]
    for start in range(0, n_obs, block):
        size = min(block, n_obs - start)
        group = random.integers(0, 10, size)
        drawn = random.poisson(random.lognormal(sigma=0.4, size=size) * totals[group])
        rows = np.repeat(np.arange(size), drawn)
        columns = np.empty(len(rows), dtype=np.int64)
        for k, share in enumerate(shares):
            own = group[rows] == k
            columns[own] = np.searchsorted(share, random.random(own.sum()) * share[-1])
        ones = np.ones(len(rows), dtype=np.float32)
        yield sp.coo_matrix((ones, (rows, columns)), shape=(size, n_features)).tocsr()


def _rates(n_features: int, density: float, random: np.random.Generator) -> np.ndarray:
    """Mean counts of ten groups, scaled so that the expected share of non-zeros is as asked."""
    popularity = random.lognormal(sigma=1.5, size=n_features)
    profiles = popularity * random.gamma(1.0, 1.0, size=(10, n_features))
    profiles /= profiles.mean(1, keepdims=True)
    low, high = 1e-4, 1e3
    for _ in range(60):  # by bisection
        middle = (low * high) ** 0.5
        low, high = (
            (middle, high) if (1 - np.exp(-middle * profiles)).mean() < density else (low, middle)
        )
    return low * profiles
