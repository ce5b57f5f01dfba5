"""Chains of Hamiltonian Monte Carlo against distributions that are known."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import MultivariateNormal

from vae4counts.inference.posterior.hmc import TARGET_ACCEPTANCE, sample

D = 3


def identity(n: int) -> tuple[Tensor, Tensor]:
    return torch.zeros(n, D), torch.eye(D).repeat(n, 1, 1)


def test_gaussians_have_their_moments() -> None:
    """In coordinates that do not fit them: each finds steps of its own."""
    n = 6
    factor = 0.3 * torch.randn(n, D, D).tril(-1) + torch.diag(torch.tensor([0.5, 1.0, 2.0]))
    factor = torch.linspace(0.5, 2, n).view(n, 1, 1) * factor
    loc = torch.randn(n, D)
    target = MultivariateNormal(loc, scale_tril=factor)
    chains = sample(
        lambda points: target.log_prob(points.transpose(1, 2)).transpose(1, 2),
        *identity(n),
        torch.randn(4, n, D),
        num_samples=1000,
        warm_up=200,
    )
    assert chains.points.shape == (4, 1000, n, D)
    drawn = chains.points.flatten(0, 1)
    away = (drawn.mean(0) - loc) / factor.norm(dim=-1)
    assert away.abs().max() < 0.2
    white = torch.linalg.solve(factor, (drawn - loc).unsqueeze(-1)).squeeze(-1)
    for i in range(n):
        torch.testing.assert_close(white[:, i].T.cov(), torch.eye(D), rtol=0, atol=0.2)
    assert (chains.acceptance.mean((0, 1)) - TARGET_ACCEPTANCE).abs().max() < 0.12
    assert not chains.diverging.any()
    assert chains.step_size.max() > 1.2 * chains.step_size.min()


def test_a_density_that_is_no_gaussian() -> None:
    """Logarithms of gamma variables."""
    shape = torch.tensor([0.7, 2.0, 30.0])
    chains = sample(
        lambda points: (shape * points - points.exp()).sum(-1),
        shape.log().repeat(2, 1),
        shape.rsqrt().diag().repeat(2, 1, 1),
        torch.randn(4, 2, D),
        num_samples=1200,
        warm_up=200,
    )
    drawn = chains.points[:, ::10].flatten(0, 1).double().numpy()
    for j, a in enumerate(shape.tolist()):
        for i in range(2):
            assert stats.kstest(np.exp(drawn[:, i, j]), stats.gamma(a).cdf).pvalue > 1e-3


def test_impossible_proposals_are_rejected() -> None:
    """Half of the space has no density."""

    def density(points: Tensor) -> Tensor:
        inside = (points[..., 0] > 0).log()
        return -points.square().sum(-1) / 2 + inside

    chains = sample(
        density,
        *identity(1),
        torch.rand(4, 1, D) + 0.5,
        num_samples=1000,
        warm_up=200,
    )
    assert (chains.points[..., 0] > 0).all()
    assert abs(chains.points[..., 0].mean().item() - np.sqrt(2 / np.pi)) < 0.1
