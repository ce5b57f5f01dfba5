"""Mixtures without a network: the ELBO is the exact log-likelihood."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from scipy import stats

from vae4counts.data import Batch
from vae4counts.guides import ExactGuide, guide_for
from vae4counts.inference import evaluate
from vae4counts.inference.posterior.draws import draw
from vae4counts.models import CountMixture, GaussianMixtureModel, Model
from vae4counts.models.likelihoods import Poisson


def poisson_mixture() -> Model:
    return CountMixture(4, 3, Poisson())


def gaussian_mixture() -> Model:
    return GaussianMixtureModel(4, 3)


def by_hand(model: Model, batch: Batch) -> np.ndarray:
    """Return log p(component, x), shape ``(n, K)``, from scipy."""
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    x = batch.counts.to_dense().numpy()[:, None]
    if isinstance(model, CountMixture):
        weights = np.exp(state["logits"]) / np.exp(state["logits"]).sum()
        rates = np.exp(state["outputs"])
        means = rates / rates.sum(1, keepdims=True) * x.sum(-1, keepdims=True)
        return np.log(weights) + stats.poisson.logpmf(x, means).sum(-1)
    scale = np.exp(state["mixture.log_scale"]) + 0.01
    logits = state["mixture.logits"]
    weights = 0.999 * np.exp(logits) / np.exp(logits).sum() + 0.001 / 3
    densities = stats.norm.logpdf(np.log1p(x), state["mixture.loc"], scale)
    return np.log(weights) + densities.sum(-1)


@pytest.fixture(params=[poisson_mixture, gaussian_mixture])
def model(request: pytest.FixtureRequest) -> Model:
    """A mixture in float64, with parameters far from their start."""
    model = request.param().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter)
    return model


def test_elbo_is_the_exact_log_likelihood(model: Model, few: Batch) -> None:
    exact = np.logaddexp.reduce(by_hand(model, few), axis=1)
    guide = guide_for(model)
    assert isinstance(guide, ExactGuide)
    for samples in (1, 10):
        result = evaluate(model, guide, [few], num_samples=samples)
        assert result.elbo == pytest.approx(exact.mean(), rel=1e-10)
        assert result.iw_log_likelihood == pytest.approx(exact.mean(), rel=1e-10)
        assert result.elbo_parts == {"counts": pytest.approx(exact.mean(), rel=1e-10)}
    objective = TraceEnum_ELBO(max_plate_nesting=1)(model, guide)
    assert objective(few).item() == pytest.approx(-exact.mean() * 20, rel=1e-10)


def test_responsibilities_follow_bayes_rule(model: Model, few: Batch) -> None:
    joint = by_hand(model, few)
    wanted = np.exp(joint - np.logaddexp.reduce(joint, axis=1)[:, None])
    draws = draw(model, guide_for(model), few, 6)
    assert draws.responsibilities is not None
    assert draws.responsibilities.shape == (6, 5, 3)
    for shares in draws.responsibilities:
        np.testing.assert_allclose(shares, wanted, rtol=1e-8)
    assert draws.z_mean is None
    assert not draws.values
