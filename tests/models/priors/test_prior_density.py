"""Each prior's density, against brute force."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyro
import pytest
import torch
from scipy import special, stats

from vae4counts.models.priors import MixturePrior, Prior, StandardNormal, VampPrior


def by_hand(prior: MixturePrior, z: torch.Tensor) -> np.ndarray:
    """log p(component, z) of every component, shape ``(n, K)``, from scipy."""
    loc, scale = (part.detach().numpy() for part in prior.components())
    densities = stats.norm.logpdf(z.numpy()[:, None], loc, scale).sum(-1)
    return prior.log_weights().detach().numpy() + densities


def test_standard_normal() -> None:
    z = torch.randn(20, 3)
    wanted = stats.multivariate_normal(np.zeros(3), np.eye(3)).logpdf(z.numpy())
    np.testing.assert_allclose(StandardNormal(3).log_prob(z), wanted, rtol=1e-5)


def test_mixture_is_the_sum_over_its_components(mixture: MixturePrior) -> None:
    z = 2 * torch.randn(50, 3).double()
    wanted = special.logsumexp(by_hand(mixture, z), axis=1)
    np.testing.assert_allclose(mixture.log_prob(z).detach(), wanted, rtol=1e-10)
    shaped = mixture.log_prob(z.reshape(5, 10, 3)).detach()
    np.testing.assert_allclose(shaped.flatten(), wanted, rtol=1e-10)


def test_weights_are_normalised(mixture: MixturePrior) -> None:
    log_weights = mixture.log_weights().detach()
    assert log_weights.shape == (mixture.n_components,)
    np.testing.assert_allclose(log_weights.exp().sum(), 1, rtol=1e-12)


def test_responsibilities_follow_bayes_rule(mixture: MixturePrior) -> None:
    z = 2 * torch.randn(50, 3).double()
    responsibilities = mixture.responsibilities(z).detach().numpy()
    np.testing.assert_allclose(responsibilities.sum(1), 1, rtol=1e-12)
    wanted = special.softmax(by_hand(mixture, z), axis=1)
    np.testing.assert_allclose(responsibilities, wanted, rtol=1e-9, atol=1e-200)


def test_far_away_the_log_density_stays_finite(make_prior: Callable[[int], Prior]) -> None:
    prior = make_prior(3).float()
    for module in getattr(prior, "_shared", ()):
        module.float()
    z = torch.full((1, 3), 1e4, requires_grad=True)
    prior.log_prob(z).sum().backward()
    assert prior.log_prob(z).isfinite().all()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_density_integrates_to_one(make_prior: Callable[[int], Prior]) -> None:
    grid = torch.linspace(-200, 200, 400_001, dtype=torch.float64)
    density = make_prior(1).log_prob(grid.unsqueeze(-1)).detach().exp()
    # the density of a flow of splines has kinks, where the sum errs by the square of the step
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-5)


def test_samples_have_the_stated_density(make_prior: Callable[[int], Prior]) -> None:
    prior = make_prior(1)
    with pyro.plate("observations", 20_000):
        z = prior().detach().squeeze(-1).numpy()
    grid = torch.linspace(-200, 200, 400_001, dtype=torch.float64)
    density = prior.log_prob(grid.unsqueeze(-1)).detach().exp()
    cumulative = torch.cumulative_trapezoid(density, grid).numpy()
    fit = stats.kstest(z, lambda value: np.interp(value, grid[1:].numpy(), cumulative))
    assert fit.pvalue > 1e-4  # random numbers differ between machines: it must not fail by chance


def test_samples_vary_together_as_stated(mixture: MixturePrior) -> None:
    with pyro.plate("observations", 40_000):
        z = mixture().detach()
    loc, scale = (part.detach() for part in mixture.components())
    weights = mixture.log_weights().detach().exp()
    mean = weights @ loc
    within = torch.diag(weights @ scale**2)
    covariance = within + (loc - mean).T @ torch.diag(weights) @ (loc - mean)
    noise = 5 * covariance.diagonal().max() / 200  # five standard errors or more
    torch.testing.assert_close(z.mean(0), mean, atol=noise.sqrt().item(), rtol=0)
    torch.testing.assert_close(z.T.cov(), covariance, atol=noise.item(), rtol=0)


def test_vamp_is_the_mixture_of_the_posteriors_at_its_pseudo_inputs() -> None:
    prior = VampPrior(2, 5)
    prior.build(7)
    torch.nn.init.normal_(prior.pseudo_inputs)
    seen = []

    def encode(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(counts)
        return counts[:, :2], counts[:, 2:4]

    prior.share_posterior(encode)
    z = torch.randn(9, 2)
    log_prob = prior.log_prob(z).detach()
    assert seen[0].shape == (5, 7)
    assert (seen[0] > 0).all()
    inputs = torch.log1p(prior.pseudo_inputs.detach().double().exp()).numpy()
    parts = stats.norm.pdf(z.numpy()[:, None], inputs[:, :2], inputs[:, 2:4]).prod(-1)
    np.testing.assert_allclose(log_prob, np.log(parts.mean(1)), rtol=1e-5)
