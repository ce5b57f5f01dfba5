"""Each count given all others of its observation: how well a model knows what goes together."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import logsumexp
from torch import Tensor

from vae4counts.inference.posterior.importance import MIN_DRAWS, smoothed_log_mean

# Rows of weights whose tails are fitted at once.
ROWS = 2**13
# Largest number of draws of counts that are kept at once: 128 MiB in float32.
KEPT_NUMBERS = 2**25


def rows_at_once(num_samples: int, n_features: int) -> int:
    """Return how many observations to predict at once, from this many draws: 128 at most."""
    return max(1, min(128, KEPT_NUMBERS // (num_samples * n_features)))


def leave_one_out(log_weights: Tensor, conditionals: Tensor) -> tuple[Tensor, Tensor | None]:
    r"""Return ``log p(x_d | x_-d)`` by importance weights.

    .. math:: p(x_d | x_{-d}) = \left[ \sum_s \frac{w_s}{p(x_d | x_{-d}, z_s)} \right]^{-1}

    with weights ``w`` that are normalised to sum to 1. Both sums, of the weights and of their
    ratios, are smoothed by a Pareto distribution (Vehtari et al. 2024) if there are enough draws.

    Args:
        log_weights: ``log p(x, z_s) - log q(z_s | x)``, shape ``(S, B)``.
        conditionals: ``log p(x_d | x_-d, z_s)``, shape ``(S, B, G)``.

    Returns:
        Nats and the shapes k of the tails of the ratios, both ``(B, G)``; None for the latter with
        a single draw, which is exact, or too few.
    """
    of_counts = np.moveaxis((log_weights.unsqueeze(-1) - conditionals).cpu().numpy(), 0, -1)
    of_all = log_weights.T.cpu().numpy()
    shape = of_counts.shape[:-1]
    if len(log_weights) < MIN_DRAWS:
        found = logsumexp(of_all, axis=-1)[:, None] - logsumexp(of_counts, axis=-1)
        return torch.as_tensor(found), None
    rows = of_counts.reshape(-1, len(log_weights))
    parts = [smoothed_log_mean(rows[i : i + ROWS]) for i in range(0, len(rows), ROWS)]
    log_mean, k = (np.concatenate(each).reshape(shape) for each in zip(*parts, strict=True))
    return torch.as_tensor(smoothed_log_mean(of_all)[0][:, None] - log_mean), torch.as_tensor(k)
