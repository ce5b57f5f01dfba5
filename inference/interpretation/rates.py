"""Rates: what counts the decoder expects of an observation, free of sampling noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vae4counts.inference.interpretation.fitted import CHUNK_ROWS, Fitted
from vae4counts.inference.posterior.draws import CHUNK_NUMBERS
from vae4counts.models import Model

# Rates that float32 lets underflow are taken for this one before a logarithm.
SMALLEST_RATE = 1e-20


@torch.no_grad()
def mean_rates(model: Model, points: Tensor, library_size: float) -> np.ndarray:
    """Rates averaged over points ``(P, L)`` of the latent space, shape ``(G,)``."""
    size = max(1, min(CHUNK_ROWS, CHUNK_NUMBERS // model.numbers_per_draw))
    sums = [model.rates(z, library_size).sum(0, dtype=torch.float64) for z in points.split(size)]
    return (torch.stack(sums).sum(0) / len(points)).cpu().numpy()


@torch.no_grad()
def denoised(
    fitted: Fitted,
    features: Sequence[str] | None = None,
    *,
    library_size: float | None = 1e4,
    num_samples: int = 10,
) -> pd.DataFrame:
    r"""Posterior mean of each observation's rates: its counts without the noise of counting.

    .. math:: E_{q(z | x_i)}[\mathrm{library} \cdot \mathrm{softmax}(\mathrm{decoder}(z))_j]

    Only the chosen features are kept, so that a few of many cost little memory.

    Args:
        fitted: A pair and data.
        features: Names of features; all if None, as a dense table.
        library_size: Total that the rates of an observation add up to (over all features); 1 for
            shares. None: its own library size. Of no effect in a model without library sizes.
        num_samples: Draws of ``z`` for each observation.

    Returns:
        Observations x features, float32.

    Raises:
        DataError: An unknown feature.
        NotInModelError: A model without a decoder.
    """
    columns = fitted.columns(features)
    chosen = torch.as_tensor(columns, device=fitted.counts.device)
    parts = []
    for z, own in fitted.draws(torch.arange(len(fitted.counts)), repeats=num_samples):
        decoded = fitted.model.rates(z, own if library_size is None else library_size)
        parts.append(decoded[:, chosen].unflatten(0, (-1, num_samples)).mean(1).cpu())
    names = [fitted.features[j] for j in columns]
    return pd.DataFrame(torch.cat(parts).numpy(), index=fitted.obs.index, columns=names)


@torch.no_grad()
def feature_correlation(
    fitted: Fitted, features: Sequence[str] | None = None, *, num_samples: int = 10
) -> pd.DataFrame:
    r"""Correlations of the features' log-rates over observations and posterior draws.

    By the law of total covariance they hold what is common to observations and what is left
    uncertain in each:

    .. math:: \mathrm{Cov}_i(E[\log\rho \mid x_i]) + E_i[\mathrm{Cov}(\log\rho \mid x_i)].

    The noise of counting, which pulls correlations of sparse counts towards zero, is not in them.
    In a model with library sizes the rates are shares of a whole: a strong feature that rises
    lowers all others.

    Args:
        fitted: A pair and data.
        features: Names of features; all if None, as a dense table of ``G x G``.
        num_samples: Draws of ``z`` for each observation.

    Returns:
        Features x features, between -1 and 1; NaN for a feature whose rate never varies.
    """
    columns = fitted.columns(features)
    chosen = torch.as_tensor(columns, device=fitted.counts.device)
    size = len(columns)
    count, mean, products = 0, torch.zeros(size).double(), torch.zeros(size, size).double()
    for z, _ in fitted.draws(torch.arange(len(fitted.counts)), repeats=num_samples):
        decoded = fitted.model.rates(z, 1.0)[:, chosen].clamp_min(SMALLEST_RATE)
        values = decoded.log().double().cpu()
        # chunks are put together by their means (Chan et al. 1979): raw squares would cancel
        shift = values.mean(0) - mean
        centred = values - values.mean(0)
        total = count + len(values)
        products += centred.T @ centred + torch.outer(shift, shift) * (count * len(values) / total)
        mean += shift * (len(values) / total)
        count = total
    scale = products.diagonal().sqrt()
    correlation = (products / torch.outer(scale, scale)).clamp(-1, 1)
    names = [fitted.features[j] for j in columns]
    return pd.DataFrame(correlation.numpy(), index=names, columns=names)
