"""Comparison of runs: log-likelihoods, ranks, standard errors, and what may not be compared."""

from __future__ import annotations

import math
from typing import Any

import arviz
import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

from vae4counts.data import DataError
from vae4counts.guides import guide_for
from vae4counts.inference import Run, compare, fit
from vae4counts.inference.posterior.comparison import largest_k, rank, smoothed_log_mean
from vae4counts.models import VAE, MLPDecoder
from vae4counts.models.likelihoods import Categorical, Likelihood, NegativeBinomial, Poisson
from vae4counts.models.priors import StandardNormal


def fitted(
    adata: AnnData,
    likelihood: Likelihood | None = None,
    *,
    library: str = "observed",
    epochs: int = 1,
    log_r: float = 0.0,
    **settings: Any,
) -> Run:
    torch.manual_seed(0)
    decoder = MLPDecoder((16,))
    model = VAE(adata.n_vars, StandardNormal(2), likelihood or Poisson(), decoder, library)
    for own in model.likelihood.own.values():
        torch.nn.init.constant_(own, log_r)
    options = {"progress": False, "device": "cpu", "epochs": epochs} | settings
    return fit(model, guide_for(model), adata, **options)


def test_pareto_smoothing_keeps_the_scale() -> None:
    """Against ArviZ's weights before normalisation, and against an integral that is known."""
    rng = np.random.default_rng(0)
    log_weights = rng.normal(-700, 0.8, size=(200, 1000))
    value, k = smoothed_log_mean(log_weights)
    exact = -700 + 0.8**2 / 2
    assert abs(value.mean() - exact) < 0.01
    assert np.abs(value - exact).max() < 0.2
    assert (k < largest_k(1000)).mean() > 0.95
    if arviz.__version__.startswith("0"):
        smoothed, shapes = arviz.psislw(log_weights[:5], normalize=False)
        np.testing.assert_allclose(value[:5], np.logaddexp.reduce(smoothed, 1) - math.log(1000))
        np.testing.assert_allclose(k[:5], shapes)


def test_heavy_tails_are_found_and_equal_weights_are_fine() -> None:
    rng = np.random.default_rng(0)
    pareto = -np.log(rng.random((50, 2000)))  # weights 1 / u: a tail of shape 1
    _, k = smoothed_log_mean(pareto)
    assert k.mean() == pytest.approx(1, abs=0.15)
    assert (k > largest_k(2000)).mean() > 0.9
    value, k = smoothed_log_mean(np.full((2, 100), -3.5))
    np.testing.assert_allclose(value, -3.5)
    assert (k == -np.inf).all()


def test_largest_k() -> None:
    assert largest_k(100) == pytest.approx(0.5)
    assert largest_k(10**6) == 0.7


def test_ranks_and_paired_errors_by_hand() -> None:
    rng = np.random.default_rng(0)
    easy = rng.normal(-100, 20, size=50)
    a, b, c = easy, easy + rng.normal(1, 0.5, size=50), easy - 5
    table = rank({"a": a, "b": b, "c": c})
    assert list(table.index) == ["b", "a", "c"]
    assert list(table["rank"]) == [0, 1, 2]
    np.testing.assert_allclose(table["log_likelihood"], [b.mean(), a.mean(), c.mean()])
    np.testing.assert_allclose(table["se"]["a"], a.std(ddof=1) / 50**0.5)
    np.testing.assert_allclose(table["difference"], [0, (a - b).mean(), (c - b).mean()], atol=1e-12)
    paired = [0, (a - b).std(ddof=1) / 50**0.5, (c - b).std(ddof=1) / 50**0.5]
    np.testing.assert_allclose(table["difference_se"], paired, atol=1e-12)
    assert table["difference_se"]["a"] < table["se"]["a"] / 10


def simulate(inverse_dispersion: float | None) -> AnnData:
    """600 observations of 20 counts along two latents: NB, or Poisson where there is none."""
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(600, 2)) @ (0.6 * rng.normal(size=(2, 20)))
    share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    mean = 150 * share
    if inverse_dispersion is not None:
        mean = mean * rng.gamma(inverse_dispersion, 1 / inverse_dispersion, mean.shape)
    names = pd.Index([f"o{i}" for i in range(600)])
    return AnnData(rng.poisson(mean).astype(np.float32), pd.DataFrame(index=names))


