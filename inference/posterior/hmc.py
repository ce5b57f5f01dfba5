r"""Hamiltonian Monte Carlo for many densities at once (Neal 2011; Hoffman & Gelman 2014).

Each density ``p_i(u)`` has chains of its own, in coordinates ``w`` in which it is nearly standard
normal, ``u = mu_i + C_i w``. A draw follows the Hamiltonian

.. math:: H(w, v) = -\log p_i(\mu_i + C_i w) + \tfrac12 v^T v

for some leapfrog steps from a velocity ``v`` drawn anew, and is accepted with probability
``min(1, exp(-change of H))``. The length of the steps is one for each density, found during warm-up
by dual averaging so that a share of 0.8 is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from vae4counts.inference.posterior.natural_gradient import Density

TARGET_ACCEPTANCE = 0.8
FIRST_STEP = 0.5
# A draw takes between these numbers of leapfrog steps: trajectories of one length can be periodic.
LEAPFROGS = (1, 4)
# Dual averaging: as in Hoffman & Gelman (2014), section 3.2.
GAMMA, OFFSET, FORGETTING = 0.05, 10.0, 0.75
# A change of the Hamiltonian by more than this, in nats, is a divergence.
DIVERGENCE = 1000.0


@dataclass(frozen=True)
class Position:
    """Where ``C`` chains of each of ``B`` densities are.

    Attributes:
        white: The coordinates ``w``, shape ``(C, B, D)``.
        value: The log-density there, shape ``(C, B)``.
        slope: Its gradient by ``w``, shape ``(C, B, D)``.
    """

    white: Tensor
    value: Tensor
    slope: Tensor

    def replaced(self: P, proposal: P, taken: Tensor) -> P:
        """Return the proposal where it is taken, shape ``(C, B)``, and this elsewhere."""
        parts = {
            name: torch.where(taken.view(*taken.shape, *[1] * (old.dim() - 2)), new, old)
            for (name, old), new in zip(vars(self).items(), vars(proposal).values(), strict=True)
        }
        return replace(self, **parts)


P = TypeVar("P", bound=Position)


def move(
    position: P, at: Callable[[Tensor], P], size: Tensor | float, count: int
) -> tuple[P, Tensor]:
    """Move chains by one draw.

    Args:
        position: Where they are.
        at: From coordinates to the position there.
        size: The length of the leapfrog steps, which broadcasts to the coordinates.
        count: Their number.

    Returns:
        Where they are then, and minus the change of the Hamiltonian on the way to the proposal,
        shape ``(C, B)``; minus infinity where it is not a number.
    """
    velocity = torch.randn_like(position.white)
    before = position.value - velocity.square().sum(-1) / 2
    proposal = position
    for _ in range(count):
        velocity = velocity + size / 2 * proposal.slope
        proposal = at(proposal.white + size * velocity)
        velocity = velocity + size / 2 * proposal.slope
    change = (proposal.value - velocity.square().sum(-1) / 2 - before).nan_to_num(nan=-math.inf)
    taken = torch.rand_like(change) < acceptance_of(change)
    return position.replaced(proposal, taken), change


def acceptance_of(change: Tensor) -> Tensor:
    """Return the probability with which a proposal is accepted, see `move`."""
    return change.clamp(max=0).exp()


@dataclass(frozen=True)
class Chains:
    """What chains have drawn, ``S`` draws of each of ``C`` chains for ``B`` densities.

    Attributes:
        points: Draws of ``u``, shape ``(C, S, B, D)``.
        acceptance: Probabilities with which proposals were accepted, shape ``(C, S, B)``.
        diverging: Whether the Hamiltonian of a proposal has gone astray, shape ``(C, S, B)``.
        step_size: Length of the leapfrog steps, shape ``(B,)``.
    """

    points: Tensor
    acceptance: Tensor
    diverging: Tensor
    step_size: Tensor


def sample(
    density: Density,
    loc: Tensor,
    factor: Tensor,
    start: Tensor,
    *,
    num_samples: int,
    warm_up: int,
) -> Chains:
    """Run chains.

    Args:
        density: The log-densities.
        loc: Means of coordinates in which they are nearly standard normal, shape ``(B, D)``.
        factor: Factors ``C`` of these coordinates, shape ``(B, D, D)``.
        start: Where the chains start, in these coordinates, shape ``(C, B, D)``.
        num_samples: Draws of each chain that are kept.
        warm_up: Draws before these, which adapt the steps.

    Returns:
        The chains.
    """

    def at(white: Tensor) -> Position:
        white = white.detach().requires_grad_()
        with torch.enable_grad():
            points = loc + torch.einsum("bij,cbj->cbi", factor, white)
            value = density(points.unsqueeze(2)).squeeze(2)
            (gradient,) = torch.autograd.grad(value.sum(), white)
        return Position(white.detach(), value.detach(), gradient)

    position = at(start)
    steps = _StepSizes(loc.shape[0], loc)
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    for number in range(warm_up + num_samples):
        size = steps.explored if number < warm_up else steps.settled
        count = int(torch.randint(LEAPFROGS[0], LEAPFROGS[1] + 1, ()))
        position, change = move(position, at, size.unsqueeze(-1), count)
        acceptance = acceptance_of(change)
        if number < warm_up:
            steps.learn(acceptance.mean(0))
        else:
            kept.append((position.white, acceptance, change < -DIVERGENCE))
    drawn, acceptance, diverging = (torch.stack(part, 1) for part in zip(*kept, strict=True))
    points = loc + torch.einsum("bij,csbj->csbi", factor, drawn)
    return Chains(points, acceptance, diverging, steps.settled)


class _StepSizes:
    """Lengths of leapfrog steps, adapted by dual averaging.

    Args:
        n: Number of densities.
        like: A tensor of the device and dtype of theirs.
    """

    def __init__(self, n: int, like: Tensor) -> None:
        self._log_first = math.log(10 * FIRST_STEP)
        self._error, self._count = like.new_zeros(n), 0
        self._log_explored = like.new_full((n,), math.log(FIRST_STEP))
        self._log_settled = self._log_explored

    @property
    def explored(self) -> Tensor:
        """Those to try next."""
        return self._log_explored.exp()

    @property
    def settled(self) -> Tensor:
        """The average of those that were tried, the last ones more than the first."""
        return self._log_settled.exp()

    def learn(self, acceptance: Tensor) -> None:
        """Take in the share of proposals that were accepted, shape ``(n,)``."""
        self._count += 1
        weight = 1 / (self._count + OFFSET)
        self._error = (1 - weight) * self._error + weight * (TARGET_ACCEPTANCE - acceptance)
        self._log_explored = self._log_first - math.sqrt(self._count) / GAMMA * self._error
        share = self._count**-FORGETTING
        self._log_settled = share * self._log_explored + (1 - share) * self._log_settled
