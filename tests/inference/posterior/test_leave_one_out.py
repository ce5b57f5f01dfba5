"""Each count given all others: against sums over components, and against a Gaussian."""

from __future__ import annotations

import math

import anndata
import numpy as np
import pytest
import torch
from scipy import stats

from vae4counts.data import CountLoader
from vae4counts.guides import guide_for
from vae4counts.inference import evaluate, fit
from vae4counts.inference.posterior.draws import draw
from vae4counts.inference.posterior.leave_one_out import leave_one_out, without_each_count
from vae4counts.models import VAE, CountMixture, NotInModelError
from vae4counts.models.joint import ChowLiuTree
from vae4counts.models.likelihoods import Multinomial, Poisson
from vae4counts.models.priors import StandardNormal


@pytest.fixture
def table(counts: np.ndarray) -> CountLoader:
    kept = counts[counts.sum(1) > 0].clip(max=9).astype(np.float32)
    return CountLoader(anndata.AnnData(kept), batch_size=5, shuffle=False)


def test_of_a_mixture(table: CountLoader) -> None:
    torch.manual_seed(0)
    model = CountMixture(7, 3, Poisson(), library=None)
    torch.nn.init.normal_(model.logits)
    values = torch.cat([batch.counts.to_dense() for batch in table]).double().numpy()
    with torch.no_grad():
        rates, weights = model.outputs.double().exp().numpy(), model.logits.softmax(-1).numpy()
    each = stats.poisson.logpmf(values[:, None], rates)  # (N, K, G)
    log_joint = np.log(weights)[:, None] + each.sum(-1, keepdims=True) + 0 * each
    expected = np.logaddexp.reduce(log_joint, 1) - np.logaddexp.reduce(log_joint - each, 1)
    found = evaluate(model, guide_for(model), table)
    total = expected.sum(-1)
    assert found.leave_one_out == pytest.approx(total.mean(), rel=1e-5)
    assert found.leave_one_out_se == pytest.approx(stats.sem(total), rel=1e-4)
    log_p = np.logaddexp.reduce(np.log(weights) + each.sum(-1), 1)
    assert found.log_likelihood == pytest.approx(log_p.mean(), rel=1e-5)
    assert found.log_likelihood_se == pytest.approx(stats.sem(log_p), rel=1e-4)
    assert found.iw_samples == 1


def test_by_importance_weights() -> None:
    torch.manual_seed(0)
    n_draws, x = 20_000, torch.tensor([[0.5, -1.0, 2.0]], dtype=torch.float64)
    z = torch.randn(n_draws, 1, dtype=torch.float64) * 1.2  # x_d | z ~ N(z, 1), z ~ N(0, 1)
    given = torch.distributions.Normal(z.unsqueeze(-1), 1.0).log_prob(x)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(z)
    log_weights = given.sum(-1) + prior - torch.distributions.Normal(0.0, 1.2).log_prob(z)
    found, k = leave_one_out(log_weights, given)
    covariance = np.eye(3) + 1
    for d, own in enumerate(x[0].tolist()):
        rest = [j for j in range(3) if j != d]
        slope = covariance[d, rest] @ np.linalg.inv(covariance[np.ix_(rest, rest)])
        deviation = math.sqrt(covariance[d, d] - slope @ covariance[rest, d])
        wanted = stats.norm.logpdf(own, slope @ x[0, rest].numpy(), deviation)
        assert found[0, d].item() == pytest.approx(wanted, abs=0.02)
    assert k is not None
    assert (k < 0.7).all()
    few, none = leave_one_out(log_weights[:50], given[:50])
    assert none is None
    torch.testing.assert_close(few, found, atol=0.5, rtol=0)


def test_of_a_vae_only_if_asked_for(table: CountLoader) -> None:
    model = VAE(7, StandardNormal(2), library=None)
    guide = guide_for(model)
    assert evaluate(model, guide, table).leave_one_out is None
    found = evaluate(model, guide, table, leave_one_out=True)
    assert found.log_likelihood is None
    assert found.leave_one_out is not None
    assert 0 <= found.leave_one_out_pareto_k_high <= 1


def test_a_count_is_predicted_by_draws_that_do_not_know_it() -> None:
    """Against draws from the prior, which see no count at all."""
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(2, 6)) * 1.8
    rates = np.exp((rng.normal(size=(1500, 2)) @ loadings - 3).clip(max=3))
    counts = rng.poisson(rates).astype(np.float32)
    counts = counts[counts.sum(1) > 0]
    model = VAE(6, StandardNormal(2), Poisson(), decoder="linear", library=None)
    run = fit(model, guide_for(model), counts, epochs=30, seed=0, progress=False)
    torch.manual_seed(0)
    z, features = torch.randn(50_000, 2), torch.arange(6)
    x = torch.tensor(counts[:50])
    with torch.no_grad():
        given_z = run.model.likelihood(run.model.decoder(z), None)
        log_p = [given_z.log_prob_at(features, row.expand(len(z), 6)).double() for row in x]
    total = [each.sum(-1, keepdim=True) for each in log_p]
    expected = torch.stack(
        [
            (of_all.logsumexp(0) - (of_all - each).logsumexp(0)).sum()
            for of_all, each in zip(total, log_p, strict=True)
        ]
    )

    batch = next(iter(CountLoader(anndata.AnnData(counts[:50]), batch_size=50, shuffle=False)))
    draws = draw(run.model, run.guide, batch, 500, conditionals=True)
    assert draws.conditionals is not None
    told, _ = leave_one_out(draws.log_weights, draws.conditionals)
    found, _ = without_each_count(
        run.model, run.guide, batch, draws.log_weights, draws.conditionals
    )
    error = (found.sum(-1) - expected).abs().mean()
    assert error < 0.6 * (told.sum(-1) - expected).abs().mean()
    assert found.sum(-1).mean() == pytest.approx(expected.mean().item(), abs=0.05)


def test_models_that_cannot(table: CountLoader) -> None:
    model = VAE(7, StandardNormal(2), Multinomial())
    with pytest.raises(NotInModelError, match="total"):
        evaluate(model, guide_for(model), table, leave_one_out=True)
    mixture = CountMixture(7, 2, Multinomial())
    assert evaluate(mixture, guide_for(mixture), table).leave_one_out is None


def test_a_tree_beats_nothing_known(table: CountLoader) -> None:
    model = ChowLiuTree(7, n_states=3)
    model.learn(table)
    found = evaluate(model, guide_for(model), table)
    assert found.leave_one_out > found.log_likelihood
