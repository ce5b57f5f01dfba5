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
from vae4counts.inference.posterior.draws import chunks, draw
from vae4counts.models import Model

# Fewer draws leave too few in the tail of the weights to fit its shape.
MIN_DRAWS = 100
# Log-weights that differ by less are the same up to rounding, and have no tail.
ROUNDING = 1e-6
# Where a larger share of the draws counts, the shape of the tail of their weights has no
# consequence: a nearly perfect guide of few latents can have any.
EVEN_SHARE = 0.9
# Above this shape of the tail no number of draws that one can afford is enough.
HIGH_K = 0.7
# No threshold of a tail is below the smallest number of float64; a shape below this is none.
SMALLEST_LOG = math.log(np.finfo(np.float64).tiny)
SMALLEST_SHAPE = float(np.finfo(np.float64).eps)


def smoothed_log_mean(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithm of the mean of Pareto-smoothed weights, and the shapes of the tails.

    Args:
        log_weights: Shape ``(n, S)``.

    Returns:
        Two arrays of shape ``(n,)``. The shape is at most 0 where nine draws in ten count (see
        `effective_share`), and minus infinity where all weights are the same.
    """
    n, num_samples = log_weights.shape
    log_mean = logsumexp(log_weights, axis=1) - math.log(num_samples)
    k = np.full(n, -np.inf)
    varies = np.ptp(log_weights, axis=1) > ROUNDING
    if varies.any():
        raw = log_weights[varies]
        smoothed, shape = pareto_smoothed(raw)
        is_even = effective_share(raw) > EVEN_SHARE
        k[varies] = np.where(is_even, np.minimum(shape, 0), shape)
        # the median is in no tail: it was only normalised, by the sum that is wanted here
        middle = np.argsort(raw, axis=1)[:, [num_samples // 2]]
        log_sum = np.take_along_axis(raw, middle, 1) - np.take_along_axis(smoothed, middle, 1)
        log_mean[varies] = log_sum[:, 0] - math.log(num_samples)
    return log_mean, k


def pareto_smoothed(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smooth importance weights by a Pareto distribution (Vehtari et al. 2024).

    The largest ``M = min(S / 5, 3 sqrt(S))`` weights of each row are replaced by the quantiles of a
    generalised Pareto distribution that is fitted to them. For all rows at once, where ArviZ, whose
    results these are, takes one after the other.

    Args:
        log_weights: Logarithms of importance weights, float64 of shape ``(n, S)``, not all the same
            in a row.

    Returns:
        Smoothed log-weights, normalised to sum to one in each row, shape ``(n, S)``; and the
        shapes k of the tails, shape ``(n,)``, infinite where too many of the largest are the same.
    """
    smoothed = log_weights - log_weights.max(1, keepdims=True)
    n_tail = math.ceil(min(0.2 * smoothed.shape[1], 3 * math.sqrt(smoothed.shape[1])))
    order = np.argsort(smoothed, axis=1)[:, -n_tail - 1 :]
    tail = np.take_along_axis(smoothed, order, 1)
    cutoff = np.exp(np.maximum(tail[:, :1], SMALLEST_LOG))
    excess = np.exp(tail[:, 1:]) - cutoff
    k, scale = _fitted_pareto(excess)
    positions = (np.arange(n_tail) + 0.5) / n_tail
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shape = k[:, None]
        quantiles = np.where(
            np.abs(shape) < SMALLEST_SHAPE,
            -np.log1p(-positions),
            np.expm1(-shape * np.log1p(-positions)) / shape,
        )
        replaced = np.minimum(np.log(scale[:, None] * quantiles + cutoff), 0)
    kept = np.isfinite(k)[:, None] & np.isfinite(replaced)
    np.put_along_axis(smoothed, order[:, 1:], np.where(kept, replaced, tail[:, 1:]), 1)
    return smoothed - logsumexp(smoothed, axis=1, keepdims=True), k


def _fitted_pareto(excess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit generalised Pareto distributions to sorted excesses ``(n, M)`` over a threshold.

    The estimate of Zhang & Stephens (2009), with the shape drawn towards a half as ten more
    excesses would do.

    Returns:
        Shapes k and scales, shape ``(n,)`` each; infinite and 1 where a quarter are 0.
    """
    n = excess.shape[1]
    is_fit = excess[:, int(n / 4 + 0.5) - 1] > 0
    excess = np.where(is_fit[:, None], excess, np.arange(1.0, n + 1))  # any that can be fitted
    quartile, largest = excess[:, [int(n / 4 + 0.5) - 1]], excess[:, [-1]]
    n_grid = 30 + int(math.sqrt(n))
    grid = (1 - np.sqrt(n_grid / (np.arange(n_grid) + 0.5))) / (3 * quartile) + 1 / largest

    def shape_at(b: np.ndarray) -> np.ndarray:
        """The shape of the largest likelihood given ``b = -k / scale``, shape ``(n, grid)``."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log1p(-b[..., None] * excess[:, None, :]).mean(-1)

    shapes = shape_at(grid)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_likelihood = n * (np.log(-grid / shapes) - shapes - 1)
    log_likelihood = np.where(np.isfinite(log_likelihood), log_likelihood, -np.inf)
    weights = np.exp(log_likelihood - logsumexp(log_likelihood, axis=1, keepdims=True))
    b = (grid * weights).sum(1)
    k = shape_at(b[:, None])[:, 0]
    scale = -k / b
    k = (n * k + 10 * 0.5) / (n + 10)
    return np.where(is_fit, k, np.inf), np.where(is_fit, scale, 1.0)


def largest_k(num_samples: int) -> float:
    """Return the largest shape k of a tail to be trusted (Vehtari et al. 2024, eq. 13)."""
    return min(1 - 1 / math.log10(num_samples), HIGH_K)


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


def log_weights(model: Model, guide: Guide, batch: Batch, num_samples: int) -> np.ndarray:
    """Draw from the guide and return the log-weights of the draws, shape ``(B, S)``.

    Args:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode.
        batch: The observations.
        num_samples: Number ``S`` of draws for each; one is enough of a guide that samples nothing.
    """
    num_samples = num_samples if guide.sites else 1
    sizes = chunks(num_samples, model, batch)
    drawn = torch.cat([draw(model, guide, batch, size).log_weights for size in sizes])
    return drawn.T.cpu().numpy()


def smoothed_estimates(
    model: Model, guide: Guide, batches: Iterable[Batch], num_samples: int
) -> dict[str, np.ndarray]:
    """Return what the importance weights of each observation tell.

    Args:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode.
        batches: The observations, in order.
        num_samples: Number of draws for each, 100 or more.

    Returns:
        Shape ``(N,)`` each: ``log_likelihood`` in nats, by the mean of the smoothed weights;
        ``pareto_k``, the shape of the tail of the weights, minus infinity where the guide is the
        posterior; ``effective_draws``, the share of the draws that count (see `effective_share`).

    Raises:
        ValueError: Too few draws.
    """
    if num_samples < MIN_DRAWS:
        raise ValueError(f"num_samples is {num_samples}: it must be {MIN_DRAWS} or more")
    parts = []
    for batch in batches:
        weights = log_weights(model, guide, batch, num_samples)
        parts.append((*smoothed_log_mean(weights), effective_share(weights)))
    names = ("log_likelihood", "pareto_k", "effective_draws")
    return dict(zip(names, map(np.concatenate, zip(*parts, strict=True)), strict=True))
