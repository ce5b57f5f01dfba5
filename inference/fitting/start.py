"""What happens before the first step: parameters set from data, a mixture placed on latents."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pyro import poutine
from torch import Tensor

from vae4counts import models
from vae4counts.data import Batch, CountLoader, Counts, Tables
from vae4counts.guides import Guide
from vae4counts.inference.fitting.known_classes import known_classes, some_of_each
from vae4counts.inference.fitting.nonfinite import ADVICE, TrainingError
from vae4counts.models import Model

# Observations from which means and variances are known well.
MOMENT_OBSERVATIONS = 10_000
# Observations that a model learns from at a time, where it sees all of them before the first step.
LEARNING_BATCH = 2048
# Groups of more points would take longer to find than a few epochs.
MAX_GROUPED_POINTS = 12_000
# Draws from the posterior of each of few observations, so that groups depend less on chance.
DRAWS = 3
# Of each known class so many observations are among these, if there are as many.
MIN_OF_CLASS = 10


def start_from_data(model: Model, guide: Guide, counts: Counts, seed: int) -> None:
    """Let the model learn from all training observations, and all parts start at some of them."""
    model.learn(CountLoader(counts, batch_size=LEARNING_BATCH, seed=seed))
    batch = _for_moments(counts, seed)
    models.start_from_data(model, batch)
    models.start_from_data(guide, batch)


def _for_moments(counts: Counts, seed: int) -> Batch:
    """Observations in random order, enough of each table, or as many as have it."""
    batch = next(iter(CountLoader(counts, batch_size=MOMENT_OBSERVATIONS, seed=seed)))
    if not isinstance(counts, Tables) or len(batch) == len(counts):
        return batch
    random, rows = np.random.default_rng(seed), [batch.index]
    for name, table in batch.tables.items():
        if table.rows is not None:
            others = counts.present[name].index_fill(0, batch.index, value=False)
            found = random.permutation(others.nonzero().squeeze(-1).cpu().numpy())
            more = torch.from_numpy(found[: MOMENT_OBSERVATIONS - len(table.values)])
            rows.append(more.to(batch.index))
    return batch if len(rows) == 1 else counts.batch(torch.cat(rows))


@torch.no_grad()
def start_from_latents(model: Model, twin: Model, guide: Guide, counts: Counts, seed: int) -> None:
    """Start a model's prior at groups of the latents of all observations, or of enough of them.

    The groups are of draws from q(z | x), not of their means, since the prior is a density of
    draws. Where groups are known classes, the latents are first turned to the axes of the
    covariance within the classes, if model and guide can do that. To the twin's prior all axes are
    alike, but components, whose latents are independent, tell classes apart better in these.

    Args:
        model: The model.
        twin: Its plain twin, which has been trained.
        guide: The guide of both.
        counts: The training observations.
        seed: Seed of all random choices.

    Raises:
        TrainingError: A latent is not finite.
    """
    guide.eval()
    known = known_classes(counts, model.labels)
    if len(counts) > MAX_GROUPED_POINTS:
        chosen = np.random.default_rng(0).permutation(len(counts))[:MAX_GROUPED_POINTS]
        if known is not None:
            chosen = np.union1d(chosen, some_of_each(known, MIN_OF_CLASS))
        counts = counts.subset(np.sort(chosen))
        known = known_classes(counts, model.labels)
    loader = CountLoader(counts, batch_size=1024, shuffle=False)
    draws = max(1, min(DRAWS, MAX_GROUPED_POINTS // len(counts)))
    z = torch.cat([_latents(guide, batch) for _ in range(draws) for batch in loader])
    if not z.isfinite().all():
        raise TrainingError(f"the latents that components start at are not finite: {ADVICE}")
    shares = model.groups(z, seed, None if known is None else known.repeat(draws))
    if shares is None:
        return
    # of groups that nobody knows, the axes make no difference: see docs/mixtures.md
    if known is not None and twin.turns and guide.turns:
        axes = axes_within(z, shares).to(z)
        twin.turn(axes)
        guide.turn(axes)
        z = z @ axes
    model.start_at(z, shares)


def axes_within(z: Tensor, shares: Tensor) -> Tensor:
    r"""Return the principal axes of the covariance within groups.

    They are the eigenvectors of

    .. math:: \frac1n \sum_{ik} r_{ik} (z_i - \mu_k) (z_i - \mu_k)^T

    Args:
        z: Points, shape ``(n, L)``.
        shares: The share ``r`` of each group in each point, summing to 1, shape ``(n, n_groups)``.

    Returns:
        An axis a column, shape ``(L, L)``, float64.
    """
    z, shares = z.double(), shares.double()
    sums = shares.T @ z
    means = sums / shares.sum(0).unsqueeze(-1).clamp_min(1e-9)
    return torch.linalg.eigh(z.T @ z - sums.T @ means).eigenvectors


def _latents(guide: Guide, batch: Batch) -> Tensor:
    """A draw of ``z`` for each observation."""
    trace: Any = poutine.trace(guide).get_trace(batch)
    return trace.nodes["z"]["value"]
