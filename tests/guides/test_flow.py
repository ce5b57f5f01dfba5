"""The guide that is a normalising flow: a density, of what it draws."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.guides import FlowGuide, guide_for
from vae4counts.guides.flow import FlowHead
from vae4counts.models import GMVAE, VAE
from vae4counts.models.priors import GaussianMixture, StandardNormal, VampPrior


def a_head(n_latent: int = 2, n_before: int = 0) -> FlowHead:
    """A flow of four features, in float64, that is far from a Gaussian."""
    head = FlowHead(4, n_latent, n_before).double()
    for parameter in head.transform.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return head


def of(head: FlowHead, features: Tensor) -> object:
    """The flow at given features."""
    return head(features, features.new_empty(*features.shape[:-1], 0))


@pytest.mark.slow
@torch.no_grad()
def test_density_integrates_to_one() -> None:
    q = of(a_head(), torch.randn(1, 4, dtype=torch.float64))
    axis = torch.linspace(-6, 6, 301, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis).unsqueeze(1)
    mass = q.log_prob(grid).exp() * (axis[1] - axis[0]) ** 2
    assert mass.sum().item() == pytest.approx(1, abs=2e-3)
    z = q.sample((20_000,))
    assert stats.kstest(((z - z.mean(0)) / z.std(0))[:, 0, 0].numpy(), "norm").pvalue < 1e-6
    # the draws follow that density
    for bound in (-1.0, 0.0, 1.0):
        share = mass[(grid < bound).all(-1)].sum().item()
        assert (z < bound).all(-1).double().mean().item() == pytest.approx(share, abs=0.015)


@pytest.mark.parametrize("n_latent", [1, 5])
@torch.no_grad()
def test_density_of_draws_is_that_by_inversion(n_latent: int) -> None:
    q = of(a_head(n_latent), torch.randn(3, 4, dtype=torch.float64))
    z = q.rsample((4,))
    remembered = q.log_prob(z)
    q.rsample((4,))
    torch.testing.assert_close(q.log_prob(z.clone()), remembered, rtol=1e-8, atol=1e-8)


@torch.no_grad()
def test_it_is_nearly_the_gaussian_at_the_start() -> None:
    head = FlowHead(4, 3, 0)
    features = torch.randn(50, 4)
    loc, scale = head.gaussian(features)
    z = loc + scale * torch.randn(50, 3)
    gaussian = torch.distributions.Normal(loc, scale).log_prob(z).sum(-1)
    assert (of(head, features).log_prob(z) - gaussian).abs().mean() < 0.1


@torch.no_grad()
def test_it_depends_on_what_was_drawn_before() -> None:
    head = a_head(n_before=1)
    features = torch.randn(6, 4, dtype=torch.float64)
    z = torch.randn(6, 2, dtype=torch.float64)
    low, high = (head(features, z.new_full((6, 1), x)).log_prob(z) for x in (-1, 1))
    assert (low - high).abs().min() > 1e-3


@pytest.mark.parametrize("n_latent", [0, 10**15])
def test_numbers_of_latents_that_are_refused(n_latent: int) -> None:
    with pytest.raises(ValueError, match=rf"n_latent is {n_latent}: a flow takes 1 to 1,000"):
        FlowHead(4, n_latent, 0)


@pytest.mark.parametrize("library", ["observed", "latent"])
def test_models_that_it_fits(library: str, batch: Batch) -> None:
    for model in (VAE(7, StandardNormal(2), library=library), GMVAE(7, library=library)):
        assert type(guide_for(model, "flow")) is FlowGuide
    assert not FlowGuide.fits(VAE(7, VampPrior(), library=library))
    assert not FlowGuide.fits(GMVAE(7, VampPrior(), library=library))
    assert FlowGuide.fits(VAE(7, GaussianMixture(), library=library))
