"""The Gaussian guide with a full covariance, against SciPy and its own draws."""

from __future__ import annotations

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from scipy import stats

from vae4counts.data import Batch
from vae4counts.guides import Encoder, FullCovarianceGuide, MarginalGuide, guide_for
from vae4counts.models import VAE
from vae4counts.models.priors import StandardNormal, VampPrior


def a_guide(*, latent_library: bool = False) -> FullCovarianceGuide:
    """A guide in evaluation mode and float64, whose covariances are far from diagonal."""
    guide = FullCovarianceGuide(7, 3, latent_library, Encoder((8,))).double().eval()
    for parameter in guide.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return guide


@pytest.fixture
def wide(batch: Batch) -> Batch:
    """The batch in float64."""
    return Batch.of_counts(
        batch.counts.double(), batch.library.double(), batch.index, batch.n_observations
    )


@torch.no_grad()
def test_library_and_latents_are_jointly_gaussian(wide: Batch) -> None:
    """The densities of the two sites make up that of one Gaussian of (log library, z)."""
    guide = a_guide(latent_library=True)
    assert guide.library_head is not None
    trace = poutine.trace(guide).get_trace(wide)
    trace.compute_log_prob()
    library, z = (trace.nodes[name]["value"] for name in ("library", "z"))
    found = sum(trace.nodes[name]["unscaled_log_prob"] for name in ("library", "z"))
    features = guide.encoder(wide.counts)
    deviation, scale = guide.library_head.head(features)
    loc, factor = guide.head(features)
    for i in range(len(wide)):
        whole = np.zeros((4, 4))
        whole[0, 0], whole[1:] = scale[i].item(), factor[i].numpy()
        assert (np.triu(whole, 1) == 0).all()
        assert (np.diag(whole) > 0).all()
        mean = [wide.library[i].clamp_min(1).log() + deviation[i, 0], *loc[i]]
        joint = stats.multivariate_normal(mean, whole @ whole.T)
        expected = joint.logpdf([library[i].log(), *z[i]]) - library[i].log()
        assert found[i].item() == pytest.approx(expected.item(), rel=1e-8)


@pytest.mark.parametrize("latent_library", [False, True])
@torch.no_grad()
def test_posterior_gives_the_moments_of_the_draws(latent_library: bool, wide: Batch) -> None:
    guide = a_guide(latent_library=latent_library)
    loc, scale = guide.posterior(wide.counts)
    with pyro.plate("samples", 20_000, dim=-2):
        z = guide(wide)
    torch.testing.assert_close(z.std(0), scale, rtol=0.04, atol=0)
    assert ((z.mean(0) - loc).abs() < 5 * scale / 20_000**0.5).all()


@torch.no_grad()
def test_latents_are_independent_at_the_start(batch: Batch) -> None:
    guide = FullCovarianceGuide(7, 3, latent_library=True).eval()
    loc, factor = guide.head(guide.encoder(batch.counts))
    alone, scale = guide.head.gaussian(guide.encoder(batch.counts))
    assert loc.equal(alone)
    assert factor[..., 0].eq(0).all()
    assert factor[..., 1:].equal(torch.diag_embed(scale))


def test_a_prior_is_made_of_its_means_and_standard_deviations(batch: Batch) -> None:
    model = VAE(7, VampPrior(3, 4))
    guide = guide_for(model, "full-covariance")
    assert isinstance(guide, FullCovarianceGuide)
    model.prior.initialise(batch)
    inputs = torch.nn.functional.softplus(model.prior.pseudo_inputs)
    assert all(map(torch.equal, model.prior.components(), guide.eval().posterior(inputs)))


def test_it_is_no_default() -> None:
    assert type(guide_for(VAE(7, StandardNormal(2)))) is MarginalGuide
