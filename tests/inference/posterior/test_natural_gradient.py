"""Natural gradients against densities whose best approximation is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from vae4counts.inference.posterior.natural_gradient import Density, Mixtures, maximise

D = 4


def start(n: int, m: int = 1) -> Mixtures:
    """Standard normals, a little apart from each other."""
    loc = torch.linspace(0, 0.5 * (m - 1), m).view(1, m, 1).repeat(n, 1, D)
    factor = torch.eye(D).repeat(n, m, 1, 1)
    return Mixtures(torch.full((n, m), -math.log(m)), loc, factor)


def gaussians(n: int) -> tuple[Tensor, Tensor]:
    """Means and factors of Gaussians far from the start, of scales from 0.1 to 5."""
    factor = torch.randn(n, D, D).tril(-1) + torch.eye(D)
    return 2 * torch.randn(n, D), torch.logspace(-1, 0.7, D).unsqueeze(-1) * factor


def density_of(loc: Tensor, factor: Tensor) -> Callable[[Tensor], Density]:
    """The log-densities of Gaussians, and by 3 too large: they need no constant."""

    def chosen(rows: Tensor) -> Density:
        target = MultivariateNormal(loc[rows], scale_tril=factor[rows])
        return lambda points: target.log_prob(points.transpose(1, 2)).transpose(1, 2) + 3

    return chosen


def test_a_gaussian_is_found() -> None:
    loc, factor = gaussians(20)
    found = maximise(density_of(loc, factor), start(20))
    away = torch.linalg.solve(factor, (found.loc[:, 0] - loc).unsqueeze(-1)).squeeze(-1)
    assert away.abs().max() < 0.01
    # the covariance as the target's own coordinates see it
    seen = torch.linalg.solve(factor, found.factor[:, 0])
    torch.testing.assert_close(seen @ seen.mT, torch.eye(D).expand(20, D, D), rtol=0, atol=0.01)


# a mixture of two Gaussians
LOC = torch.tensor([[-2.0, 0, 1, 0], [2, 1, 0, 0]])
SCALE, WEIGHTS = torch.tensor([0.5, 1.0]), torch.tensor([0.3, 0.7])


def mixture_density(points: Tensor) -> Tensor:
    parts = MultivariateNormal(LOC, scale_tril=SCALE.view(2, 1, 1) * torch.eye(D))
    return (parts.log_prob(points.unsqueeze(-2)) + WEIGHTS.log()).logsumexp(-1)


def scattered_starts(n: int, near: float) -> Mixtures:
    """Pairs of Gaussians, scattered about the target's means (``near`` 1) or the origin (0)."""
    loc = near * LOC + 0.3 * torch.randn(n, 2, D)
    factor = 0.7 * torch.eye(D).repeat(n, 2, 1, 1)
    return Mixtures(torch.full((n, 2), -math.log(2)), loc, factor)


def test_a_mixture_is_found() -> None:
    """From nearly all starts about its parts: a few draws can throw a Gaussian out of one."""
    is_found = []
    for seed in range(4):
        torch.manual_seed(seed)
        found = maximise(lambda _: mixture_density, scattered_starts(16, near=1.0))
        weight_error = (found.log_weights.exp() - WEIGHTS).abs().amax(1)
        is_found.append((weight_error < 0.05) & ((found.loc - LOC).abs().amax((1, 2)) < 0.15))
    assert torch.cat(is_found).double().mean() > 0.9


def test_weights_are_the_best_for_the_gaussians() -> None:
    """Also where these have not reached their parts of the density, or are both in one."""
    lost = []
    for seed in range(3):
        torch.manual_seed(seed)
        found = maximise(lambda _: mixture_density, scattered_starts(16, near=0.0))
        points = found.points(torch.randn(500, D))
        log_gaussians = found.log_parts(points) - found.log_weights[:, None]
        first = torch.linspace(0.005, 0.995, 60)
        grid = torch.stack([first, 1 - first], -1).log()
        among = [objective(points, log_gaussians, each.expand(16, 2)) for each in grid]
        best = torch.stack(among).amax(0)
        lost.append(best - objective(points, log_gaussians, found.log_weights))
    assert torch.cat(lost).mean() < 0.004


def objective(points: Tensor, log_gaussians: Tensor, log_weights: Tensor) -> Tensor:
    """The objectives of mixtures by draws of their Gaussians."""
    log_q = (log_gaussians + log_weights[:, None]).logsumexp(-1)
    return (log_weights.exp() * (mixture_density(points) - log_q).mean(0)).sum(-1)


def test_the_objective_is_that_of_the_best_gaussian() -> None:
    """For a density that is no Gaussian: of logarithms of gamma variables."""
    shape = torch.tensor([3.0, 5.0, 20.0, 100.0])

    def density(points: Tensor) -> Tensor:
        return (shape * points - points.exp()).sum(-1)

    def objective(loc: Tensor, factor: Tensor) -> Tensor:
        """Up to a constant, by E[exp u] = exp(m + s^2 / 2)."""
        variance = factor.square().sum(-1)
        mean = shape * loc - (loc + variance / 2).exp()
        return mean.sum(-1) + torch.linalg.slogdet(factor).logabsdet

    found = maximise(lambda _: density, start(4))
    best = objective(shape.log() - 1 / (2 * shape), shape.rsqrt().diag())
    lost = best - objective(found.loc[:, 0], found.factor[:, 0])
    assert (lost > -1e-4).all()
    assert lost.max() < 0.05


def test_one_does_not_depend_on_the_others() -> None:
    loc, factor = gaussians(6)
    loc[3] *= 10  # takes far more steps than the others
    together = maximise(density_of(loc, factor), start(6))
    for row in (0, 3):
        torch.manual_seed(0)
        gaussians(6)
        rows = torch.tensor([row])
        alone = maximise(density_of(loc[rows], factor[rows]), start(1))
        torch.testing.assert_close(alone.loc, together.loc[rows], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(alone.factor, together.factor[rows], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_density_that_is_not_finite_costs_the_others_nothing(bad: float) -> None:
    loc, factor = gaussians(3)

    def chosen(rows: Tensor) -> Density:
        good = density_of(loc, factor)(rows)

        def density(points: Tensor) -> Tensor:
            values = list(good(points).unbind(1))
            for place in (rows == 1).nonzero().flatten().tolist():
                values[place] = bad * points[:, place].sum(-1)
            return torch.stack(values, 1)

        return density

    found = maximise(chosen, start(3))
    torch.testing.assert_close(found.loc[1], start(1).loc[0])
    for row in (0, 2):
        away = torch.linalg.solve(factor[row], found.loc[row, 0] - loc[row])
        assert away.abs().max() < 0.01
