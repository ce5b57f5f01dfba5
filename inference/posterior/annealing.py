r"""Bounds of log p(x) from both sides, by annealed importance sampling.

Neal (2001) moves draws of q through the densities

.. math:: \log f_\beta(u) = (1 - \beta) \log q(u) + \beta \log p(x, u), \qquad 0 = \beta_0 < \dots
          < \beta_T = 1,

by Hamiltonian Monte Carlo that leaves each of them as it is. The weights

.. math:: \log w = \sum_t (\beta_t - \beta_{t - 1})
          [\log p(x, u_{t - 1}) - \log q(u_{t - 1})]

have the mean ``p(x)``, so that the logarithm of their average is a bound from below. The same path
backwards, from an exact draw of the posterior, gives a bound from above (Grosse et al. 2015). There
is such a draw for data that were simulated: the latents that they were simulated from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.guides.local import LocalGuide
from vae4counts.inference.posterior.hmc import Position, move
from vae4counts.inference.posterior.refinement import frozen, log_density
from vae4counts.models import Model

N_TEMPERATURES = 40
STEP_SIZE = 0.4
LEAPFROGS = 4


def lower_bound(model: Model, guide: LocalGuide, batch: Batch, chains: int) -> Tensor:
    """Return a bound of log p(values) from below, in nats, shape ``(B,)``.

    Args:
        model: The model, in evaluation mode.
        guide: Refined posteriors, where the chains start.
        batch: The observations.
        chains: Number of chains for each.
    """
    start = guide.numbers(batch.index, chains)
    log_weights = _anneal(model, guide, batch, start, torch.linspace(0, 1, N_TEMPERATURES + 1))
    return log_weights.logsumexp(0) - math.log(chains)


def upper_bound(model: Model, guide: LocalGuide, batch: Batch, exact: Tensor) -> Tensor:
    """Return a bound of log p(values) from above, in nats, shape ``(B,)``.

    Args:
        model: The model, in evaluation mode.
        guide: Refined posteriors, where the chains end.
        batch: The observations.
        exact: One draw of each posterior, on the scale of all real numbers, ``(B, D)``.
    """
    down = torch.linspace(1, 0, N_TEMPERATURES + 1)
    return -_anneal(model, guide, batch, exact.unsqueeze(0), down)[0]


@dataclass(frozen=True)
class _Annealed(Position):
    """Where chains are, with log p and log q and their slopes, at some temperature."""

    log_p: Tensor
    log_q: Tensor
    by_p: Tensor
    by_q: Tensor

    def at(self, beta: Tensor) -> _Annealed:
        """Return the same place at another temperature."""
        return replace(
            self,
            value=beta * self.log_p + (1 - beta) * self.log_q,
            slope=beta * self.by_p + (1 - beta) * self.by_q,
        )


def _anneal(
    model: Model, guide: LocalGuide, batch: Batch, start: Tensor, temperatures: Tensor
) -> Tensor:
    """Return the log-weights of chains along a path of densities, shape ``(C, B)``."""
    loc, factor = guide.moments(batch.index)
    density = log_density(model, batch, guide.blocks)

    def at(white: Tensor, beta: Tensor) -> _Annealed:
        white = white.detach().requires_grad_()
        with torch.enable_grad():
            points = loc + torch.einsum("bij,cbj->cbi", factor, white)
            log_p = density(points.unsqueeze(2)).squeeze(2)
            log_q = guide.log_density(batch.index, points)
            (by_p,) = torch.autograd.grad(log_p.sum(), white, retain_graph=True)
            (by_q,) = torch.autograd.grad(log_q.sum(), white)
        parts = log_p.detach(), log_q.detach(), by_p, by_q
        return _Annealed(white.detach(), parts[0], by_p, *parts).at(beta)

    with frozen(model):
        white = torch.linalg.solve(factor, (start - loc).unsqueeze(-1)).squeeze(-1)
        place = at(white, temperatures[0])
        log_weights = torch.zeros_like(place.log_p)
        for before, beta in pairwise(temperatures):
            log_weights = log_weights + (beta - before) * (place.log_p - place.log_q)
            place, _ = move(place.at(beta), partial(at, beta=beta), STEP_SIZE, LEAPFROGS)
    return log_weights
