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
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.guides.local import LocalGuide
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
class _State:
    """Where chains are, in white coordinates ``(C, B, D)``, with log p, log q and their slopes."""

    white: Tensor
    log_p: Tensor
    log_q: Tensor
    by_p: Tensor
    by_q: Tensor

    def value(self, beta: Tensor) -> Tensor:
        return beta * self.log_p + (1 - beta) * self.log_q

    def slope(self, beta: Tensor) -> Tensor:
        return beta * self.by_p + (1 - beta) * self.by_q

    def moved(self, proposal: _State, taken: Tensor) -> _State:
        """Return the proposal where it is taken, and this elsewhere."""
        pairs = zip(vars(self).values(), vars(proposal).values(), strict=True)
        return _State(
            *(
                torch.where(taken.view(*taken.shape, *[1] * (old.dim() - 2)), new, old)
                for old, new in pairs
            )
        )


def _anneal(
    model: Model, guide: LocalGuide, batch: Batch, start: Tensor, temperatures: Tensor
) -> Tensor:
    """Return the log-weights of chains along a path of densities, shape ``(C, B)``."""
    loc, factor = guide.moments(batch.index)
    density = log_density(model, batch, guide.blocks)

    def at(white: Tensor) -> _State:
        white = white.detach().requires_grad_()
        with torch.enable_grad():
            points = loc + torch.einsum("bij,cbj->cbi", factor, white)
            log_p = density(points.unsqueeze(2)).squeeze(2)
            log_q = guide.log_density(batch.index, points)
            (by_p,) = torch.autograd.grad(log_p.sum(), white, retain_graph=True)
            (by_q,) = torch.autograd.grad(log_q.sum(), white)
        return _State(white.detach(), log_p.detach(), log_q.detach(), by_p, by_q)

    with frozen(model):
        state = at(torch.linalg.solve(factor, (start - loc).unsqueeze(-1)).squeeze(-1))
        log_weights = torch.zeros_like(state.log_p)
        for before, beta in pairwise(temperatures):
            log_weights = log_weights + (beta - before) * (state.log_p - state.log_q)
            state = _moved(state, at, beta)
    return log_weights


def _moved(state: _State, at: Callable[[Tensor], _State], beta: Tensor) -> _State:
    """Move chains by one draw of Hamiltonian Monte Carlo for the density of a temperature."""
    velocity = torch.randn_like(state.white)
    before = state.value(beta) - velocity.square().sum(-1) / 2
    proposal = state
    for _ in range(LEAPFROGS):
        velocity = velocity + STEP_SIZE / 2 * proposal.slope(beta)
        proposal = at(proposal.white + STEP_SIZE * velocity)
        velocity = velocity + STEP_SIZE / 2 * proposal.slope(beta)
    after = proposal.value(beta) - velocity.square().sum(-1) / 2
    return state.moved(proposal, torch.rand_like(after).log() < after - before)
