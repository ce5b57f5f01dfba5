"""Rates: the counts that the decoder expects of an observation, free of sampling noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vae4counts.inference.interpretation.pair_on_data import CHUNK_ROWS, PairOnData
from vae4counts.inference.posterior.draws import CHUNK_NUMBERS
from vae4counts.inference.posterior.sizes import check_size


@torch.no_grad()
def mean_rates(pair: PairOnData, points: Tensor, library_size: float) -> np.ndarray:
    """Average rates over points ``(P, L)`` of the latent space, shape ``(G,)``."""
    size = max(1, min(CHUNK_ROWS, CHUNK_NUMBERS // pair.model.numbers_per_draw))
    sums = [pair.rates(z, library_size).sum(0, dtype=torch.float64) for z in points.split(size)]
    return (torch.stack(sums).sum(0) / len(points)).cpu().numpy()


@torch.no_grad()
def denoised(
    pair: PairOnData,
    features: Sequence[str] | None = None,
    *,
    library_size: float | None = 1e4,
    num_samples: int = 10,
) -> pd.DataFrame:
    r"""Return the posterior mean of each observation's rates: its counts without sampling noise.

    .. math:: E_{q(z | x_i)}[\mathrm{library} \cdot \mathrm{softmax}(\mathrm{decoder}(z))_j]

    Only the chosen features are kept, so a few of many take little memory. Covariates are held as
    ``pair.at`` says, and averaged over otherwise: what differs between batches is then left out.

    Args:
        pair: A pair and data.
        features: Names of features; all if None, as a dense table.
        library_size: Total of an observation's rates over all features; 1 for shares. None: its
            own library size. Ignored by a model without library sizes.
        num_samples: Draws of ``z`` for each observation.

    Returns:
        Observations x features, float32.

    Raises:
        DataError: An unknown feature.
        NotInModelError: The model has no latent space.
        TooLargeError: The table would take over 4 GiB.
    """
    columns = pair.columns(features)
    shape = (len(pair.counts), len(columns))
    check_size(
        4.0 * shape[0] * shape[1],
        f"A table of {shape[0]:,} observations x {shape[1]:,} features",
        "name some features, or look at fewer observations",
    )
    chosen = torch.as_tensor(columns, device=pair.counts.device)
    table, row = np.empty(shape, dtype=np.float32), 0
    for z, own in pair.draws(torch.arange(len(pair.counts)), repeats=num_samples):
        decoded = pair.rates(z, own if library_size is None else library_size)
        means = decoded[:, chosen].unflatten(0, (-1, num_samples)).mean(1).cpu().numpy()
        table[row : row + len(means)] = means
        row += len(means)
    names = [pair.features[j] for j in columns]
    return pd.DataFrame(table, index=pair.obs.index, columns=names, copy=False)


@torch.no_grad()
def feature_correlation(
    pair: PairOnData, features: Sequence[str] | None = None, *, num_samples: int = 10
) -> pd.DataFrame:
    r"""Return correlations of the features' log-rates over observations and posterior draws.

    By the law of total covariance they comprise the variation between observations and the
    uncertainty about each:

    .. math:: \mathrm{Cov}_i(E[\log\rho \mid x_i]) + E_i[\mathrm{Cov}(\log\rho \mid x_i)].

    The sampling noise that pulls correlations of sparse counts towards zero is not in them. In a
    model with library sizes the rates are shares of a whole: a strong feature that rises lowers
    all others.

    Args:
        pair: A pair and data.
        features: Names of features; all if None, as a dense table of ``G x G``.
        num_samples: Draws of ``z`` for each observation.

    Returns:
        Features x features, between -1 and 1; NaN for a feature whose rate never varies.

    Raises:
        DataError: An unknown feature.
        NotInModelError: The model has no latent space.
        TooLargeError: It would take over 4 GiB.
    """
    columns = pair.columns(features)
    size = len(columns)
    check_size(
        3 * 8.0 * size**2,  # the table and what is added to it
        f"A table of {size:,} x {size:,} features",
        "name fewer features",
    )
    chosen = torch.as_tensor(columns, device=pair.counts.device)
    count, mean, products = 0, torch.zeros(size).double(), torch.zeros(size, size).double()
    for z, _ in pair.draws(torch.arange(len(pair.counts)), repeats=num_samples):
        values = pair.comparable(pair.rates(z, 1.0))[:, chosen].double().cpu()
        # chunks are combined by their means (Chan et al. 1979): raw squares would cancel
        shift = values.mean(0) - mean
        centred = values - values.mean(0)
        total = count + len(values)
        products += centred.T @ centred + torch.outer(shift, shift) * (count * len(values) / total)
        mean += shift * (len(values) / total)
        count = total
    scale = products.diagonal().sqrt()
    correlation = (products / torch.outer(scale, scale)).clamp(-1, 1)
    names = [pair.features[j] for j in columns]
    return pd.DataFrame(correlation.numpy(), index=names, columns=names)
