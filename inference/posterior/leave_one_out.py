"""Each count given all others of its observation: how well a model knows what goes together."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.data.counts.batch import Table, rows_of
from vae4counts.guides import Guide
from vae4counts.inference.posterior.draws import chunks, draw
from vae4counts.inference.posterior.importance import MIN_DRAWS, smoothed_log_mean
from vae4counts.models import Model

# Rows of weights whose tails are fitted at once.
ROWS = 2**13
# Largest number of draws of counts that are kept at once: 128 MiB in float32.
KEPT_NUMBERS = 2**25
# Variance over the draws of a count's log-probability above which it changes the posterior: about
# twice the divergence, in nats.
CHANGE = 0.1


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
    if len(log_weights) < MIN_DRAWS:
        of_counts = (log_weights.unsqueeze(-1) - conditionals).logsumexp(0)
        return (log_weights.logsumexp(0).unsqueeze(-1) - of_counts).cpu(), None
    return _smoothed(log_weights, conditionals)


def _smoothed(log_weights: Tensor, conditionals: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `leave_one_out` does, of enough draws to fit the tails of their weights."""
    of_counts = np.moveaxis((log_weights.unsqueeze(-1) - conditionals).cpu().numpy(), 0, -1)
    of_all = log_weights.T.cpu().numpy()
    shape = of_counts.shape[:-1]
    rows = of_counts.reshape(-1, len(log_weights))
    parts = [smoothed_log_mean(rows[i : i + ROWS]) for i in range(0, len(rows), ROWS)]
    log_mean, k = (np.concatenate(each).reshape(shape) for each in zip(*parts, strict=True))
    return torch.as_tensor(smoothed_log_mean(of_all)[0][:, None] - log_mean), torch.as_tensor(k)


@torch.no_grad()
def without_each_count(
    model: Model, guide: Guide, batch: Batch, log_weights: Tensor, conditionals: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Return ``log p(x_d | x_-d)``, by new draws where those of the whole observation miss it.

    A posterior that knows the count has few draws where the count would be a surprise, so that
    their estimate of ``p(x_-d)`` is too low, and that of ``p(x_d | x_-d)`` too high. For each count
    above zero that changes the posterior, ``p(x_-d)`` is therefore estimated again, by draws from
    the guide that is told that the count is zero. Both are lower bounds on average: the larger is
    taken.

    Args:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode.
        batch: The observations, of one table of counts.
        log_weights: See `leave_one_out`.
        conditionals: See `leave_one_out`.

    Returns:
        See `leave_one_out`.
    """
    found, k = leave_one_out(log_weights, conditionals)
    if k is None:
        return found, None
    counts = batch.counts.to_dense()
    log_p = torch.as_tensor(smoothed_log_mean(log_weights.T.cpu().numpy())[0])
    matters = ((counts > 0) & (conditionals.var(0) > CHANGE)).nonzero()
    size = rows_at_once(len(log_weights), counts.shape[1])
    # each process has rows of its own: what it draws for them must not shift the noise they share
    with torch.random.fork_rng():
        for first in range(0, len(matters), size):
            rows, features = matters[first : first + size].unbind(1)
            known = _rows(batch, counts[rows], rows)
            others = _rows(batch, counts[rows].scatter(1, features.unsqueeze(1), 0.0), rows)
            left_out = _log_weights_without(model, guide, known, others, features, len(log_weights))
            log_mean, new_k = map(torch.as_tensor, smoothed_log_mean(left_out.T.cpu().numpy()))
            where = rows.cpu(), features.cpu()
            again = log_p[where[0]] - log_mean
            is_better = again < found[where]
            found[where] = torch.where(is_better, again, found[where])
            k[where] = torch.where(is_better, new_k, k[where])
    return found, k


def _log_weights_without(
    model: Model, guide: Guide, known: Batch, others: Batch, features: Tensor, num_samples: int
) -> Tensor:
    """Return weights of draws that do not know a count for all others, shape ``(S, P)``.

    Args:
        model: The model.
        guide: Its guide.
        known: The observation of each of ``P`` counts.
        others: The same without this count, which the guide is told.
        features: The feature of each count, shape ``(P,)``.
        num_samples: Number ``S`` of draws.
    """
    found = []
    for size in chunks(num_samples, model, known):
        draws = draw(model, guide, known, size, conditionals=True, told=others)
        each = features.expand(size, -1).unsqueeze(-1)
        given = cast(Tensor, draws.conditionals).gather(-1, each).squeeze(-1)
        found.append(draws.log_weights - given)
    return torch.cat(found)


def _rows(batch: Batch, counts: Tensor, rows: Tensor) -> Batch:
    """Return some observations of a batch with other counts, and the library sizes they have."""
    name, table = next(iter(batch.tables.items()))
    library = None if table.library is None else table.library[rows]
    return Batch(
        {name: Table(counts.to_sparse_csr(), library)},
        batch.index[rows],
        batch.n_observations,
        rows_of(batch.covariates, rows),
    )
