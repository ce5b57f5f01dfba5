"""The topic prior: its density, and how close it is to a Dirichlet distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from vae4counts.models import VAE, MLPDecoder, TopicDecoder
from vae4counts.models.priors import TopicPrior


def test_the_density_is_that_of_independent_gaussians() -> None:
    prior = TopicPrior(3).double()
    with torch.no_grad():
        prior.log_scale.copy_(torch.tensor([-1.0, 0.0, 1.5]))
    z = 2 * torch.randn(20, 3).double()
    wanted = stats.norm.logpdf(z.numpy(), 0, np.exp([-1.0, 0.0, 1.5])).sum(-1)
    np.testing.assert_allclose(prior.log_prob(z).detach(), wanted, rtol=1e-12)
    assert torch.autograd.gradcheck(prior.log_prob, z.requires_grad_())


@pytest.mark.parametrize("concentration", [1.0, 3.0, 10.0])
def test_it_starts_at_laplaces_approximation_of_a_dirichlet(concentration: float) -> None:
    """The mode and the curvature of the Dirichlet's density in softmax coordinates.

    The density of ``z`` whose softmax is Dirichlet is ``sum_k alpha (z_k - logsumexp(z))``, flat
    along ``(1, ..., 1)``; across it, its curvature at 0 is ``-alpha``.
    """
    n = 5
    z = torch.zeros(n, dtype=torch.float64)

    def log_density(z: torch.Tensor) -> torch.Tensor:
        return concentration * z.log_softmax(-1).sum()

    slope = torch.autograd.functional.jacobian(log_density, z)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-12, rtol=0)
    curvature = -torch.autograd.functional.hessian(log_density, z)
    variances = torch.linalg.pinv(curvature).diagonal()
    scales = TopicPrior(n, concentration).log_scale.detach().double().exp()
    torch.testing.assert_close(scales**2, variances, rtol=1e-6, atol=0)


def test_small_concentrations_give_few_topics() -> None:
    largest = []
    for concentration in (0.05, 1.0, 20.0):
        scale = TopicPrior(10, concentration).log_scale.detach().exp()
        shares = (scale * torch.randn(2000, 10)).softmax(-1)
        largest.append(shares.amax(-1).mean().item())
    assert largest[0] > 0.7
    assert largest[1] < 0.5
    assert largest[2] < 0.2


def test_the_decoder_that_goes_with_it() -> None:
    assert isinstance(VAE(7, TopicPrior(3)).decoder, TopicDecoder)
    assert isinstance(VAE(7, TopicPrior(3), decoder="mlp").decoder, MLPDecoder)
    assert isinstance(VAE(7).decoder, MLPDecoder)


@pytest.mark.parametrize("concentration", [0.0, -1.0, float("nan")])
def test_concentrations_that_are_refused(concentration: float) -> None:
    with pytest.raises(ValueError, match=r"concentration is .*: it must be above 0"):
        TopicPrior(3, concentration)
