"""Known effects of covariates are found again, and counterfactuals hold what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from vae4counts.data import DataError
from vae4counts.guides import guide_for
from vae4counts.inference import Run, fit
from vae4counts.inference.interpretation import Interpretation
from vae4counts.models import GMVAE, VAE, Covariates, LinearDecoder, NotInModelError
from vae4counts.models.likelihoods import Categorical, Gaussian, Poisson
from vae4counts.models.priors import GaussianMixture, StandardNormal

N, G = 900, 60
UP, SLOPE = slice(0, 10), slice(10, 20)
ABSENT = 20
"""A gene that only batch "b" lacks."""


def effects_of(seed: int = 0) -> tuple[AnnData, np.ndarray, np.ndarray]:
    """Three types of cells in two batches, with the log2 effects of batch and stress."""
    random = np.random.default_rng(seed)
    kind, batch = random.integers(3, size=N), random.integers(2, size=N)
    stress = random.normal(3, 2, size=N)
    by_batch, by_stress = np.zeros(G), np.zeros(G)
    # pairs of opposite effects leave the sum of all rates nearly as it is
    by_batch[UP], by_stress[SLOPE] = np.tile([1.0, -1.0], 5), np.tile([0.5, -0.5], 5)
    log2_rate = random.normal(0, 0.5, G) + by_batch * (batch == 1)[:, None]
    log2_rate += by_stress * ((stress - 3) / 2)[:, None]
    log2_rate[:, 30:] += random.normal(0, 1.5, (3, 30))[kind]
    rate = 2**log2_rate
    rate[batch == 1, ABSENT] = 0.0
    counts = random.poisson(1500 * rate / rate.sum(1, keepdims=True)).astype(np.float32)
    names = [f"cell{i}" for i in range(N)]
    obs = pd.DataFrame(
        {"batch": np.array(["a", "b"])[batch], "stress": stress, "kind": kind.astype(str)}, names
    )
    var = pd.DataFrame(index=[f"gene{j}" for j in range(G)])
    return AnnData(counts, obs, var), by_batch, by_stress


@pytest.fixture(scope="module")
def simulated() -> tuple[AnnData, np.ndarray, np.ndarray]:
    return effects_of()


@pytest.fixture(scope="module", params=["linear", "mlp"])
def run(request: pytest.FixtureRequest, simulated: tuple[AnnData, np.ndarray, np.ndarray]) -> Run:
    adata = simulated[0]
    covariates = Covariates.of(adata, ["batch"], ["stress"])
    model = GMVAE(G, GaussianMixture(4, 3), decoder=request.param, covariates=covariates)
    return fit(model, guide_for(model), adata, epochs=50, progress=False)


@pytest.fixture(scope="module")
def look(run: Run, simulated: tuple[AnnData, np.ndarray, np.ndarray]) -> Interpretation:
    return run.interpret(simulated[0])


@pytest.mark.slow
def test_true_effects_are_recovered(
    look: Interpretation, simulated: tuple[AnnData, np.ndarray, np.ndarray]
) -> None:
    _, by_batch, by_stress = simulated
    effects = look.covariate_effects()
    assert list(effects.columns) == ["batch=a", "batch=b", "stress"]
    found = (effects["batch=b"] - effects["batch=a"]).to_numpy()
    np.testing.assert_allclose(found[UP], by_batch[UP], rtol=0.2)
    np.testing.assert_allclose(effects["stress"].to_numpy()[SLOPE], by_stress[SLOPE], rtol=0.2)
    unchanged = np.r_[found[21:], effects["stress"].to_numpy()[21:]]
    assert np.abs(unchanged).max() < 0.3


@pytest.mark.slow
def test_intervals_cover_the_true_effects(
    simulated: tuple[AnnData, np.ndarray, np.ndarray],
) -> None:
    """Of 90 % by the errors; what is the same for all features is no effect of one.

    A fifth of the counts, or the chance of training would be as large as that of the counts.
    """
    whole, by_batch, by_stress = simulated
    thinned = np.random.default_rng(0).binomial(whole.X.astype(int), 0.2).astype(np.float32)
    adata = AnnData(thinned, whole.obs, whole.var)
    covariates = Covariates.of(adata, ["batch"], ["stress"])
    model = GMVAE(G, GaussianMixture(4, 3), decoder="linear", covariates=covariates)
    look = fit(model, guide_for(model), adata, progress=False).interpret(adata)
    effects, errors = look.covariate_effects(), look.covariate_errors()
    assert list(errors.columns) == list(effects.columns)
    true = {"batch=b": by_batch * (adata.obs["batch"] == "a").mean(), "stress": by_stress}
    true["stress"] *= adata.obs["stress"].std() / 2
    for name, wanted in true.items():
        away = (effects[name] - wanted).drop(f"gene{ABSENT}")
        covered = (away - away.median()).abs() < 1.645 * errors[name].drop(f"gene{ABSENT}")
        assert 0.8 < covered.mean() < 1


def test_errors_are_those_of_poisson_counts_where_that_is_all() -> None:
    """Of two groups of equal rates: the log ratio of their sums has variance 1/n + 1/m."""
    random = np.random.default_rng(1)
    counts = random.poisson(np.tile([1.0, 4.0, 30.0], 4), (3000, 12)).astype(np.float32)
    obs = pd.DataFrame({"batch": np.repeat(["a", "b"], [1000, 2000])})
    adata = AnnData(counts, obs.set_index(obs.index.map("cell{}".format)))
    covariates = Covariates.of(adata, ["batch"])
    parts = StandardNormal(2), Poisson(), LinearDecoder()
    model = VAE(12, *parts, library=None, covariates=covariates)
    run = fit(model, guide_for(model), adata, epochs=30, progress=False)
    errors = run.interpret(adata).covariate_errors()
    totals = adata.to_df().groupby(adata.obs["batch"].to_numpy()).sum()
    shares = np.array([1 / 3, 2 / 3])
    between = np.sqrt((1 / totals).sum()) / np.log(2)
    for level, share in zip("ab", shares, strict=True):
        np.testing.assert_allclose(errors[f"batch={level}"], (1 - share) * between, rtol=0.1)


def test_errors_of_what_the_counts_do_not_tell() -> None:
    """Features that a batch lacks, a level that is not there, donors within batches."""
    random = np.random.default_rng(2)
    rates = np.tile([2.0, 5.0, 9.0], (400, 1))
    rates[:200, 0] = 0.0
    obs = pd.DataFrame(
        {"batch": np.repeat(["a", "b"], 200), "donor": np.tile(["1", "2"], 200)},
        [f"cell{i}" for i in range(400)],
    )
    obs["donor"] = obs["batch"] + obs["donor"]
    adata = AnnData(random.poisson(rates).astype(np.float32), obs)

    def errors_of(names: list[str], shown: AnnData, epochs: int | None = 10) -> pd.DataFrame:
        model = VAE(
            3,
            StandardNormal(1),
            Poisson(),
            LinearDecoder(),
            library=None,
            covariates=Covariates.of(adata, names),
        )
        run = fit(model, guide_for(model), adata, epochs=epochs, progress=False)
        return run.interpret(shown).covariate_errors()

    errors = errors_of(["batch"], adata, epochs=None)["batch=a"].to_numpy()
    assert errors[0] > 5 * errors[1]
    assert errors[1] < 0.1
    assert np.isinf(errors_of(["batch"], adata[adata.obs["batch"] == "a"])["batch=b"]).all()
    with pytest.warns(UserWarning, match="'donor' lies within 'batch'"):
        nested = errors_of(["batch", "donor"], adata)
    assert np.isinf(nested["batch=a"].to_numpy()[1:]).all()


def test_missing_entries_tell_nothing() -> None:
    random = np.random.default_rng(3)
    values = random.normal(size=(400, 4))
    values[:, 2:][random.random((400, 2)) < 0.75] = np.nan
    obs = pd.DataFrame({"batch": np.tile(["a", "b"], 200)}, [f"cell{i}" for i in range(400)])
    adata = AnnData(values.astype(np.float32), obs)
    covariates = Covariates.of(adata, ["batch"])
    model = VAE(4, StandardNormal(1), Gaussian(), LinearDecoder(), covariates=covariates)
    run = fit(model, guide_for(model), adata, epochs=40, progress=False)
    errors = run.interpret(adata).covariate_errors()["batch=a"].to_numpy()
    # the difference of two means of 200, or of 50, has variance 2/200, or 2/50
    np.testing.assert_allclose(errors, 0.5 * np.sqrt([0.01, 0.01, 0.04, 0.04]), rtol=0.25)


@pytest.mark.slow
def test_levels_are_compared_in_the_same_cells(
    look: Interpretation, simulated: tuple[AnnData, np.ndarray, np.ndarray]
) -> None:
    _, by_batch, _ = simulated
    table = look.level_expression("batch", "b", "a").loc[[f"gene{j}" for j in range(G)]]
    np.testing.assert_allclose(table["lfc_mean"].to_numpy()[UP], by_batch[UP], rtol=0.2)
    assert table["is_de_fdr_0.05"].to_numpy()[UP].all()
    assert table["is_de_fdr_0.05"].to_numpy()[ABSENT]
    assert table["is_de_fdr_0.05"].to_numpy()[21:].mean() < 0.05


@pytest.mark.slow
def test_a_gene_that_a_batch_lacks_stays_low_there(look: Interpretation) -> None:
    gene = f"gene{ABSENT}"
    rates = {at: look.holding({"batch": at}).denoised([gene])[gene].mean() for at in "ab"}
    assert rates["b"] < 0.1 * rates["a"]


@pytest.mark.slow
def test_averages_lie_between_the_levels(look: Interpretation) -> None:
    tables = [look.denoised(), *(look.holding({"batch": at}).denoised() for at in "ab")]
    average, one, other = (table.to_numpy() for table in tables)
    weights = {int(code): share for share, code in look.model.covariates.combinations}
    np.testing.assert_allclose(average, weights[0] * one + weights[1] * other, rtol=1e-3)


@pytest.mark.slow
def test_everything_that_asks_the_decoder_holds_levels(look: Interpretation) -> None:
    held = look.holding({"batch": "b", "stress": 3.0})
    gene = f"gene{ABSENT}"
    for table in (held.component_profiles(), held.traverse_latent("z0").T):
        assert table.loc[gene].mean() < 0.1 * table.loc[["gene22", "gene23"]].mean().mean()
    expected = [each.expected_given({"gene0": 30})["expected"][gene] for each in (held, look)]
    assert expected[0] < 0.2 * expected[1]
    assert held.component_contrasts().shape == (G, 3)
    assert held.differential_expression("kind", "0", "1")["scale1"][gene] < 1e-3


@pytest.mark.slow
def test_a_level_need_not_be_in_the_data(look: Interpretation) -> None:
    """What would differ is a question to the model; raw means are of what there is."""
    both = look.level_expression("batch", "a", "b", num_pairs=500)
    alone = replace(look, obs=look.obs.assign(batch="a"))
    table = alone.level_expression("batch", "a", "b", num_pairs=500)
    assert table["raw_mean2"].isna().all()
    gene = f"gene{ABSENT}"
    assert table["lfc_mean"][gene] == pytest.approx(both["lfc_mean"][gene], rel=0.1)


@pytest.mark.slow
def test_a_mask_is_aligned_by_its_index(look: Interpretation) -> None:
    among = look.obs["kind"] == "0"
    tables = [
        look.level_expression("batch", "a", "b", among=each, num_pairs=100)
        for each in (among, among[::-1])
    ]
    pd.testing.assert_frame_equal(*tables)


def test_what_there_is_not_is_one_clear_error(
    simulated: tuple[AnnData, np.ndarray, np.ndarray],
) -> None:
    adata = simulated[0][:30].copy()
    model = VAE(G, covariates=Covariates.of(adata, ["batch"]))
    run = fit(model, guide_for(model), adata, epochs=1, progress=False)
    look = run.interpret(adata)
    with pytest.raises(DataError, match="no level 'c'"):
        look.holding({"batch": "c"})
    with pytest.raises(DataError, match=r"no categorical covariate 'kind'.*: 'batch'"):
        look.level_expression("kind", "0", "1")
    with pytest.raises(DataError, match="among selects no observation"):
        look.level_expression("batch", "a", "b", among=look.obs["batch"] == "c")
    plain = VAE(G)
    bare = fit(plain, guide_for(plain), adata, epochs=1, progress=False).interpret(adata)
    with pytest.raises(NotInModelError, match="no covariates"):
        bare.covariate_effects()
    with pytest.raises(NotInModelError, match="no covariates"):
        bare.covariate_errors()
    classes = VAE(G, likelihood=Categorical(3), covariates=Covariates.of(adata, ["batch"]))
    lumped = fit(classes, guide_for(classes), adata, epochs=1, progress=False).interpret(adata)
    with pytest.raises(NotInModelError, match="no rates that single outputs give"):
        lumped.covariate_errors()
    for wrong in ({"num_samples": 1}, {"num_observations": 0}):
        with pytest.raises(ValueError, match="must be at least 1 and 2"):
            look.covariate_errors(**wrong)
    with pytest.raises(DataError, match="it has none"):
        bare.holding({"batch": "a"})
