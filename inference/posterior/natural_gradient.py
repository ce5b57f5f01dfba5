r"""Mixtures of Gaussians that approximate densities, found by natural gradients.

For each of many densities ``p_i(u)``, known up to a constant, maximise

.. math:: E_{q_i} [\log p_i(u) - \log q_i(u)], \qquad
          q_i(u) = \sum_m w_m N(u; \mu_m, C_m C_m^T).

With ``u = mu + C e``, ``e`` standard normal, the pulled-back gradient ``h = C^T grad log p(u)`` is
``-e`` where ``q`` is ``p`` and that is Gaussian. So the residual ``h + e`` has no variance in the
end, unlike other estimates of the same gradients. The steps are

.. math:: C \leftarrow C \exp(\tfrac12 \rho \, E[(h + e) e^T]), \qquad
          \mu \leftarrow \mu + \rho \, C \, E[h],

the first along the natural gradient of the covariance (Stein's identity turns gradients into the
Hessian) in the exponential map of Glasmachers et al. (2010), which cannot leave the positive
definite matrices. Draws come in pairs, ``e`` and ``-e``, so that curvature does not disturb the
mean. The Gaussians of a mixture are stepped alike, each towards its part ``p(u) q(m | u)`` of the
density (Arenz et al. 2018); their weights are found anew in the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Draws for a step from each Gaussian, half of them the mirror images of the others.
STEP_DRAWS = 4
# The objective is looked at after so many steps; it still grows if by more than this, in nats.
WINDOW = 8
MIN_GROWTH = 0.3
# Once it does not, steps get shorter, half as long after so many; and after these they end.
HALVING = 5
LAST_STEPS = 20
MAX_STEPS = 400
# The longest steps: of a mean, in standard deviations; of the logarithm of C, by its norm.
LONGEST_MOVE = 1.0
LONGEST_TURN = 0.7
FIRST_RATE = 0.5
# Draws of each Gaussian that tell the weights of a mixture in the end, and steps to these.
WEIGHT_DRAWS = 32
WEIGHT_STEPS = 50
# Densities are left out of the work once a quarter of those in it have ended.
ENDED_SHARE = 0.25

Density = Callable[[Tensor], Tensor]
"""From points ``(S, B, M, D)`` to log-densities ``(S, B, M)`` in nats, up to a constant."""


@dataclass(frozen=True)
class Mixtures:
    """Mixtures of ``M`` Gaussians in ``D`` dimensions, one for each of ``B`` densities.

    Attributes:
        log_weights: Logarithms of the weights, normalised, shape ``(B, M)``.
        loc: Means, shape ``(B, M, D)``.
        factor: ``C``, with the covariance ``C C^T``, shape ``(B, M, D, D)``.
    """

    log_weights: Tensor
    loc: Tensor
    factor: Tensor

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """The three tensors."""
        return self.log_weights, self.loc, self.factor

    def __getitem__(self, rows: Tensor) -> Mixtures:
        return Mixtures(*(part[rows] for part in self.parts))

    def __setitem__(self, rows: Tensor, other: Mixtures) -> None:
        for own, new in zip(self.parts, other.parts, strict=True):
            own[rows] = new

    def clone(self) -> Mixtures:
        """Copy the tensors."""
        return Mixtures(*(part.clone() for part in self.parts))

    def padded(self, n: int) -> Mixtures:
        """Return mixtures of ``n`` Gaussians: this one, and others without weight."""
        copies = n - self.loc.shape[1]
        nothing = torch.full_like(self.log_weights[:, :1], -math.inf).expand(-1, copies)
        return Mixtures(
            torch.cat([self.log_weights, nothing], 1),
            torch.cat([self.loc, self.loc[:, :1].expand(-1, copies, -1)], 1),
            torch.cat([self.factor, self.factor[:, :1].expand(-1, copies, -1, -1)], 1),
        )

    def points(self, noise: Tensor) -> Tensor:
        """Return ``mu + C e`` for each Gaussian, of the same noise ``(S, D)`` for all."""
        return self.loc + torch.einsum("bmij,sj->sbmi", self.factor, noise)

    def log_parts(self, points: Tensor) -> Tensor:
        """Return ``log w_m + log N(u; m)``, shape ``(*points.shape[:-1], M)``.

        Args:
            points: Shape ``(S, B, n, D)``.
        """
        away = points.unsqueeze(-2) - self.loc.unsqueeze(1)
        white = torch.linalg.solve(self.factor.unsqueeze(1), away.unsqueeze(-1)).squeeze(-1)
        log_det = torch.linalg.slogdet(self.factor).logabsdet
        constant = self.log_weights - log_det - points.shape[-1] / 2 * math.log(2 * math.pi)
        return constant.unsqueeze(1) - white.square().sum(-1) / 2


def maximise(density_of: Callable[[Tensor], Density], start: Mixtures) -> Mixtures:
    """Approximate densities by mixtures.

    Each is stepped until its own objective has stopped growing, whatever the others do. All share
    the same noise, so that the result for one does not depend on which others there are.

    Args:
        density_of: From positions of densities, shape ``(b,)``, to their log-density.
        start: Where to begin, for all ``B`` of them.

    Returns:
        The mixtures.
    """
    if start.loc.shape[1] == 1:
        return _stepped(density_of, start)
    # drawn first, since how many steps are taken depends on all of the densities
    noise = [_noise(start) for _ in range(WEIGHT_DRAWS // STEP_DRAWS)]
    found = _stepped(density_of, start)
    every = torch.arange(len(start.loc), device=start.loc.device)
    return _weighed(density_of(every), found, noise)


def _stepped(density_of: Callable[[Tensor], Density], start: Mixtures) -> Mixtures:
    """Step mixtures until the objective of each has stopped growing."""
    found = start.clone()
    n = len(start.loc)
    rows = torch.arange(n, device=start.loc.device)
    state, density = start, density_of(rows)
    # steps since an objective has stopped growing; and its sums over this window and the last
    age = start.loc.new_zeros(n)
    total, before = torch.zeros_like(age), torch.full_like(age, -math.inf)
    for number in range(1, MAX_STEPS + 1):
        state, objective = _step(density, state, _noise(state), 1 / (1 + age / HALVING))
        total += objective
        age += age > 0
        if number % WINDOW == 0:
            still = total - before <= MIN_GROWTH * WINDOW
            age = torch.where(still & (age == 0), 1.0, age)
            total, before = torch.zeros_like(total), total
        ended = age > LAST_STEPS
        if ended.all():
            break
        if ended.float().mean() > ENDED_SHARE:
            found[rows[ended]] = state[ended]
            on = ~ended
            rows, state, age, total, before = rows[on], state[on], age[on], total[on], before[on]
            density = density_of(rows)
    found[rows] = state
    return found


def _weighed(density: Density, found: Mixtures, noise: Sequence[Tensor]) -> Mixtures:
    r"""Give the Gaussians of mixtures the weights with the largest objective.

    The steps leave weights that a few draws threw far off while the Gaussians still moved: a wrong
    weight costs too little for the objective to tell. At the largest one,

    .. math:: w_m \propto w_m \exp E_m [\log p(u) - \log q(u)],

    which is iterated at the same points of each Gaussian, where ``log p`` is evaluated once.
    """
    log_p, log_gaussians = [], []
    for few in noise:
        points = found.points(few)
        with torch.no_grad():
            log_p.append(density(points))
        log_gaussians.append(found.log_parts(points) - found.log_weights.unsqueeze(1))
    of_density, of_gaussians = torch.cat(log_p), torch.cat(log_gaussians)
    log_weights = found.log_weights
    for _ in range(WEIGHT_STEPS):
        log_q = (of_gaussians + log_weights.unsqueeze(1)).logsumexp(-1)
        log_weights = (log_weights + (of_density - log_q).mean(0)).log_softmax(-1)
    return _where_finite(Mixtures(log_weights, found.loc, found.factor), found)


def _noise(state: Mixtures) -> Tensor:
    """Draw the noise of a step, with its mirror image, shape ``(S, D)``."""
    noise = torch.randn(
        STEP_DRAWS // 2, state.loc.shape[-1], device=state.loc.device, dtype=state.loc.dtype
    )
    return torch.cat([noise, -noise])


def _step(
    density: Density, state: Mixtures, noise: Tensor, rate: Tensor
) -> tuple[Mixtures, Tensor]:
    """Take a step with each mixture.

    Args:
        density: The log-densities.
        state: The mixtures.
        noise: Standard normal draws, shape ``(S, D)``.
        rate: Lengths of the steps, from 0 to 1, shape ``(B,)``.

    Returns:
        The mixtures after the step, and an estimate of their objectives before, shape ``(B,)``.
    """
    points = state.points(noise).requires_grad_()
    with torch.enable_grad():
        log_p = density(points)
        log_parts = state.log_parts(points)
        log_q = log_parts.logsumexp(-1)
        towards = log_p + log_parts.diagonal(dim1=-2, dim2=-1) - log_q
        (gradient,) = torch.autograd.grad(towards.sum(), points)
    gain = (log_p - log_q).detach().mean(0)
    pulled = torch.einsum("bmji,sbmj->sbmi", state.factor, gradient)
    noise = noise[:, None, None]
    turn = torch.einsum("sbmi,sbmj->bmij", pulled + noise, noise.expand_as(pulled)) / len(noise)
    turn = FIRST_RATE / 2 * rate[:, None, None, None] * (turn + turn.mT) / 2
    turn = _at_most(turn, LONGEST_TURN, (-2, -1))
    # the exponential to second order, which is positive definite too
    grown = turn + turn @ turn / 2
    factor = state.factor + state.factor @ grown
    move = pulled.mean(0) + torch.einsum("bmij,bmj->bmi", grown, pulled.mean(0))
    move = _at_most(FIRST_RATE * rate[:, None, None] * move, LONGEST_MOVE, (-1,))
    loc = state.loc + torch.einsum("bmij,bmj->bmi", factor, move)
    log_weights = (state.log_weights + FIRST_RATE * rate[:, None] * gain).log_softmax(-1)
    after = Mixtures(log_weights, loc, factor)
    return _where_finite(after, state), (state.log_weights.exp() * gain).sum(-1)


def _at_most(step: Tensor, longest: float, axes: tuple[int, ...]) -> Tensor:
    """Shorten steps whose norm over some axes is above a limit."""
    norm = step.square().sum(axes, keepdim=True).sqrt()
    return step * (longest / norm.clamp_min(longest))


def _where_finite(after: Mixtures, before: Mixtures) -> Mixtures:
    """Take the step where all its numbers are finite; stay where they are not."""
    finite = torch.stack([part.isfinite().flatten(1).all(1) for part in after.parts]).all(0)
    return Mixtures(
        *(
            torch.where(finite.view(-1, *[1] * (new.dim() - 1)), new, old)
            for new, old in zip(after.parts, before.parts, strict=True)
        )
    )
