"""Posteriors of single observations, refined from where an amortised guide puts them.

An amortised guide is one network for all observations, and a network errs. Refinement leaves the
model as it is and gives each observation a posterior of its own: semi-amortised inference (Kim et
al. 2018) with local steps (Hoffman et al. 2013) along natural gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pyro import poutine
from torch import Tensor, nn

from vae4counts.data import Counts
from vae4counts.data.counts.batch import Batch
from vae4counts.guides import Guide
from vae4counts.guides.local import Block, LocalGuide, site_values
from vae4counts.inference.posterior.draws import CHUNK_NUMBERS, draw, log_joint
from vae4counts.inference.posterior.natural_gradient import (
    STEP_DRAWS,
    Density,
    Mixtures,
    maximise,
)
from vae4counts.models import Model

# Draws from the guide that tell where to begin.
START_DRAWS = 32
# An observation gets several Gaussians if the most probable state of one of its discrete latents,
# which are summed out, is less probable than this.
SPLIT_BELOW = 0.95
SPLIT_GAUSSIANS = 3
# The part of each posterior that is wider, and how many times.
WIDE, WIDENING = 0.1, 1.5
# No weight and no standard deviation starts below these.
SMALLEST_WEIGHT = 1e-6
SMALLEST_SCALE = 1e-6
# No batch has more observations.
MAX_ROWS = 2048


def refine(
    model: Model,
    guide: Guide,
    counts: Counts,
    *,
    advance: Callable[[int], None],
) -> LocalGuide:
    """Give each observation the posterior of its own that has the largest ELBO.

    It is a Gaussian with a full covariance, or a mixture of three where the guide's draws leave
    open to which state of a discrete latent an observation belongs; a tenth of it is wider, see
    `with_wide_tails`.

    Args:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode: where refinement begins.
        counts: The observations.
        advance: Called with the number of observations of each batch that has been refined.

    Returns:
        A guide of these observations, by their positions in ``counts``.
    """
    blocks = site_blocks(model, guide, counts.batch(torch.arange(1)))
    numbers = STEP_DRAWS * max(model.numbers_per_draw, 1)
    size = max(1, min(MAX_ROWS, CHUNK_NUMBERS // numbers))
    parts = []
    with frozen(model), frozen(guide):
        for rows in torch.arange(len(counts)).split(size):
            parts.append(_refine_batch(model, guide, counts.subset(rows), blocks))
            advance(len(rows))
    whole = (torch.cat(part) for part in zip(*(each.parts for each in parts), strict=True))
    found = with_wide_tails(Mixtures(*whole))
    factor = torch.linalg.cholesky(found.factor @ found.factor.mT)
    return LocalGuide(blocks, found.log_weights, found.loc, factor)


def with_wide_tails(found: Mixtures) -> Mixtures:
    """Return mixtures a tenth of which is the same, but one and a half times as wide.

    Such a defensive mixture (Hesterberg 1995) covers the tails of posteriors that have heavier ones
    than Gaussians, which what maximises the ELBO does not. It costs less than 0.1 nats of that.
    """
    return Mixtures(
        torch.cat([found.log_weights + math.log(1 - WIDE), found.log_weights + math.log(WIDE)], 1),
        torch.cat([found.loc, found.loc], 1),
        torch.cat([found.factor, WIDENING * found.factor], 1),
    )


def _refine_batch(
    model: Model, guide: Guide, counts: Counts, blocks: Mapping[str, Block]
) -> Mixtures:
    """Refine some observations."""
    rows = torch.arange(len(counts), device=counts.device)
    draws = draw(model, guide, counts.batch(rows), START_DRAWS)
    points = torch.cat([block.numbers(draws.values[name]) for name, block in blocks.items()], -1)

    def density_of(chosen: Tensor) -> Density:
        return log_density(model, counts.batch(chosen), blocks)

    single = _start(points, points.new_ones((*points.shape[:2], 1)))
    if draws.joint is None:
        return maximise(density_of, single)
    states = draws.joint.flatten(0, -3).movedim(0, -1)
    number = min(SPLIT_GAUSSIANS, states.shape[-1])
    is_split = states.mean(0).amax(-1) < SPLIT_BELOW
    found = single.padded(number)
    if not is_split.all():
        kept = ~is_split
        found[rows[kept]] = _maximised(density_of, rows[kept], single[kept]).padded(number)
    if is_split.any():
        start = _on_states(points[:, is_split], states[:, is_split], number)
        found[rows[is_split]] = _maximised(density_of, rows[is_split], start)
    return found


def _maximised(density_of: Callable[[Tensor], Density], rows: Tensor, start: Mixtures) -> Mixtures:
    """Approximate the densities of some rows."""
    return maximise(lambda chosen: density_of(rows[chosen]), start)


def _on_states(points: Tensor, states: Tensor, number: int) -> Mixtures:
    """Return mixtures with a Gaussian for each of the most probable states.

    Args:
        points: Shape ``(S, B, D)``.
        states: Their probabilities at each point, shape ``(S, B, K)``.
        number: How many states.
    """
    most = states.mean(0).topk(number).indices
    return _start(points, states.gather(-1, most.expand(len(states), -1, -1)))


def _start(points: Tensor, shares: Tensor) -> Mixtures:
    """Return mixtures of Gaussians at the means of parts of some points.

    Args:
        points: Shape ``(S, B, D)``.
        shares: The share of each Gaussian in each point, shape ``(S, B, M)``.
    """
    weights = shares.mean(0).clamp_min(SMALLEST_WEIGHT)
    loc = torch.einsum("sbm,sbd->bmd", shares, points) / len(points) / weights.unsqueeze(-1)
    scale = points.std(0).clamp_min(SMALLEST_SCALE).diag_embed()
    return Mixtures(
        weights.log().log_softmax(-1), loc, scale.unsqueeze(1).repeat(1, loc.shape[1], 1, 1)
    )


def site_blocks(model: Model, guide: Guide, batch: Batch) -> dict[str, Block]:
    """Return the block of each site that the model leaves to a guide."""
    sites: Any = poutine.trace(guide).get_trace(batch).nodes
    left = [latent.name for latent in model.latents if latent.states is None]
    return {
        name: Block.of(sites[name]["fn"].support, sites[name]["value"].shape[1:]) for name in left
    }


def log_density(model: Model, batch: Batch, blocks: Mapping[str, Block]) -> Density:
    """Return log p(values, u) of the observations of a batch, as a function of ``u``."""

    def density(points: Tensor) -> Tensor:
        # (S, B, M, D) -> (M * S, B, D)
        flat = points.movedim(2, 0).flatten(0, 1)
        values, log_det = site_values(blocks, flat)
        log_p = log_joint(model, batch, values, len(flat)) + log_det
        return log_p.unflatten(0, (points.shape[2], points.shape[0])).movedim(0, 2)

    return density


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Compute no gradients by a module's parameters inside a ``with`` block."""
    learnt = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learnt:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learnt:
            parameter.requires_grad_()