@pytest.mark.filterwarnings("ignore:for over 10 % of the observations")
def test_the_true_family_wins() -> None:

    def trained(adata: AnnData) -> dict[str, Run]:
        settings: dict[str, Any] = {"epochs": 60, "learning_rate": 3e-2}
        runs = {"poisson": fitted(adata, Poisson(), **settings)}
        return runs | {"nb": fitted(adata, NegativeBinomial(), log_r=3.0, **settings)}

    overdispersed, plain = simulate(1.5), simulate(None)
    table = compare(trained(overdispersed), overdispersed, num_samples=200)
    assert list(table.index) == ["nb", "poisson"]
    loss = -table["difference"]["poisson"]
    assert loss > 5 * table["difference_se"]["poisson"]
    # a Poisson is the limit of a negative binomial: what that loses is left from training
    runs = trained(plain)
    table = compare(runs, plain, num_samples=200)
    assert table["difference"].iloc[1] > -0.05 * loss
    assert table["log_likelihood"].iloc[0] == pytest.approx(
        runs[table.index[0]].evaluate(plain, num_samples=500).iw_log_likelihood, abs=0.2
    )


@pytest.mark.filterwarnings("ignore:for over 10 % of the observations")
def test_log_likelihoods_are_those_of_held_out_observations_by_name(adata: AnnData) -> None:
    run = fitted(adata)
    table = run.log_likelihoods(adata, 200)
    assert list(table.index) == list(adata.obs_names[run.split.test])
    assert list(table.columns) == ["log_likelihood", "pareto_k"]
    again = compare({"a": run, "b": run}, adata, num_samples=200)
    assert again["difference"].tolist() == again["difference_se"].tolist() == [0, 0]
    assert again["log_likelihood"]["a"] == pytest.approx(table["log_likelihood"].mean())
    assert again["bad_k"]["a"] == (table["pareto_k"] > largest_k(200)).mean()
    other = adata.copy()
    other.obs_names = [f"new-{name}" for name in adata.obs_names]
    assert len(run.log_likelihoods(other, 100)) == 100
    compare({"a": run, "b": fitted(adata, seed=4)}, other, num_samples=100)  # neither has seen them


def test_runs_that_cannot_be_compared(adata: AnnData) -> None:
    run = fitted(adata)
    with pytest.raises(ValueError, match="two runs or more"):
        compare({"a": run}, adata)
    with pytest.raises(ValueError, match="num_samples is 99: it must be 100 or more"):
        compare({"a": run, "b": run}, adata, num_samples=99)
    with pytest.raises(DataError, match=r"a and b have not held out the same .* same seed"):
        compare({"a": run, "b": fitted(adata, seed=1)}, adata)
    with pytest.raises(DataError, match="a has 7 features and b has 6, not the same"):
        compare({"a": run, "b": fitted(adata[:, 1:].copy())}, adata)
    other = adata.copy()
    other.obs_names = [f"new-{name}" for name in adata.obs_names]
    with pytest.raises(DataError, match="b was fitted to these observations and a was not"):
        compare({"a": run, "b": fitted(other)}, other)
    with pytest.raises(ValueError, match=r"Categorical\(3\) takes all counts from 2 on"):
        compare({"a": run, "b": fitted(adata, Categorical(3))}, adata)
    missing = adata[:, :5].copy()
    with pytest.raises(DataError, match="2 of the model's 7 features are missing"):
        compare({"a": run, "b": run}, missing)


@pytest.mark.filterwarnings("ignore:for over 10 % of the observations")
def test_what_is_given_the_total_is_told_apart(adata: AnnData) -> None:
    runs = {"given": fitted(adata), "not": fitted(adata, library="latent")}
    with pytest.warns(UserWarning, match="given: given the total count .* not must explain"):
        compare(runs, adata, num_samples=100)


def test_bad_weights_are_said(adata: AnnData) -> None:
    run = fitted(adata)
    with torch.no_grad():  # a guide far too narrow
        run.guide.head.linear.weight[2:].zero_()
        run.guide.head.linear.bias[2:] = -4
    with pytest.warns(UserWarning, match="over 10 % of the observations.* too heavy a tail"):
        table = compare({"a": run, "b": run}, adata, num_samples=1000)
    assert (table["bad_k"] > 0.5).all()
