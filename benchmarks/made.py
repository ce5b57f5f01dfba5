"""Counts made with a fixed seed: sparse, overdispersed, with groups of observations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

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
    rates = _rates(n_features, density, random, 10)
    rows = []
    for start in range(0, n_obs, 500):
        size = min(500, n_obs - start)
        depth = random.lognormal(sigma=0.4, size=(size, 1))
        drawn = random.poisson(depth * rates[random.integers(0, 10, size)])
        rows.append(sp.csr_matrix(drawn.astype(np.float32)))
    return AnnData(sp.vstack(rows, format="csr"))


def made_blocks(
    n_obs: int,
    n_features: int,
    density: float,
    seed: int = 0,
    block: int = 5_000,
    sizes: Sequence[float] = (1.0,) * 10,
) -> Iterator[tuple[sp.csr_matrix, np.ndarray]]:
    """Draw counts of the same distribution block by block, at the cost of the non-zeros.

    Independent Poisson counts are a Poisson total divided among the features.

    Args:
        n_obs: Number of observations.
        n_features: Number of features.
        density: Expected share of non-zeros.
        seed: Seed.
        block: Observations in a block.
        sizes: Relative sizes of the groups.

    Yields:
        A block of counts, and the group of each of its observations.
    """
    random = np.random.default_rng(seed)
    rates = _rates(n_features, density, random, len(sizes))
    totals = rates.sum(1)
    shares = np.cumsum(rates, axis=1) / totals[:, None]
    chances = np.asarray(sizes) / sum(sizes)
    for start in range(0, n_obs, block):
        size = min(block, n_obs - start)
        group = random.choice(len(sizes), size, p=chances)
        drawn = random.poisson(random.lognormal(sigma=0.4, size=size) * totals[group])
        rows = np.repeat(np.arange(size), drawn)
        columns = np.empty(len(rows), dtype=np.int64)
        for k, share in enumerate(shares):
            own = group[rows] == k
            columns[own] = np.searchsorted(share, random.random(own.sum()) * share[-1])
        ones = np.ones(len(rows), dtype=np.float32)
        yield sp.coo_matrix((ones, (rows, columns)), shape=(size, n_features)).tocsr(), group


def _rates(
    n_features: int, density: float, random: np.random.Generator, n_groups: int
) -> np.ndarray:
    """Mean counts of groups, scaled so that the expected share of non-zeros is as asked."""
    popularity = random.lognormal(sigma=1.5, size=n_features)
    profiles = popularity * random.gamma(1.0, 1.0, size=(n_groups, n_features))
    profiles /= profiles.mean(1, keepdims=True)
    low, high = 1e-4, 1e3
    for _ in range(60):  # by bisection
        middle = (low * high) ** 0.5
        low, high = (
            (middle, high) if (1 - np.exp(-middle * profiles)).mean() < density else (low, middle)
        )
    return low * profiles


def write_made(
    path: Path,
    n_obs: int,
    n_features: int,
    density: float,
    seed: int = 0,
    sizes: Sequence[float] = (1.0,) * 10,
) -> None:
    """Write an ``.h5ad`` file or ``.zarr`` folder of `made_blocks`, with ``obs["group"]``."""
    import h5py
    import pandas as pd
    import zarr
    from anndata.io import sparse_dataset, write_elem

    partial = path.with_name(f"partial-{path.name}")
    is_zarr = path.suffix == ".zarr"
    store = zarr.open_group(partial, mode="w") if is_zarr else h5py.File(partial, "w")
    obs = pd.DataFrame(index=_names("o", n_obs))
    write_elem(store, "/", AnnData(obs=obs, var=pd.DataFrame(index=_names("f", n_features))))
    groups = []
    for block, group in made_blocks(n_obs, n_features, density, seed, sizes=sizes):
        groups.append(group)
        if len(groups) == 1:
            write_elem(store, "X", block)
            matrix = sparse_dataset(store["X"])
        else:
            matrix.append(block)
    obs["group"] = pd.Categorical([f"group {k}" for k in np.concatenate(groups)])
    write_elem(store, "obs", obs)
    if not is_zarr:
        store.close()
    partial.rename(path)


def _names(letter: str, n: int) -> list[str]:
    return [f"{letter}{i}" for i in range(n)]
