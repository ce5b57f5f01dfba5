"""Comparison of runs: which is best, and what cannot be compared."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy import stats

from vae4counts.data import DataError, read_tables
from vae4counts.guides import guide_for
from vae4counts.inference import Run, compare, fit
from vae4counts.inference.posterior.importance import largest_k
from vae4counts.inference.run import alignment
from vae4counts.models import VAE, CountMixture, MLPDecoder
from vae4counts.models.likelihoods import (
    Categorical,
    Likelihood,
    Multinomial,
    NegativeBinomial,
    Poisson,
)
from vae4counts.models.priors import StandardNormal

pytestmark = pytest.mark.slow


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
        settings: dict[str, Any] = {"epochs": 100, "learning_rate": 3e-2}
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
    table = run.log_likelihoods(adata, 200, refine=True)
    assert list(table.index) == list(adata.obs_names[run.split.test])
    assert list(table.columns) == ["log_likelihood", "pareto_k", "effective_draws"]
    again = compare({"a": run, "b": run}, adata, num_samples=200)
    assert again["difference"].tolist() == again["difference_se"].tolist() == [0, 0]
    assert again["log_likelihood"]["a"] == pytest.approx(table["log_likelihood"].mean())
    assert again["bad_k"]["a"] == (table["pareto_k"] > largest_k(200)).mean()
    assert again["effective_draws"]["a"] == table["effective_draws"].median()
    other = adata.copy()
    other.obs_names = [f"new-{name}" for name in adata.obs_names]
    assert len(run.log_likelihoods(other, 100)) == 100
    compare({"a": run, "b": fitted(adata, seed=4)}, other, num_samples=100)  # neither has seen them


def test_runs_that_cannot_be_compared(adata: AnnData) -> None:
    run = fitted(adata)
    with pytest.raises(ValueError, match="two runs or more"):
        compare({"a": run}, adata)
    with pytest.raises(ValueError, match="two runs or more by name"):
        compare([run, run], adata)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_samples is 99: it must be 100 or more"):
        compare({"a": run, "b": run}, adata, num_samples=99)
    with pytest.raises(DataError, match=r"a and b have not held out the same .* split and seed"):
        compare({"a": run, "b": fitted(adata, seed=1)}, adata)
    with pytest.raises(DataError, match="a has 7 features and b has 6, not the same"):
        compare({"a": run, "b": fitted(adata[:, 1:].copy())}, adata)
    other = adata.copy()
    other.obs_names = [f"new-{name}" for name in adata.obs_names]
    with pytest.raises(DataError, match="b was fitted to these observations and a to other data"):
        compare({"a": run, "b": fitted(other)}, other)
    with pytest.raises(ValueError, match="takes all counts from 2 on as one"):
        compare({"a": run, "b": fitted(adata, Categorical(3))}, adata)
    missing = adata[:, :5].copy()
    with pytest.raises(DataError, match=r"2 of the model's 7 features .* missing"):
        compare({"a": run, "b": run}, missing)


@pytest.mark.filterwarnings("ignore:for over 10 % of the observations")
def test_what_is_not_given_the_same_is_ranked_apart(adata: AnnData) -> None:
    runs = {
        "free": fitted(adata, library="latent"),
        "multinomial": fitted(adata, Multinomial()),
        "poisson": fitted(adata),
        "nb": fitted(adata, NegativeBinomial()),
    }
    with pytest.warns(UserWarning, match=r"ranked apart.*multinomial: the total; poisson, nb: the"):
        table = compare(runs, adata, num_samples=100)
    assert table["given"].to_dict() == {
        "multinomial": "the total",
        "poisson": "the library size",
        "nb": "the library size",
        "free": "nothing",
    }
    assert table["rank"][["multinomial", "free"]].tolist() == [0, 0]
    assert sorted(table["rank"][["poisson", "nb"]]) == [0, 1]
    assert table["difference"][["multinomial", "free"]].tolist() == [0, 0]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "the runs are not given the same")
        compare({"poisson": runs["poisson"], "nb": runs["nb"]}, adata, num_samples=100)


def test_the_model_says_what_it_is_given() -> None:
    """A multinomial is Poisson counts given their total: it is paid for by that Poisson."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(3.0, (5, 7))
    shares, total = np.full(7, 1 / 7), counts.sum(1)
    given = stats.multinomial.logpmf(counts, total, shares)
    paid = stats.poisson.logpmf(counts, total[:, None] * shares).sum(1)
    np.testing.assert_allclose(given + stats.poisson.logpmf(total, total), paid)
    assert VAE(7, likelihood=Multinomial()).observed("counts").given_total
    assert CountMixture(7, likelihood=Multinomial()).observed("counts").given_total
    assert not VAE(7, likelihood=Poisson()).observed("counts").given_total


@pytest.mark.filterwarnings("ignore:for over 10 % of the observations")
def test_runs_of_different_data_say_so(adata: AnnData) -> None:
    runs = {"a": fitted(adata), "b": fitted(adata[:80].copy())}
    other = adata.copy()
    other.obs_names = [f"new-{name}" for name in adata.obs_names]
    with pytest.warns(UserWarning, match="b: not fitted to the data that a was fitted to"):
        compare(runs, other, num_samples=100)


@pytest.mark.filterwarnings("ignore:for over 10 % of the observations")
def test_data_are_read_once(adata: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {name: fitted(adata) for name in "abc"}
    reads = []
    monkeypatch.setattr(
        alignment,
        "read_tables",
        lambda *given, **how: reads.append(1) or read_tables(*given, **how),
    )
    compare(runs, adata, num_samples=100)
    assert len(reads) == 1


def test_bad_weights_are_said(adata: AnnData) -> None:
    run = fitted(adata)
    with torch.no_grad():  # a guide far too narrow
        run.guide.head.linear.weight[2:].zero_()
        run.guide.head.linear.bias[2:] = -4
    pair = {"a": run, "b": run}
    with pytest.warns(UserWarning, match="over 10 % of the observations.*a tail.*refine=True"):
        table = compare(pair, adata, num_samples=1000, refine=False)
    assert (table["bad_k"] > 0.5).all()
    assert (compare(pair, adata, num_samples=1000)["bad_k"] <= 0.1).all()
