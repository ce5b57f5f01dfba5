"""Posteriors of single observations, for every pair and where the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor

from tests.conftest import SPECS, Pair, Spec, prepare
from vae4counts.data import Batch, CountMatrix
from vae4counts.data.counts.support import COUNTS
from vae4counts.guides import Guide, guide_for
from vae4counts.guides.local import LocalGuide
from vae4counts.inference.posterior.draws import draw
from vae4counts.inference.posterior.importance import weight_diagnostics
from vae4counts.inference.posterior.refinement import refine
from vae4counts.models import GMVAE, VAE, Model
from vae4counts.models.covariates import NO_COLUMNS, Columns
from vae4counts.models.likelihoods import Poisson
from vae4counts.models.priors import GaussianMixture, StandardNormal


def refined(
    model: Model, guide: Guide, counts: np.ndarray, covariates: Columns = NO_COLUMNS
) -> tuple[LocalGuide, Batch]:
    csr = sp.csr_matrix(counts.astype(np.float32))
    matrix = CountMatrix.from_checked(csr, counts.sum(1), covariates)
    found = refine(model.eval(), guide.eval(), matrix, advance=lambda _: None)
    return found, matrix.batch(torch.arange(len(counts)))


def log_weights(model: Model, guide: Guide, batch: Batch, n: int = 400) -> Tensor:
    return draw(model, guide, batch, n).log_weights


# one of each prior, guide and likelihood, with a latent library or without
LATENT = {
    name: spec
    for name, spec in SPECS.items()
    if (spec.decoder, spec.inputs, spec.support) == ("mlp", None, COUNTS)
    and (
        (spec.model == "vae" and spec.guide == "marginal" and spec.library is not None)
        or (spec.model == "gmvae" and spec.prior == "gaussian-mixture")
    )
}


@pytest.mark.slow
@pytest.mark.parametrize("spec", LATENT.values(), ids=list(LATENT))
def test_every_pair_can_be_refined(spec: Spec, counts: np.ndarray, batch: Batch) -> None:
    pair: Pair = spec.make()
    prepare(pair, batch)
    model, guide = pair
    learnt = {name: p.requires_grad for name, p in model.named_parameters()}
    found, rows = refined(model, guide, counts, batch.covariates)
    before, after = (log_weights(model, each, rows).mean(0) for each in (guide, found))
    assert (after - before).mean() > 0
    assert (after > before - 0.3).all()
    assert {name: p.requires_grad for name, p in model.named_parameters()} == learnt
    assert set(found.sites) == {latent.name for latent in model.latents if latent.states is None}


def scattered(model: Model) -> None:
    """Give a model parameters that make its posteriors differ."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)


def log_evidence(
    model: Model, counts: np.ndarray, prior: torch.distributions.Distribution
) -> Tensor:
    """log p(counts) of a model of one latent dimension, by quadrature."""
    grid = torch.linspace(-12, 12, 4001).unsqueeze(-1)
    x = torch.as_tensor(counts, dtype=torch.float32)
    z = grid.unsqueeze(1).expand(-1, len(x), -1)
    rates = model.rates(z, x.sum(-1, keepdim=True))
    likelihood = torch.distributions.Poisson(rates).log_prob(x).sum(-1)
    joint = likelihood + prior.log_prob(grid.squeeze(-1)).unsqueeze(1)
    return joint.logsumexp(0) + math.log(24 / 4000)


@pytest.mark.parametrize("kind", ["plain", "mixture"])
def test_the_bound_is_near_the_truth(kind: str) -> None:
    counts = np.random.default_rng(0).poisson(3.0, (40, 6))
    prior = StandardNormal(1) if kind == "plain" else GaussianMixture(1, 2)
    model = (VAE if kind == "plain" else GMVAE)(
        6, prior, likelihood=Poisson(), decoder="linear", library="observed"
    )
    scattered(model)
    density: torch.distributions.Distribution = torch.distributions.Normal(0.0, 1.0)
    if kind == "mixture":
        with torch.no_grad():
            prior.loc.copy_(torch.tensor([[-1.5], [1.5]]))
            prior.log_scale.fill_(-1.0)
        loc, scale = (part.detach().squeeze(-1) for part in prior.components())
        density = torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(logits=prior.log_weights().detach()),
            torch.distributions.Normal(loc, scale),
        )
    found, batch = refined(model, guide_for(model), counts)
    truth = log_evidence(model, counts, density)
    weights = log_weights(model, found, batch, 2000)
    lost = truth - weights.mean(0)
    assert lost.min() > -0.1  # the noise of 2,000 draws
    assert lost.median() < 0.05
    away = weights.logsumexp(0) - math.log(2000) - truth
    assert away.max() < 0.05
    # where the guide's draws say nothing of it, a second mode is missed
    assert (away > -0.05).double().mean() > 0.85
    assert weight_diagnostics(weights)["effective"].median() > 0.9


def test_observations_do_not_depend_on_each_other() -> None:
    counts = np.random.default_rng(1).poisson(2.0, (12, 7))
    model = VAE(7, StandardNormal(2))
    scattered(model)
    guide = guide_for(model)
    torch.manual_seed(3)
    together, _ = refined(model, guide, counts)
    torch.manual_seed(3)
    alone, _ = refined(model, guide, counts[:3])
    # they begin from other draws of the guide, and end at the same posteriors
    torch.testing.assert_close(alone.loc, together.loc[:3], rtol=0, atol=0.25)
