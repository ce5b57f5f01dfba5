"""Refined draws, chains and bounds against what data were simulated from, and against NUTS."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from pyro.infer import MCMC, NUTS
from scipy import stats
from torch import Tensor

from vae4counts.data import CountMatrix
from vae4counts.guides import guide_for
from vae4counts.guides.local import LocalGuide
from vae4counts.inference.posterior.annealing import lower_bound, upper_bound
from vae4counts.inference.posterior.refinement import refine
from vae4counts.inference.posterior.samplers import HMC, FromGuide, Sampler
from vae4counts.models import VAE
from vae4counts.models.likelihoods import Poisson
from vae4counts.models.priors import StandardNormal

pytestmark = pytest.mark.slow

N, L, DRAWS, BINS = 300, 2, 99, 10


@pytest.fixture(scope="module")
def simulated() -> tuple[VAE, CountMatrix, Tensor]:
    """A model, observations that it made, and the latents that they were made from."""
    torch.manual_seed(0)
    model = VAE(8, StandardNormal(L), Poisson(), decoder="linear", library=None).eval()
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.copy_(0.7 * torch.randn_like(parameter))
    blank = CountMatrix.from_checked(sp.csr_matrix((N, 8), dtype=np.float32), np.zeros(N))
    drawn = model.draw(blank.batch(torch.arange(N)), 1)
    counts = drawn["counts"][0].numpy()
    return model, CountMatrix.from_checked(sp.csr_matrix(counts), counts.sum(1)), drawn["z"][0]


@pytest.fixture(scope="module")
def local(simulated: tuple[VAE, CountMatrix, Tensor]) -> LocalGuide:
    model, counts, _ = simulated
    torch.manual_seed(1)
    found = refine(model, guide_for(model).eval(), counts, advance=lambda _: None)
    assert isinstance(found, LocalGuide)
    return found


def drawn(sampler: Sampler, counts: CountMatrix, n: int = N) -> Tensor:
    """Draws of ``z``, shape ``(S, n, L)``."""
    batch = counts.batch(torch.arange(n))
    parts = sampler.draws(batch, DRAWS // sampler.chains)
    return torch.cat([part.values["z"] for part in parts])


@pytest.mark.parametrize("method", ["refined", "hmc"])
def test_the_truth_is_one_of_the_draws(
    method: str, simulated: tuple[VAE, CountMatrix, Tensor], local: LocalGuide
) -> None:
    """Simulation-based calibration (Talts et al. 2018): its rank among them is uniform."""
    model, counts, truth = simulated
    sampler = FromGuide(model, local) if method == "refined" else HMC(model, local, chains=3)
    z = drawn(sampler, counts)
    assert z.shape == (DRAWS, N, L)
    ranks = (z < truth).sum(0).numpy() * BINS // (DRAWS + 1)
    for latent in ranks.T:
        assert stats.chisquare(np.bincount(latent, minlength=BINS)).pvalue > 1e-3
    lower, upper = torch.quantile(z, torch.tensor([0.05, 0.95]), dim=0)
    assert 0.86 < ((truth > lower) & (truth < upper)).float().mean() < 0.94


def test_bounds_lie_on_both_sides(
    simulated: tuple[VAE, CountMatrix, Tensor], local: LocalGuide
) -> None:
    model, counts, truth = simulated
    batch = counts.batch(torch.arange(100))
    below = lower_bound(model, local, batch, chains=4).double().mean()
    above = upper_bound(model, local, batch, truth[:100]).double().mean()
    side = torch.linspace(-7, 7, 141)
    grid = torch.cartesian_prod(side, side)
    rates = model.rates(grid.unsqueeze(1), None)
    log_p = torch.distributions.Poisson(rates).log_prob(batch.counts.to_dense()).sum(-1)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(grid).sum(-1, keepdim=True)
    exact = ((log_p + prior).double().logsumexp(0) + 2 * np.log(0.1)).mean()
    assert below - 0.02 < exact < above + 0.02
    assert above - below < 0.1


def test_chains_agree_with_nuts(
    simulated: tuple[VAE, CountMatrix, Tensor], local: LocalGuide
) -> None:
    model, counts, _ = simulated
    few = 3
    z = torch.cat(
        [part.values["z"] for part in HMC(model, local).draws(counts.batch(torch.arange(few)), 500)]
    )
    alone = counts.subset(torch.arange(few))
    oracle = MCMC(
        NUTS(model), num_samples=250, warmup_steps=100, num_chains=1, disable_progbar=True
    )
    oracle.run(alone.batch(torch.arange(few)))
    wanted = oracle.get_samples()["z"]
    scale = wanted.std(0)
    assert ((z.mean(0) - wanted.mean(0)) / scale).abs().max() < 0.25
    torch.testing.assert_close(z.std(0) / scale, torch.ones(few, L), rtol=0, atol=0.2)
