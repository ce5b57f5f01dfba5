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


def test_a_mixture_is_found() -> None:
    n, loc = 8, torch.tensor([[-2.0, 0, 1, 0], [2, 1, 0, 0]])
    scale, weights = torch.tensor([0.5, 1.0]), torch.tensor([0.3, 0.7])
    parts = MultivariateNormal(loc, scale_tril=scale.view(2, 1, 1) * torch.eye(D))

    def density(points: Tensor) -> Tensor:
        return (parts.log_prob(points.unsqueeze(-2)) + weights.log()).logsumexp(-1)

    found = maximise(lambda _: density, start(n, 2))
    order = found.loc[..., 0].argsort(1)
    rows = torch.arange(n).unsqueeze(1)
    torch.testing.assert_close(
        found.log_weights.exp()[rows, order], weights.expand(n, 2), rtol=0, atol=0.05
    )
    torch.testing.assert_close(found.loc[rows, order], loc.expand(n, 2, D), rtol=0, atol=0.15)


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
