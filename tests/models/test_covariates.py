"""Covariates: the design, what is averaged over, and densities against SciPy's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from pyro import poutine
from scipy import stats

from vae4counts.data import Batch, CountLoader, DataError, UnknownName, counts_of
from vae4counts.guides import Encoder, IncompatiblePairError, guide_for
from vae4counts.models import GMVAE, VAE, Covariates, Factor, LatentLibrary, Number
from vae4counts.models.covariates import joined_columns
from vae4counts.models.likelihoods import NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial
from vae4counts.models.priors import VampPrior

Observed = dict[str, torch.Tensor]


@pytest.fixture
def covariates() -> Covariates:
    return Covariates(
        [Factor("site", ["x", "y", "z"]), Factor("donor", ["1", "2", "3"], embedding=1)],
        [Number("depth", mean=2.0, deviation=4.0)],
        [[0.5, 0, 0], [0.3, 1, 0], [0.2, 1, 1]],
    )


@pytest.fixture
def observed() -> Observed:
    return {
        "site": torch.tensor([0, 2, 1]),
        "donor": torch.tensor([1, 0, 1]),
        "depth": torch.tensor([2.0, 6.0, 0.0]),
    }


def table(**columns: Any) -> AnnData:
    """Data of one feature, with columns of obs."""
    obs = pd.DataFrame(columns)
    return AnnData(np.ones((len(obs), 1)), obs.set_index(obs.index.astype(str)))


def test_the_design_has_levels_embeddings_and_scaled_numbers(
    covariates: Covariates, observed: Observed
) -> None:
    design = covariates(observed).detach()
    np.testing.assert_array_equal(design[:, :3], np.eye(3)[[0, 2, 1]])
    np.testing.assert_array_equal(design[:, 3], covariates.embeddings[0].detach()[[1, 0, 1], 0])
    np.testing.assert_allclose(design[:, 4], [0.0, 1.0, -0.5])
    assert covariates.width == design.shape[1] == 5


def test_without_covariates_values_stay_as_they_are(observed: Observed) -> None:
    values = torch.rand(3, 2)
    assert Covariates().beside(values, observed) is values
    assert not Covariates()


def test_a_design_is_repeated_for_draws(covariates: Covariates, observed: Observed) -> None:
    values = torch.rand(4, 3, 2)
    beside = covariates.beside(values, observed)
    assert beside.shape == (4, 3, 7)
    assert torch.equal(beside[..., :2], values)
    assert torch.equal(beside[3, :, 2:], covariates(observed))


def test_a_batch_without_the_columns_says_how_to_read_them(covariates: Covariates) -> None:
    with pytest.raises(DataError, match=r"no covariate 'site': read the data with counts_of"):
        covariates({})


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        (["b", "a", "b"], ["a", "b"]),
        ([10, 2, 2], ["2", "10"]),
        ([1.0, 2.0, 1.0], ["1", "2"]),
        ([True, False, True], ["False", "True"]),
        (pd.Categorical(["b", "a", "b"], categories=["c", "b", "a"]), ["a", "b"]),
    ],
)
def test_levels_are_those_of_the_column_in_order(values: Any, levels: list[str]) -> None:
    (factor,) = Covariates.of(table(site=values), ["site"]).factors
    assert factor.levels == levels


@pytest.mark.parametrize("values", [[2, 10], ["2", "10"], [2.0, 10.0], pd.Categorical([2, 10])])
def test_other_data_are_coded_by_the_same_levels(values: Any) -> None:
    known = Covariates.of(table(site=[10, 2, 3]), ["site"])
    (batch,) = CountLoader(counts_of(table(site=values), covariates=known.columns), shuffle=False)
    assert batch.covariates["site"].tolist() == [0, 2]


@pytest.mark.parametrize(
    ("columns", "named", "message"),
    [
        ({"site": ["a", None]}, {"categorical": ["site"]}, r"no value at row 1.*Known levels: 'a'"),
        ({"site": ["a", "b"]}, {"categorical": ["site", "site"]}, "declared twice"),
        ({"site": [1, 2]}, {"categorical": ["site"], "continuous": ["site"]}, "declared twice"),
        ({"depth": [1.0, np.nan]}, {"continuous": ["depth"]}, "no value at row 1"),
        ({"depth": [1.0, np.inf]}, {"continuous": ["depth"]}, "holds 'inf' at row 1"),
        ({"depth": ["low", "high"]}, {"continuous": ["depth"]}, "declare it as categorical"),
        ({"site": ["a", "b"]}, {"categorical": "site"}, "give a list of names"),
    ],
)
def test_faulty_columns_are_one_clear_error(
    columns: dict[str, Any], named: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Covariates.of(table(**columns), **named)


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownName, match="no column 'batch'"):
        Covariates.of(table(site=["a", "b"]), ["batch"])


def test_only_factors_of_many_levels_are_embedded() -> None:
    adata = table(site=["a", "b", "a", "b"], donor=["1", "2", "3", "4"])
    site, donor = Covariates.of(adata, ["site", "donor"], embedding=3).factors
    assert (site.embedding, donor.embedding) == (None, 3)


def test_scales_and_frequencies_are_those_of_the_training_observations() -> None:
    covariates = Covariates([Factor("site", ["x", "y"]), Factor("day", ["1", "2"])], [Number("n")])
    values = torch.tensor([1.0, 2.0, 3.0, 10.0])
    codes = {"site": torch.tensor([0, 1, 1, 1]), "day": torch.tensor([0, 0, 1, 1]), "n": values}
    covariates.learn(codes)
    assert covariates.combinations == [[0.5, 1, 1], [0.25, 0, 0], [0.25, 1, 0]]
    assert covariates.numbers[0].mean == pytest.approx(4.0)
    assert covariates.numbers[0].deviation == pytest.approx(np.std(values.numpy()))


def held(covariates: Covariates, at: Any) -> dict[tuple[float, ...], float]:
    """The combinations over which is averaged, and their shares."""
    found = covariates.held(at, torch.device("cpu"))
    return {tuple(v[name].item() for name in covariates.names): share for share, v in found}


def test_what_is_not_held_is_averaged_over_the_training_observations(
    covariates: Covariates,
) -> None:
    assert held(covariates, None) == pytest.approx(
        {(0, 0, 2.0): 0.5, (1, 0, 2.0): 0.3, (1, 1, 2.0): 0.2}
    )
    assert held(covariates, {"site": "z"}) == pytest.approx({(2, 0, 2.0): 0.8, (2, 1, 2.0): 0.2})
    assert held(covariates, {"donor": 2, "depth": 7}) == pytest.approx(
        {(0, 1, 7.0): 0.5, (1, 1, 7.0): 0.5}
    )


def test_averages_take_the_most_frequent_combinations() -> None:
    levels = [str(k) for k in range(40)]
    rows = [[(k + 1) / 820, k] for k in range(40)]
    found = held(Covariates([Factor("donor", levels)], (), rows), None)
    assert sorted(found) == [(float(k),) for k in range(8, 40)]
    assert sum(found.values()) == pytest.approx(1)


def test_draws_have_combinations_in_proportion(covariates: Covariates) -> None:
    drawn = covariates.drawn(1000, None, torch.device("cpu"))
    pairs, counts = np.unique(torch.stack([drawn["site"], drawn["donor"]]), axis=1, return_counts=1)
    assert dict(zip(map(tuple, pairs.T.tolist()), counts, strict=True)) == {
        (0, 0): 500,
        (1, 0): 300,
        (1, 1): 200,
    }
    assert drawn["depth"].unique().tolist() == [2.0]


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ({"batch": "x"}, r"no covariate 'batch'\. Its covariates: 'site', 'donor', 'depth'"),
        ({"site": "w"}, r"'site' has no level 'w'\. Known levels: 'x', 'y', 'z'"),
        ({"depth": "deep"}, "'depth' is held at 'deep': it must be a number"),
        ({"depth": [1]}, r"'depth' is held at \[1\]: it must be a number"),
    ],
)
def test_unknown_values_to_hold_are_one_clear_error(
    covariates: Covariates, at: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        covariates.held(at, torch.device("cpu"))


def test_values_have_their_names(covariates: Covariates, observed: Observed) -> None:
    named = {name: values.tolist() for name, values in covariates.named(observed).items()}
    assert named == {"site": ["x", "z", "y"], "donor": ["2", "1", "2"], "depth": [2.0, 6.0, 0.0]}


def test_model_and_guide_must_agree_on_levels() -> None:
    one, other = Covariates([Factor("site", ["x", "y"])]), Covariates([Factor("site", ["y", "x"])])
    assert joined_columns(one, Covariates([], [Number("n")])) == {"site": ["x", "y"], "n": None}
    with pytest.raises(DataError, match="different levels of 'site'"):
        joined_columns(one, other)


def test_covariates_know_the_scales_of_the_data_that_they_are_of() -> None:
    """So that pairs that no `fit` has trained from the start average and scale as well."""
    covariates = Covariates.of(
        table(site=["b", "a", "b"], depth=[1.0, 2.0, 6.0]), ["site"], ["depth"]
    )
    assert covariates.combinations == [[pytest.approx(2 / 3), 1], [pytest.approx(1 / 3), 0]]
    assert covariates.numbers[0].mean == pytest.approx(3.0)


def test_a_model_has_its_own_copy(covariates: Covariates) -> None:
    models = [VAE(7, covariates=covariates) for _ in range(2)]
    models[0].covariates.learn({name: torch.zeros(2).long() for name in covariates.names})
    assert models[1].covariates.combinations == covariates.combinations
    assert models[0].covariates.embeddings[0] is not covariates.embeddings[0]


def log_prob(model: VAE, batch: Batch, z: torch.Tensor) -> torch.Tensor:
    """Log-probability of the counts of each observation given its latents."""
    trace: Any = poutine.trace(poutine.condition(model, {"z": z})).get_trace(batch)
    trace.compute_log_prob()
    return trace.nodes["counts"]["unscaled_log_prob"]


@pytest.fixture
def linear(covariates: Covariates) -> VAE:
    """A linear model in float64 with parameters far from their start."""
    likelihood = NegativeBinomial(by="site")
    model = VAE(7, likelihood=likelihood, decoder="linear", covariates=covariates).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return model.eval()


def test_counts_given_latents_and_covariates_are_scipys(
    linear: VAE, counts: np.ndarray, batch_of: Callable[..., Batch]
) -> None:
    batch = batch_of(counts, dtype=torch.float64)
    z = torch.randn(len(batch), 10).double()
    value = log_prob(linear, batch, z)
    design = linear.covariates(batch.covariates).detach()
    weight, bias = linear.decoder.output.weight.detach(), linear.decoder.output.bias.detach()
    outputs = z @ weight[:, :10].T + design.double() @ weight[:, 10:].T + bias
    mean = (batch.library[:, None] * outputs.softmax(-1)).numpy()
    r = linear.likelihood.own["dispersion"].detach().exp().numpy()[batch.covariates["site"]]
    # the row without counts has a mean of 0, at which SciPy's density is 1
    wanted = stats.nbinom.logpmf(counts, r, r / (r + mean)).sum(-1)
    np.testing.assert_allclose(value.detach().numpy(), wanted, rtol=1e-6)


def test_gradients_are_those_of_the_formula(
    linear: VAE, counts: np.ndarray, batch_of: Callable[..., Batch]
) -> None:
    batch = batch_of(counts[4:8], dtype=torch.float64)
    z = torch.randn(len(batch), 10).double()
    log_prob(linear, batch, z).sum().backward()
    weight = linear.decoder.output.weight
    step = 1e-6
    for row, column in ((0, 2), (3, 10), (5, 12), (6, 14)):  # a latent, levels, a number
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[row, column] += sign * step
                sides.append(log_prob(linear, batch, z).sum().item())
                weight[row, column] -= sign * step
        difference = (sides[0] - sides[1]) / (2 * step)
        assert weight.grad[row, column].item() == pytest.approx(difference, rel=1e-5)


def test_rates_are_averaged_over_combinations(linear: VAE) -> None:
    z = torch.randn(5, 10).double()
    each = [linear.rates(z, 1.0, {"site": s, "donor": d}) for s, d in ("x1", "y1", "y2")]
    average = 0.5 * each[0] + 0.3 * each[1] + 0.2 * each[2]
    torch.testing.assert_close(linear.rates(z, 1.0), average)
    torch.testing.assert_close(
        linear.rates(z, 1.0, {"site": "y"}),
        0.8 * each[1] + 0.2 * each[2],
    )
    means = VAE(7, covariates=linear.covariates).rates(z.float(), 3.0).sum(-1)
    torch.testing.assert_close(means, torch.full((5,), 3.0))


def test_replicates_are_of_each_observations_own_covariates(
    batch_of: Callable[..., Batch],
) -> None:
    model = VAE(
        3,
        likelihood=Poisson(),
        decoder="linear",
        library=None,
        covariates=Covariates([Factor("site", ["x", "y"])]),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.decoder.output.weight[:, 11] = np.log(9.0)
    counts = model.draw(batch_of(np.zeros((10, 3))), 500)["counts"].mean((0, 2))
    np.testing.assert_allclose(counts, [1.0, 9.0] * 5, rtol=0.1)


def test_component_means_add_up_to_the_library(covariates: Covariates) -> None:
    model = GMVAE(7, covariates=covariates, likelihood=NegativeBinomial(by="site"))
    torch.testing.assert_close(model.eval().component_means(50.0).sum(1), torch.full((10,), 50.0))


def test_offsets_are_no_loadings(covariates: Covariates) -> None:
    model = VAE(7, decoder="linear", covariates=covariates)
    loadings = model.loadings()
    assert loadings is not None
    assert loadings.shape == (7, 10)
    before = model.decoder.output.weight.detach().clone()
    with torch.no_grad():
        model.flip(-torch.ones(10))
    after = model.decoder.output.weight.detach()
    assert torch.equal(after[:, :10], -before[:, :10])
    assert torch.equal(after[:, 10:], before[:, 10:])


def test_a_latent_library_has_a_prior_for_each_level(batch_of: Callable[..., Batch]) -> None:
    covariates = Covariates([Factor("site", ["x", "y", "never"])])
    model = VAE(2, library=LatentLibrary(by="site"), covariates=covariates)
    few, many = [[1, 0], [10, 10], [3, 1], [20, 0]], [[0, 0], [5, 5]]
    batch = batch_of(5 * few + many)
    model.library.initialise(batch)
    logs = np.log([[1.0, 4.0], [20.0, 20.0]])
    logs = [np.repeat(logs[0], 5), np.append(np.repeat(logs[1], 5), np.log(10.0))]
    np.testing.assert_allclose(model.library.loc[:2], [x.mean() for x in logs], rtol=1e-6)
    np.testing.assert_allclose(model.library.scale[:2], [x.std() for x in logs], rtol=1e-5)
    # a level of few observations, or none, has the prior of all
    everything = np.concatenate(logs)
    assert model.library.loc[2].item() == pytest.approx(everything.mean())
    few_of_x = batch_of([[1, 0]] + 11 * [[9, 9], [8, 8]])
    few_of_x = replace(few_of_x, covariates={"site": (torch.arange(23) > 0).long()})
    model.library.initialise(few_of_x)
    assert model.library.scale[0].item() > 0.1


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"likelihood": NegativeBinomial(by="day")}, "by is 'day': .* 'site', 'donor'"),
        ({"library": LatentLibrary(by="depth")}, "by is 'depth': .* 'site', 'donor'"),
        ({"likelihood": NegativeBinomial("observation", by="site")}, "outputs of the decoder"),
        ({"covariates": ["site"]}, r"covariates is \['site'\]: give an object such as"),
    ],
)
def test_what_has_no_levels_is_one_clear_error(
    covariates: Covariates, part: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        VAE(7, **({"covariates": covariates} | part))


def test_a_gate_that_is_an_output_needs_no_levels(covariates: Covariates) -> None:
    likelihood = ZeroInflatedNegativeBinomial(gate="observation", by="site")
    VAE(7, likelihood=likelihood, covariates=covariates)
    assert set(likelihood.own) == {"dispersion"}
    assert likelihood.own["dispersion"].shape == (3, 7)


def test_an_encoder_sees_covariates_only_if_told(
    covariates: Covariates, batch: Batch, batch_of: Callable[..., Batch], counts: np.ndarray
) -> None:
    model = VAE(7, covariates=covariates)
    blind = guide_for(model).eval()
    seeing = guide_for(model, encoder=Encoder(covariates=covariates)).eval()
    moved = Batch.of_counts(
        batch.counts,
        batch.library,
        batch.index,
        30,
        {**batch.covariates, "site": 1 - batch.covariates["site"]},
    )
    for guide, same in ((blind, True), (seeing, False)):
        means = [poutine.trace(guide).get_trace(b).nodes["z"]["fn"].mean for b in (batch, moved)]
        assert torch.equal(*means) is same


def test_a_vamp_prior_needs_a_guide_that_reads_counts_alone(covariates: Covariates) -> None:
    model = VAE(7, VampPrior(), Poisson(), covariates=covariates)
    with pytest.raises(IncompatiblePairError, match="at counts alone"):
        guide_for(model, encoder=Encoder(covariates=covariates))
