"""Predictive checks: statistics by hand, p-values under the true model, power under a wrong one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import stats

from vae4counts.data import Batch
from vae4counts.guides import Encoder, Guide, guide_for
from vae4counts.inference import Run
from vae4counts.inference.posterior import draws as draws_module
from vae4counts.inference.posterior.predictive_checks import PredictiveChecks, check, discrepancies
from vae4counts.models import VAE, MLPDecoder, Model
from vae4counts.models.likelihoods import Multinomial, NegativeBinomial, Poisson
from vae4counts.models.priors import GaussianMixture, StandardNormal

FEATURES = list("abcde")
CHECKS = [
    "mean",
    "zeros",
    "variance over mean",
    "coefficient of variation",
    "maximum",
    "library size",
]
Pair = tuple[VAE, Guide]


def a_model(prior: Any, likelihood: Any, library: str | None) -> Pair:
    """A pair of five features whose parameters are far from their start."""
    torch.manual_seed(5)
    model = VAE(5, prior, likelihood, MLPDecoder((6,)), library)
    guide = guide_for(model, encoder=Encoder((6,)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    if library == "latent":
        model.library.loc.fill_(2.5)
        model.library.scale.fill_(0.5)
    return model.eval(), guide.eval()


TRUE = {
    "latent library": (StandardNormal(2), NegativeBinomial(), "latent"),
    "no library": (GaussianMixture(2, 3), Poisson(), None),
    "given total": (StandardNormal(1), Multinomial(), "observed"),
}


def batch_of(counts: torch.Tensor) -> Batch:
    n = len(counts)
    return Batch.of_counts(counts.to_sparse_csr(), counts.sum(1), torch.arange(n), n)


def made_by(model: Model, template: Batch) -> Batch:
    """A data set that the model makes, with the template's library size where it is observed."""
    return batch_of(model.draw(template, 1)["counts"][0])


def p_values(pair: Pair, n_sets: int, n_replicates: int, **options: Any) -> np.ndarray:
    """P-values of data sets of 30 observations that the model made, with their ties broken."""
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    template = batch_of(torch.poisson(torch.full((30, 5), 4.0)))
    rows = []
    for _ in range(n_sets):
        data = made_by(pair[0], template)
        table = check(*pair, [data], FEATURES, n_replicates, **options).table
        assert list(table.index) == CHECKS
        rows.append(table["p_value"].to_numpy(dtype=float))
    return np.array(rows) - rng.random((n_sets, len(CHECKS))) / (n_replicates + 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRUE)
def test_p_values_are_uniform_under_the_true_model(kind: str) -> None:
    found = p_values(a_model(*TRUE[kind]), 120, 39)
    for name, column in zip(CHECKS, found.T, strict=True):
        if kind == "given total" and name == "library size":
            assert np.isnan(column).all()
        else:
            # a rounding error may change all draws after it: chance alone must not fail this
            assert stats.kstest(column, "uniform").pvalue > 1e-4, name


def test_replicates_of_each_observation_are_conservative() -> None:
    """They have seen the data: p-values gather in the middle, and few are small."""
    model, guide = a_model(StandardNormal(2), Poisson(), "latent")
    with torch.no_grad():  # a guide that reproduces the library size and little else
        guide.library_head.head.linear.weight.zero_()
        guide.library_head.head.linear.bias.copy_(torch.tensor([0.0, -3.0]))
    found = p_values((model, guide), 60, 39, replicates="posterior")
    library = found[:, CHECKS.index("library size")]
    assert stats.kstest(library, "uniform").pvalue < 1e-4
    assert (library < 0.1).mean() < 0.02


def simulated(model: Model, n: int = 200) -> Batch:
    return made_by(model, batch_of(torch.zeros(n, 5)))


def test_a_wrong_likelihood_is_found_and_a_right_one_is_not() -> None:
    true, guide = a_model(StandardNormal(2), NegativeBinomial(), "latent")
    with torch.no_grad():
        true.likelihood.own["dispersion"].fill_(-0.7)
    wrong, _ = a_model(StandardNormal(2), Poisson(), "latent")
    for part in ("decoder", "library"):
        getattr(wrong, part).load_state_dict(getattr(true, part).state_dict())
    torch.manual_seed(0)
    data = simulated(true)
    right = check(true, guide, [data], FEATURES, 99).table
    assert (right["p_value"] > 0.02).all()
    assert right["discrepancy"].max() < 2
    off = check(wrong, guide, [data], FEATURES, 99).table
    for name in CHECKS[1:5]:
        assert off["p_value"][name] == pytest.approx(0.01)
    assert off["discrepancy"]["zeros"] > 3
    row = off.loc["zeros"]
    assert row["low"] <= row["replicated"] <= row["high"] < row["observed"]


class Shifted(StandardNormal):
    """``z ~ N(3, 1)``."""

    def forward(self) -> torch.Tensor:
        return super().forward() + 3


