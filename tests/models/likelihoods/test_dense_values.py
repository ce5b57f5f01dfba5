"""Values that are not counts: missing entries, units, and shares of exactly 0 and 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from scipy import integrate, stats
from sklearn.decomposition import FactorAnalysis
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.data.counts.batch import Table
from vae4counts.guides import Encoder, guide_for
from vae4counts.models import VAE, start_from_data
from vae4counts.models.likelihoods import Bernoulli, Beta, BetaValues, Gaussian, GaussianValues
from vae4counts.models.priors import StandardNormal


def test_missing_entries_add_nothing_to_values_and_gradients(case: Any, counts: Tensor) -> None:
    if not case.is_dense:
        pytest.skip("has no missing entries")
    likelihood, missing = case.make(), counts.isnan()
    outputs = case.outputs(4).requires_grad_()
    found = likelihood(outputs, None).log_prob(counts)
    assert found[3] == 0  # an observation of which all is missing
    (slopes,) = torch.autograd.grad(found.sum(), outputs)
    assert slopes.isfinite().all()
    assert (slopes.unflatten(-1, (-1, 5)).movedim(1, 0)[:, missing] == 0).all()
    # the sum over the entries that are there, one at a time
    for i, j in (~missing).nonzero():
        found[i] = found[i] - likelihood(outputs, None).log_prob_at(j[None], counts[i, j])[i, 0]
    torch.testing.assert_close(found, torch.zeros_like(found))


def test_gaussian_agrees_with_scipy() -> None:
    loc, scale = torch.randn(3, 5).double() * 10, torch.rand(3, 5).double() + 0.1
    x = loc + 2 * torch.randn(4, 3, 5)
    wanted = stats.norm.logpdf(x, loc, scale).sum(-1)
    np.testing.assert_allclose(GaussianValues(loc, scale).log_prob(x), wanted, rtol=1e-12)


@pytest.mark.parametrize("extent", ["shared", "feature", "observation"])
def test_gaussian_starts_at_the_moments_of_what_is_there(extent: str) -> None:
    likelihood = Gaussian(extent)
    likelihood.build(4)
    x = torch.randn(50, 4) * torch.tensor([1e-4, 3, 5000, 0]) + torch.tensor([0, 1, -2e4, 7])
    x[::3, 1], x[:, 3] = torch.nan, 7
    started = likelihood(likelihood.start(x)[None], None)
    torch.testing.assert_close(started.mean[0], x.nanmean(0))
    deviation = np.where(np.nanstd(x, 0) > 0, np.nanstd(x, 0), 1)  # of one value there is no unit
    np.testing.assert_allclose(started.variance.detach().sqrt()[0], deviation, rtol=1e-5)


def test_gaussian_does_not_depend_on_units() -> None:
    """Up to the logarithm of the unit, which a density has."""
    x, outputs = torch.randn(30, 3).double(), torch.randn(30, 3).double()
    found = []
    for unit in (1.0, 1000.0):
        likelihood = Gaussian().double()
        likelihood.build(3)
        likelihood.double().start(x * unit)
        found.append(likelihood(outputs, None).log_prob(x * unit))
    torch.testing.assert_close(found[1], found[0] - 3 * np.log(1000))


def test_expected_values_are_compared_without_units() -> None:
    x = torch.tensor([[1.0, 2], [3, 10]]).double()
    found = []
    for unit in (1.0, 1000.0):
        likelihood = Gaussian().double()
        likelihood.build(2)
        likelihood.double().start(x * unit)
        low, high = likelihood.comparable(x * unit)
        found.append(high - low)
        torch.testing.assert_close(found[-1], torch.full((2,), 2.0).double())  # deviations
    odds = torch.tensor([0.25, 4.0])
    for kind in (Beta, Bernoulli):
        torch.testing.assert_close(kind().comparable(odds / (1 + odds)), odds.log2())


def test_a_table_without_values_is_a_start() -> None:
    for likelihood in (Gaussian(), Beta(), Bernoulli()):
        likelihood.build(3)
        for values in (torch.empty(0, 3), torch.full((2, 3), torch.nan)):
            assert likelihood.start(values).isfinite().all()


GRID = [(m, c) for m in (0.003, 0.1, 0.5, 0.95) for c in (0.02, 0.7, 3.0, 40.0, 400.0)]


def beta(*parameters: float) -> BetaValues:
    return BetaValues(*(torch.tensor([value], dtype=torch.float64) for value in parameters))


@pytest.mark.parametrize(("mean", "concentration"), GRID)
def test_beta_agrees_with_scipy(mean: float, concentration: float) -> None:
    a, b = mean * concentration, (1 - mean) * concentration
    distribution = beta(mean, concentration)
    inside = np.array([0.001, 0.02, 0.4, 0.9, 0.9989])
    found = distribution.log_prob(torch.tensor(inside[:, None]))
    np.testing.assert_allclose(found, stats.beta.logpdf(inside, a, b), rtol=1e-9, atol=1e-9)
    ends = distribution.log_prob(torch.tensor([[0.0], [9e-4], [1.0]], dtype=torch.float64))
    reference = stats.beta(a, b)
    tails = np.array([reference.logcdf(1e-3), reference.logcdf(1e-3), reference.logsf(1 - 1e-3)])
    there = tails > -500  # below, scipy underflows
    # the error that is documented
    error = 1e-6 + 0.05 * (max(a, b) * 1e-3) ** 2
    np.testing.assert_allclose(ends[there], tails[there] + np.log(1000), atol=error)


@pytest.mark.parametrize(("mean", "concentration"), [(0.1, 0.7), (0.5, 3.0), (0.05, 40.0)])
def test_densities_of_a_beta_integrate_to_one(mean: float, concentration: float) -> None:
    distribution = beta(mean, concentration)

    def density(x: float) -> float:
        return float(distribution.log_prob(torch.tensor([x], dtype=torch.float64)).exp())

    inside, _ = integrate.quad(density, 1e-3, 1 - 1e-3, limit=200)
    assert inside + 1e-3 * (density(0) + density(1)) == pytest.approx(1, abs=1e-4)


def test_beta_at_its_bounds_is_finite_in_float32() -> None:
    likelihood = Beta("observation")
    likelihood.build(6)
    x = torch.tensor([[0, 1, 0.5, 1e-8, 1 - 1e-7, torch.nan]])
    for logit in (-1e3, -20.0, 0.0, 20.0, 1e3):
        for log_c in (-1e3, 0.0, 1e3):
            outputs = torch.tensor([[logit] * 6 + [log_c] * 6], requires_grad=True)
            value = likelihood(outputs, None).log_prob(x)
            value.sum().backward()
            assert value.isfinite().all()
            assert outputs.grad is not None
            assert outputs.grad.isfinite().all()


@pytest.mark.parametrize("resolution", [0, 0.5, -1])
def test_a_resolution_out_of_range(resolution: float) -> None:
    with pytest.raises(ValueError, match=f"resolution is {resolution}: it must be between 0 and"):
        Beta(resolution=resolution)


def test_samples_of_a_beta_follow_it() -> None:
    mean, c = torch.tensor([0.2, 0.7]).double(), torch.tensor([3.0, 0.5]).double()
    x = BetaValues(mean, c).sample(torch.Size([4000])).numpy()
    for j, (m, k) in enumerate(zip(mean.tolist(), c.tolist(), strict=True)):
        assert stats.kstest(x[:, j], stats.beta(m * k, (1 - m) * k).cdf).pvalue > 1e-3


@pytest.mark.slow
def test_a_linear_gaussian_vae_explains_what_factor_analysis_does() -> None:
    """Its bound on held-out observations is the likelihood of factor analysis, nearly."""
    random = np.random.default_rng(0)
    loadings, unit = random.normal(size=(2, 6)), np.array([1, 100, 1e-3, 5, 1, 1])
    noise = random.normal(size=(1200, 6))
    x = ((random.normal(size=(1200, 2)) @ loadings + 0.5 * noise + 3) * unit).astype(np.float32)
    train, test = x[:1000], x[1000:]
    wanted = FactorAnalysis(2, tol=1e-6).fit(train / unit).score(test / unit) - np.log(unit).sum()
    model = VAE(6, StandardNormal(2), Gaussian(), decoder="linear")
    guide = guide_for(model, "full-covariance", Encoder((32,), dropout=0.0, norm="none"))

    def batch(values: np.ndarray) -> Batch:
        rows = torch.arange(len(values))
        return Batch({"counts": Table(torch.tensor(values))}, rows, len(values))

    for part in (model, guide):
        start_from_data(part, batch(train))
    elbo = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)(model, guide)
    optimiser = torch.optim.Adam(elbo.parameters(), 2e-2)
    for _ in range(250):
        optimiser.zero_grad()
        elbo(batch(train)).backward()
        optimiser.step()
    losses = [float(elbo.eval()(batch(test)).detach()) for _ in range(20)]
    assert -np.mean(losses) / len(test) == pytest.approx(wanted, abs=0.1)
