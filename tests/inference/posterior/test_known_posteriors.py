"""Draws, weights and intervals against posteriors that are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pyro.infer import Trace_ELBO
from scipy import stats
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.guides import ExactGuide, Guide
from vae4counts.inference.posterior.arviz_export import to_arviz
from vae4counts.inference.posterior.comparison import log_likelihoods
from vae4counts.inference.posterior.importance import largest_k
from vae4counts.inference.posterior.samplers import FromGuide
from vae4counts.models import VAE, CountMixture, Model

pytestmark = pytest.mark.slow

FEATURES = list("abcd")
A, B = 3.0, 0.5
SHARE = np.array([0.5, 0.3, 0.15, 0.05])
Maker = Callable[..., tuple[VAE, Guide]]
Conjugate = Callable[..., tuple[Model, Guide]]


def drawn(model: Model, guide: Guide, batch: Batch, n: int, **options: Any) -> Any:
    """Draws for a batch that comes in two, and a chunk of draws at a time."""
    names = [f"x{i}" for i in range(len(batch))]
    dense = batch.counts.to_dense()
    parts = [
        Batch.of_counts(
            dense[rows].to_sparse_csr(), batch.library[rows], batch.index[rows], len(batch)
        )
        for rows in (slice(0, 2), slice(2, None))
    ]
    return to_arviz(
        model, FromGuide(model.eval(), guide.eval()), parts, names, FEATURES, n, **options
    )


def values(groups: Any, group: str, name: str) -> np.ndarray:
    return groups[group][name].values[0]


def test_draws_follow_a_conjugate_posterior_and_prior(conjugate: Conjugate, few: Batch) -> None:
    draws = drawn(*conjugate(), few, 2000, sites=["library", "counts"])
    assert set(draws["posterior"].data_vars) == {"library"}
    posterior = stats.gamma(A + few.library.numpy(), scale=1 / (B + 1))
    for group, wanted in (("posterior", posterior), ("prior", stats.gamma(A, scale=1 / B))):
        uniforms = wanted.cdf(values(draws, group, "library"))
        assert stats.kstest(uniforms.ravel(), "uniform").pvalue > 1e-4
    for i, total in enumerate(few.library.tolist()):
        # given the library's gamma, each count is negative binomial
        for group, r, rate in (
            ("posterior_predictive", A + total, B + 1),
            ("prior_predictive", A, B),
        ):
            counts = values(draws, group, "counts")[:, i]
            for j, share in enumerate(SHARE):
                wanted = stats.nbinom(r, rate / (rate + share)).pmf(range(3))
                seen = np.bincount(counts[:, j], minlength=3)[:3] / 2000
                assert (np.abs(seen - wanted) < 4 * np.sqrt(wanted / 2000)).all()
    np.testing.assert_array_equal(draws["observed_data"]["counts"], few.counts.to_dense())


def exact_log_likelihood(batch: Batch) -> np.ndarray:
    x, n = batch.counts.to_dense().numpy(), batch.library.numpy()
    gammas = np.vectorize(math.lgamma)
    value = (x * np.log(SHARE) - gammas(x + 1)).sum(1) + A * np.log(B) - math.lgamma(A)
    return value + gammas(A + n) - (A + n) * np.log(B + 1)


def test_the_posterior_as_guide_gives_the_exact_likelihood(
    conjugate: Conjugate, few: Batch
) -> None:
    found = log_likelihoods(*conjugate(), [few], 100)
    np.testing.assert_allclose(found["log_likelihood"], exact_log_likelihood(few), rtol=1e-12)
    assert (found["pareto_k"] == -np.inf).all()
    np.testing.assert_allclose(found["effective_draws"], 1)


def test_wide_guides_are_corrected_and_narrow_ones_found_out(
    conjugate: Conjugate, few: Batch
) -> None:
    found = log_likelihoods(*conjugate(0.5), [few], 4000)
    np.testing.assert_allclose(found["log_likelihood"], exact_log_likelihood(few), atol=0.05)
    assert (found["pareto_k"] < 0.5).all()
    narrow = log_likelihoods(*conjugate(10.0), [few], 4000)
    assert (narrow["pareto_k"] > largest_k(4000)).all()
    assert (narrow["effective_draws"] < found["effective_draws"]).all()
    draws = drawn(*conjugate(0.5), few, 20_000)
    log_weight, library = values(draws, "sample_stats", "log_weight"), draws["posterior"]["library"]
    weight = np.exp(log_weight - log_weight.max(0))
    mean = (weight * library.values[0]).sum(0) / weight.sum(0)
    square = (weight * library.values[0] ** 2).sum(0) / weight.sum(0)
    shape = A + few.library.numpy()
    np.testing.assert_allclose(mean, shape / (B + 1), rtol=0.02)
    np.testing.assert_allclose(square - mean**2, shape / (B + 1) ** 2, rtol=0.1)
    assert (library.values[0].var(0) > 1.7 * shape / (B + 1) ** 2).all()  # the draws alone are off


def test_components_of_a_mixture_without_a_network(few: Batch) -> None:
    """With no other latent the component is drawn from Bayes' rule at the counts."""
    model = CountMixture(4, 3).double()
    draws = drawn(model, ExactGuide(), few, 4000)
    shares = values(draws, "sample_stats", "responsibilities")
    assert shares.shape == (4000, 5, 3)
    component = values(draws, "posterior", "component")
    seen = np.stack([(component == k).mean(0) for k in range(3)], axis=1)
    np.testing.assert_allclose(seen, shares[0], atol=0.035)
    prior = values(draws, "prior", "component")
    assert stats.chisquare(np.bincount(prior.ravel())).pvalue > 1e-4