def test_a_wrong_prior_fails_only_in_data_sets_from_the_model() -> None:
    """The latents are not where the prior has them; the guide knows."""
    decoder = torch.nn.Linear(1, 5)
    model = VAE(5, StandardNormal(1), Poisson(), decoder, None).eval()
    guide = guide_for(model).eval()
    with torch.no_grad():
        decoder.weight.copy_(torch.tensor([[0.5], [-0.5], [0.2], [0.0], [0.4]]))
        decoder.bias.fill_(0.5)
        guide.head.linear.weight.zero_()
        guide.head.linear.bias.copy_(torch.tensor([3.0, 0.5]))  # q(z | x) = N(3, 0.97)
    data = simulated(VAE(5, Shifted(1), Poisson(), decoder, None).eval())
    from_model = check(model, guide, [data], FEATURES, 99).table
    given_each = check(model, guide, [data], FEATURES, 99, "posterior").table
    assert from_model["p_value"]["mean"] == pytest.approx(0.01)
    assert given_each["p_value"]["mean"] > 0.05


def test_statistics_are_those_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the data and of the replicates, whatever the batches and the chunks."""
    model, guide = a_model(StandardNormal(2), NegativeBinomial(), "latent")
    data = simulated(model, 50)
    made: list[torch.Tensor] = []
    monkeypatch.setattr(draws_module, "CHUNK_NUMBERS", 5 * 20 * 4)

    draw = model.draw

    def spy(*arguments: Any) -> dict[str, torch.Tensor]:
        values = draw(*arguments)
        made.append(values["counts"])
        return values

    monkeypatch.setattr(model, "draw", spy)
    dense = data.counts.to_dense()
    parts = [batch_of(part) for part in dense.split(20)]
    found = check(model, guide, parts, FEATURES, 6)
    sizes = [4, 2, 4, 2, 6]  # a batch of 20, one of 20, one of 10
    assert [len(part) for part in made] == sizes
    batches = [torch.cat(made[0:2]), torch.cat(made[2:4]), made[4]]
    replicated = torch.cat(batches, dim=1).double().numpy()
    for x, results in ((replicated, found.replicated), (dense.double().numpy(), found.observed)):
        mean = x.mean(-2)
        np.testing.assert_allclose(results["mean"], mean)
        np.testing.assert_allclose(results["zeros"], (x == 0).mean(-2))
        np.testing.assert_allclose(results["variance over mean"] * mean, x.var(-2), atol=1e-9)
        positive = mean > 0
        cv = x.std(-2)[positive] / mean[positive]
        np.testing.assert_allclose(results["coefficient of variation"][positive], cv)
        np.testing.assert_array_equal(results["maximum"], x.max(-2))
        quantiles = np.quantile(x.sum(-1), np.arange(0.05, 0.951, 0.05), axis=-1)
        np.testing.assert_allclose(results["library size"], quantiles.T)
    assert found.table["observed"]["zeros"] == pytest.approx((dense == 0).double().mean().item())
    assert found.table["replicated"]["mean"] == pytest.approx(replicated.mean())


def test_discrepancies_by_hand() -> None:
    statistic = np.array([[1.0, 5, 0], [2, 5, 0], [3, 5, 4], [6, 5, 0]])
    z = (statistic - statistic.mean(0)) / np.array(
        [statistic[:, 0].std(), 1, statistic[:, 2].std()]
    )
    np.testing.assert_allclose(discrepancies(statistic), np.sqrt((z**2).sum(1) / 3))
    order = [2, 0, 3, 1]
    np.testing.assert_allclose(discrepancies(statistic[order]), discrepancies(statistic)[order])
    assert (discrepancies(np.full((4, 2), 0.1)) == 0).all()


def test_a_run_checks_what_it_has_held_out(run: Run, adata: AnnData) -> None:
    found = run.check(adata, 20)
    assert isinstance(found, PredictiveChecks)
    held_out = adata.layers["raw"].toarray()[run.split.test]
    np.testing.assert_allclose(found.observed["mean"], held_out.mean(0), rtol=1e-6)
    assert found.features == list(adata.var_names)
    assert found.replicated["zeros"].shape == (20, 7)
    assert found.table["p_value"].between(1 / 21, 1).all()
    other = adata.copy()
    other.obs_names = [f"new-{name}" for name in adata.obs_names]
    everything = run.check(other, 20).observed["mean"]
    np.testing.assert_allclose(everything, adata.layers["raw"].toarray().mean(0), rtol=1e-6)
    assert run.check(adata, 20).table.equals(found.table)
    assert not run.check(adata, 20, seed=1).table.equals(found.table)
    with pytest.raises(ValueError, match="num_replicates is 1"):
        run.check(adata, 1)
    wrong: Any = "prior"
    with pytest.raises(ValueError, match="replicates is 'prior': it must be 'model' or 'post"):
        run.check(adata, replicates=wrong)


@pytest.mark.parametrize("library", ["observed", "latent", None])
def test_a_given_library_is_not_tested(library: str | None) -> None:
    pair = a_model(StandardNormal(2), Poisson(), library)
    table = check(*pair, [batch_of(torch.ones(9, 5))], FEATURES, 9).table
    assert np.isnan(table["p_value"]["library size"]) == (library == "observed")
    assert table["p_value"].drop("library size").notna().all()


def test_every_pair_can_be_checked(pair: tuple[Model, Guide], batch: Batch) -> None:
    """All of the registries but those whose table does not hold counts."""
    model, guide = (part.eval() for part in pair)
    names = list("abcdefg")
    if not model.holds_counts:
        with pytest.raises(ValueError, match="not a distribution of counts"):
            check(model, guide, [batch], names, 2)
        return
    for replicates in ("model", "posterior"):
        with torch.no_grad():
            table = check(model, guide, [batch], names, 3, replicates).table
        assert np.isfinite(table.drop(columns="p_value")).all(axis=None)
