"""Importance weights: their smoothed mean, and whether they can be trusted."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from scipy.special import logsumexp
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.guides import Guide
from vae4counts.inference.posterior.arviz import pareto_smoothed
from vae4counts.inference.posterior.draws import chunks, draw
from vae4counts.models import Model

# Fewer draws leave too few in the tail of the weights to fit its shape.
MIN_DRAWS = 100
# Log-weights that differ by less are the same up to rounding, and have no tail.
ROUNDING = 1e-6
# Above this shape of the tail no number of draws that one can afford is enough.
HIGH_K = 0.7


def smoothed_log_mean(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithm of the mean of Pareto-smoothed weights, and the shapes of the tails.

    Args:
        log_weights: Shape ``(n, S)``.

    Returns:
        Two arrays of shape ``(n,)``.
    """
    n, num_samples = log_weights.shape
    log_mean = logsumexp(log_weights, axis=1) - math.log(num_samples)
    k = np.full(n, -np.inf)
    varies = np.ptp(log_weights, axis=1) > ROUNDING
    if varies.any():
        raw = log_weights[varies]
        smoothed, k[varies] = pareto_smoothed(raw)
        # the median is in no tail: it was only normalised, by the sum that is wanted here
        middle = np.argsort(raw, axis=1)[:, [num_samples // 2]]
        log_sum = np.take_along_axis(raw, middle, 1) - np.take_along_axis(smoothed, middle, 1)
        log_mean[varies] = log_sum[:, 0] - math.log(num_samples)
    return log_mean, k


def largest_k(num_samples: int) -> float:
    """Return the largest shape k of a tail to be trusted (Vehtari et al. 2024, eq. 13)."""
    return min(1 - 1 / math.log10(num_samples), 0.7)


def effective_share(log_weights: np.ndarray) -> np.ndarray:
    r"""Return the share of the draws that count, ``(sum w)^2 / (S sum w^2)``.

    It is the effective number of draws (Kong 1992) over the number of draws: 1 for a guide that is
    the posterior, ``1 / S`` where one draw has all the weight.

    Args:
        log_weights: Shape ``(n, S)``.

    Returns:
        Shape ``(n,)``.
    """
    log_share = 2 * logsumexp(log_weights, axis=1) - logsumexp(2 * log_weights, axis=1)
    return np.exp(log_share) / log_weights.shape[1]


def weight_diagnostics(log_weights: Tensor) -> dict[str, Tensor]:
    """Return the shapes of the tails and the shares of the draws that count.

    Args:
        log_weights: Shape ``(S, B)``.

    Returns:
        ``pareto_k`` (only of 100 draws or more) and ``effective``, each of shape ``(B,)``.
    """
    values = log_weights.T.cpu().numpy()
    found = {"effective": effective_share(values)}
    if len(log_weights) >= MIN_DRAWS:
        found["pareto_k"] = smoothed_log_mean(values)[1]
    return {name: torch.as_tensor(x, device=log_weights.device) for name, x in found.items()}


def tail_shapes(model: Model, guide: Guide, batches: Iterable[Batch]) -> np.ndarray:
    """Return the shape k of the tail of each observation's importance weights, of 100 draws.

    Args:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode.
        batches: The observations, in order.

    Returns:
        Shape ``(N,)``; minus infinity where the guide is the posterior.
    """
    found = []
    for batch in batches:
        sizes = chunks(MIN_DRAWS, model, batch)
        log_weights = torch.cat([draw(model, guide, batch, size).log_weights for size in sizes])
        found.append(weight_diagnostics(log_weights)["pareto_k"].cpu().numpy())
    return np.concatenate(found)