@torch.no_grad()
def grid_posterior(model: VAE, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Points of a single latent and their posterior probabilities, shape ``(n, points)``."""
    z = torch.linspace(-12, 12, 3001, dtype=torch.float64)
    x = batch.counts.to_dense().unsqueeze(1)
    log_mean = torch.log_softmax(model.decoder(z.unsqueeze(-1)), -1)
    log_mean = log_mean + batch.library.log()[:, None, None]
    log_p = (x * log_mean - log_mean.exp()).sum(-1) + model.prior.log_prob(z.unsqueeze(-1))
    return z.numpy(), log_p.softmax(-1).numpy()


@pytest.mark.parametrize("prior", ["standard-normal", "mixture"])
def test_weighted_draws_agree_with_quadrature(prior: str, few: Batch, a_pair: Maker) -> None:
    torch.manual_seed(2)
    model, guide = a_pair(prior, "marginal", n_latent=1, wide=True)
    draws = drawn(model, guide, few, 40_000)
    z, probability = grid_posterior(model, few)
    log_weight = values(draws, "sample_stats", "log_weight")
    weight = np.exp(log_weight - log_weight.max(0))
    weight /= weight.sum(0)
    sample = values(draws, "posterior", "z")[..., 0]
    for function in (lambda t: t, np.square, lambda t: t < 0.5):
        wanted = probability @ function(z)
        found = (weight * function(sample)).sum(0)
        error = np.sqrt((weight**2 * (function(sample) - found) ** 2).sum(0))
        assert (np.abs(found - wanted) < 4 * error).all()
        assert (error < 0.05).all()


def simulated(model: VAE, n: int) -> tuple[Tensor, Batch]:
    """Latents and counts of ``n`` observations that a model with a latent library makes."""
    nothing = Batch.of_counts(torch.zeros(n, 4).to_sparse_csr(), torch.zeros(n), torch.arange(n), n)
    made = model.eval().draw(nothing, 1)
    counts = made["counts"][0].double()
    batch = Batch.of_counts(counts.to_sparse_csr(), counts.sum(1), torch.arange(n), n)
    return made["z"][0, :, 0], batch


def covered(truth: np.ndarray, sample: np.ndarray, weight: np.ndarray) -> float:
    """Share of the weighted 90 % intervals, a column of draws each, that hold the truth."""
    below = (weight * (sample < truth)).sum(0) / weight.sum(0)
    return float(((below > 0.05) & (below < 0.95)).mean())


@pytest.mark.parametrize("prior", ["standard-normal", "mixture"])
def test_weighted_intervals_cover(prior: str, a_pair: Maker) -> None:
    """90 % intervals of importance-weighted draws, on 1,600 simulated observations."""
    torch.manual_seed(2)
    model, guide = a_pair(prior, "marginal", n_latent=1, library="latent", wide=True)
    truth, batch = simulated(model, 1600)
    draws = drawn(model, guide, batch, 1000)
    weight = values(draws, "sample_stats", "log_weight")
    weight = np.exp(weight - weight.max(0))
    sample = values(draws, "posterior", "z")[..., 0]
    assert 0.87 < covered(truth.numpy(), sample, weight) < 0.93
    assert covered(truth.numpy(), sample, np.ones_like(weight)) > 0.95  # the wide guide as it is


def test_intervals_of_a_trained_guide_cover(a_pair: Maker) -> None:
    """The same with the draws as they are, of a guide that is trained under the true model."""
    torch.manual_seed(2)
    model, guide = a_pair("standard-normal", "marginal", n_latent=1, library="latent")
    _, training = simulated(model, 1000)
    truth, batch = simulated(model, 800)
    objective = Trace_ELBO()
    optimiser = torch.optim.Adam(guide.parameters(), 5e-3)
    for _ in range(300):
        optimiser.zero_grad()
        (objective.differentiable_loss(model, guide, training) / 1000).backward()
        optimiser.step()
    sample = values(drawn(model, guide, batch, 1000), "posterior", "z")[..., 0]
    share = covered(truth.numpy(), sample, np.ones_like(sample))
    assert 0.85 < share < 0.95
