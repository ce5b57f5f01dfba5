"""Everything that a run answers, of a model of several tables of which observations lack some."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData
from scipy import stats

from vae4counts.data import DataError, MultiData, UnknownName, load
from vae4counts.data.modalities.h5mu import write_h5mu
from vae4counts.guides import guide_for
from vae4counts.inference import (
    Checkpoints,
    Compute,
    Run,
    compare,
    fit,
)
from vae4counts.inference.fitting.step import Steps
from vae4counts.inference.report.reproduce import python_lines
from vae4counts.models import (
    VAE,
    Covariates,
    LinearDecoder,
    MLPDecoder,
    Modality,
    MultiVAE,
    NotInModelError,
)
from vae4counts.models.library import LatentLibrary
from vae4counts.models.likelihoods import Categorical, Gaussian, Multinomial, NegativeBinomial
from vae4counts.models.priors import GaussianMixture, StandardNormal

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:the mixture:UserWarning")]

N = 120
ROWS = {"rna": range(90), "protein": range(40, 120), "methylation": range(20, 100)}
SIZES = {"rna": 6, "protein": 3, "methylation": 2}


def mosaic(seed: int = 0, sites: str = "xy") -> MultiData:
    """Make two kinds of observations, of which 50 have three tables and all others fewer."""
    random = np.random.default_rng(seed)
    kind = random.integers(0, 2, N)
    obs = pd.DataFrame(
        {"kind": np.array(["a", "b"])[kind], "site": [sites[i % 2] for i in range(N)]},
        index=[f"o{i}" for i in range(N)],
    )
    methylation = random.normal(np.array([[1.0, -1.0], [-1.0, 1.0]])[kind], 0.3)
    methylation[25, 0] = np.nan
    values = {
        "rna": random.poisson(np.array([[4, 0.5, 4, 0.5, 1, 1], [0.5, 4, 0.5, 4, 1, 1]])[kind]),
        "protein": random.poisson(np.array([[9, 1, 3], [1, 9, 3]])[kind]),
        "methylation": methylation,
    }
    mod = {}
    for name, whole in values.items():
        own = whole[list(ROWS[name])].astype(np.float32)
        var = pd.DataFrame(index=[f"{name[0]}{j}" for j in range(own.shape[1])])
        names = pd.DataFrame(index=obs.index[list(ROWS[name])])
        mod[name] = AnnData(sp.csr_matrix(own) if name != "methylation" else own, names, var)
    return MultiData(mod, obs)


def some_of(data: MultiData, names: pd.Index) -> MultiData:
    mod = {name: each[each.obs_names.isin(names)].copy() for name, each in data.mod.items()}
    return MultiData(mod, data.obs.loc[names])


def made(
    data: MultiData,
    *,
    linear: bool = False,
    rna: Any = NegativeBinomial,
    library: str | None = "observed",
) -> MultiVAE:
    def decoder() -> LinearDecoder | MLPDecoder:
        return LinearDecoder() if linear else MLPDecoder((6,))

    of_protein = LatentLibrary(by="site") if library == "latent" else None
    modalities = {
        "rna": Modality(SIZES["rna"], rna(), decoder(), library),
        "protein": Modality(SIZES["protein"], NegativeBinomial(), decoder(), of_protein),
        "methylation": Modality(SIZES["methylation"], Gaussian(), decoder()),
    }
    covariates = Covariates.of(data, ["site"])
    return MultiVAE(modalities, GaussianMixture(2, 2), covariates=covariates)


def fitted(data: MultiData, model: MultiVAE, **options: Any) -> Run:
    settings = {"epochs": 6, "batch_size": 32, "label": "kind", "progress": False}
    return fit(model, guide_for(model), data, **settings | options)


@pytest.fixture(scope="module")
def data() -> MultiData:
    return mosaic()


@pytest.fixture(scope="module", params=["observed", "latent"])
def library(request: pytest.FixtureRequest) -> str:
    """What is known of library sizes: that of rna, or none; or they are latent, in two tables."""
    return str(request.param)


@pytest.fixture(scope="module")
def run(data: MultiData, library: str) -> Run:
    return fitted(data, made(data, library=library), epochs=30)


@pytest.fixture(scope="module")
def linear_run(data: MultiData, library: str) -> Run:
    return fitted(data, made(data, linear=True, library=library))


def test_check_one_table_of_counts(run: Run, data: MultiData, library: str) -> None:
    on = run.on(data)
    held_out = on.held_out
    for name, given in (("rna", library == "observed"), ("protein", False)):
        for replicates in ("model", "posterior"):
            found = on.check(20, replicates, table=name)  # type: ignore[arg-type]
            assert found.features == list(data[name].var_names)
            own = np.intersect1d(held_out, ROWS[name]) - min(ROWS[name])
            mean = data[name].X[own].toarray().mean(0)
            np.testing.assert_allclose(found.observed["mean"], mean, rtol=1e-6)
            assert found.replicated["mean"].shape == (20, SIZES[name])
            assert np.isnan(found.table.loc["library size", "p_value"]) == given
            assert np.isfinite(found.table.drop(index="library size").to_numpy()).all()


def test_a_question_about_counts_says_which_tables_have_any(run: Run, data: MultiData) -> None:
    for ask in (run.on(data).check, run.on(data).predictive):
        with pytest.raises(NotInModelError, match=r"3 tables.*table=.*are 'rna', 'protein'$"):
            ask(5)
        with pytest.raises(NotInModelError, match="'methylation' is not a distribution of counts"):
            ask(5, table="methylation")
        with pytest.raises(UnknownName, match="no table 'dna'"):
            ask(5, table="dna")
    without = MultiData({"rna": data["rna"]}, data.obs.iloc[:90])
    with (
        pytest.warns(UserWarning, match="lack the modality 'protein', 'methylation'"),
        pytest.raises(DataError, match="none of these observations has a table 'protein'"),
    ):
        run.on(without).check(5, table="protein")


def test_summarise_one_table_of_counts(run: Run, data: MultiData) -> None:
    found = run.predictive(data, 200, table="protein")
    assert list(found.observations.index) == list(data["protein"].obs_names)
    assert list(found.features.index) == ["p0", "p1", "p2"]
    observed = data["protein"].X.toarray()
    # draws given each observation's own latents are around the data
    np.testing.assert_allclose(found.features["mean"], observed.mean(0), rtol=0.2)


def test_arviz_has_axes_for_each_table(run: Run, data: MultiData) -> None:
    sizes = [each.site for each in run.model.latent_libraries.values()]
    draws = run.posterior(data, 3, ["z", *sizes, "rna", "methylation"])
    for group in ("posterior", "prior"):
        for name in sizes:
            assert draws[group][name].dims == ("chain", "draw", "obs")
            assert (draws[group][name] > 0).all()
    observed, predicted = draws["observed_data"], draws["posterior_predictive"]
    assert observed["rna"].dims == ("obs", "rna_feature")
    assert predicted["methylation"].dims == ("chain", "draw", "obs", "methylation_feature")
    assert list(observed["rna_feature"].to_numpy()) == list(data["rna"].var_names)
    for name in ("rna", "methylation"):
        has = np.isin(np.arange(N), ROWS[name])
        values = observed[name].to_numpy()
        own = data[name].X
        own = own.toarray() if sp.issparse(own) else own
        np.testing.assert_array_equal(values[has], own)
        for whole in (values, predicted[name].to_numpy()[0, 0]):
            assert np.isnan(whole[~has]).all()
            assert np.isnan(whole[has]).sum() <= 1
    log_likelihood = draws["log_likelihood"]["protein"].to_numpy()[0, 0]
    np.testing.assert_array_equal(np.isfinite(log_likelihood), np.isin(range(N), ROWS["protein"]))


def test_chains_and_refined_posteriors(run: Run, data: MultiData) -> None:
    chains = run.posterior(some_of(data, data.obs_names[34:44]), 5, method="hmc", chains=1)
    for name in run.guide.sites:
        assert np.isfinite(chains["posterior"][name].to_numpy()).all()
    plain, refined = (run.on(data).evaluate(50, refine=refine) for refine in (False, True))
    assert refined.elbo > plain.elbo
    assert {"rna", "protein", "methylation", *run.guide.sites} <= set(refined.elbo_parts)


@pytest.mark.parametrize("library", ["latent"], indirect=True)
def test_of_an_absent_table_the_library_size_has_its_prior(run: Run, data: MultiData) -> None:
    """In draws of the guide, refined ones and chains: of the first six, which lack protein."""
    some = some_of(data, data.obs_names[34:44])
    site = some.obs["site"].to_numpy()[:6]
    prior = run.model.latent_libraries["protein"]
    for options in ({}, {"refine": True}, {"method": "hmc", "chains": 1}):
        draws = run.posterior(some, 400, **options)
        logs = np.log(draws["posterior"]["protein_library"].to_numpy()[:, :, :6])
        for level, loc, scale in zip("xy", prior.loc.tolist(), prior.scale.tolist(), strict=True):
            found = logs[:, :, site == level]
            assert abs(found.mean() - loc) < 0.2 * scale, options
            np.testing.assert_allclose(found.std(), scale, rtol=0.15)


def test_runs_are_compared(run: Run, linear_run: Run, data: MultiData, library: str) -> None:
    table = compare({"net": run, "linear": linear_run}, data, num_samples=100)
    on = run.on(data)
    own = on.log_likelihoods(100, refine=True)["log_likelihood"].mean()
    np.testing.assert_allclose(table.loc["net", "log_likelihood"], own)
    given = "the library size of rna, nothing of protein, nothing of methylation"
    assert set(table["given"]) == {given if library == "observed" else "nothing"}


def test_one_table_given_others(run: Run, data: MultiData) -> None:
    view = run.interpret(data)
    found = view.predict("protein", ["rna"], num_samples=50).mean
    has_rna = np.isin(np.arange(N), ROWS["rna"])
    assert found[has_rna].notna().all(axis=None)
    assert found[~has_rna].isna().all(axis=None)
    if (prior := run.model.latent_libraries.get("protein")) is not None:
        means = found.sum(axis=1)[has_rna].groupby(data.obs["site"]).mean()
        wanted = (prior.loc + prior.scale**2 / 2).exp()
        np.testing.assert_allclose(means[["x", "y"]], wanted, rtol=0.1)
    for refine in (False, True):
        nats = run.conditional_log_likelihoods(data, "protein", ["rna"], refine=refine)
        assert nats["log_likelihood"].notna().sum() == nats["by_difference"].notna().sum() > 0


@pytest.mark.filterwarnings("ignore:for over 10 %")
def test_runs_that_are_given_other_totals_are_ranked_apart(run: Run, data: MultiData) -> None:
    other = fitted(data, made(data, rna=Multinomial), epochs=2)
    with pytest.warns(UserWarning, match="the total of rna, nothing of protein"):
        table = compare({"nb": run, "multinomial": other}, data, num_samples=100, refine=False)
    assert (table["rank"] == 0).all()


@pytest.mark.filterwarnings("ignore:the runs are not given the same")
def test_only_counts_that_are_told_apart_are_compared(run: Run, data: MultiData) -> None:
    other = fitted(data, made(data, rna=lambda: Categorical(3)), epochs=2)
    with pytest.raises(ValueError, match=r"from 2 on as one, and there is a count of .* in 'rna'"):
        compare({"nb": run, "classes": other}, data, num_samples=100, refine=False)


def test_values_of_other_kinds_are_not_compared(data: MultiData) -> None:
    whole = AnnData(data["protein"].X.toarray(), data["protein"].obs, data["protein"].var)
    runs = {}
    for name, likelihood in {"counts": NegativeBinomial(), "numbers": Gaussian()}.items():
        model = VAE(3, likelihood=likelihood, decoder="linear")
        runs[name] = fit(model, guide_for(model), whole, epochs=2, progress=False)
    with pytest.raises(DataError, match="counts and of other numbers cannot be compared"):
        compare(runs, whole, num_samples=100)


def test_log_likelihoods_of_a_linear_gaussian_table(data: MultiData) -> None:
    """Against the density of factor analysis, which the model is."""
    values = data["methylation"].X[~np.isnan(data["methylation"].X).any(1)]
    model = VAE(2, StandardNormal(1), Gaussian(), decoder="linear")
    run = fit(model, guide_for(model), AnnData(values), epochs=20, progress=False)
    found = run.log_likelihoods(AnnData(values), 2000, refine=True)
    decoder, likelihood = run.model.decoder, run.model.likelihood
    with torch.no_grad():
        at = likelihood(decoder(torch.tensor([[0.0], [1.0]])), None)
    weight = (at.mean[1:] - at.mean[0]).T.numpy()
    covariance = weight @ weight.T + np.diag(at.variance[0].numpy())
    normal = stats.multivariate_normal(at.mean[0].numpy(), covariance)
    rows = run.on(AnnData(values)).held_out
    np.testing.assert_allclose(found["log_likelihood"], normal.logpdf(values[rows]), atol=0.01)


def test_interpretation(run: Run, linear_run: Run, data: MultiData) -> None:
    features = run.features
    for each in (run, linear_run):
        view = each.interpret(data)
        assert list(view.denoised().columns) == features
        assert list(view.component_profiles().index) == features
        assert list(view.component_contrasts().index) == features
        assert list(view.latent_effects().index) == features
        assert len(view.component_names()) == 2
        assert len(view.how_many_groups()) > 1
        assert view.component_table()["stability"].between(0, 1).all()
        groups = view.differential_expression("kind", "a")
        assert set(groups.index) == set(features)
        assert not view.expected_given({"r0": 5}).empty
    assert run.loadings() is None
    assert list(linear_run.loadings().index) == features


def test_component_names_are_of_all_tables(run: Run, data: MultiData) -> None:
    view = run.interpret(data)
    contrasts = view.component_contrasts()
    for component, name in view.component_names(n=3).items():
        strongest = [
            contrasts.loc[list(data[table].var_names), component].idxmax() for table in SIZES
        ]
        assert set(name.split(", ")) <= set(strongest) or (contrasts[component] <= 0).any()


@pytest.mark.filterwarnings("ignore:some axes have no")
def test_report(run: Run, linear_run: Run, data: MultiData, tmp_path: Path) -> None:
    for name, each in {"net": run, "linear": linear_run}.items():
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "the section")
            each.report(data, tmp_path / f"{name}.html")
        page = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
        for words in (
            "80 observations of 3 features in protein",
            "Of 120 observations, 50 have all of these tables.",
            "What each table says",
            "By how many nats per observation a table is better predicted given others",
            "The largest gain is that of",
            "features of methylation",
            "Data and replicates of protein",
        ):
            assert words in page, words
        assert "Data and replicates of methylation" not in page
    assert "Loadings at both ends: protein" in page


def test_the_lines_of_a_report_make_the_pair_again(run: Run) -> None:
    made_again: dict[str, Any] = {}
    lines = python_lines(run).replace("adata = ...", "adata = None").partition("run = fit(")[0]
    exec(lines, made_again)  # noqa: S102
    assert made_again["model"].config() == run.model.config()
    assert made_again["guide"].config() == run.guide.config()


def test_annotate(run: Run) -> None:
    own = mosaic()
    run.on(own).annotate(refine=True)
    assert own.obsm["X_vae"].shape == (N, 2)
    assert own.obs["component"].notna().all()


def test_save_and_load(run: Run, data: MultiData, tmp_path: Path) -> None:
    run.save(tmp_path / "run")
    again = Run.load(tmp_path / "run")
    assert again.on(data).is_fitted
    assert again.evaluate(data, num_samples=5) == run.evaluate(data, num_samples=5)


def test_adapt(run: Run, data: MultiData) -> None:
    new = mosaic(1, sites="xw")
    adapted = run.adapt(new, epochs=3, progress=False)
    assert adapted.on(new).is_fitted
    assert adapted.interpret(new, at={"site": "w"}).component_profiles().notna().all(axis=None)
    one, other = (each.interpret(data).latent_table() for each in (run, adapted))
    pd.testing.assert_frame_equal(one, other)


def test_resume(
    data: MultiData, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fitted(data, made(data, library=library), epochs=3)
    take = Steps.take

    def failing(steps: Steps, batch: Any) -> Any:
        if steps.taken == 4:
            raise ArithmeticError
        return take(steps, batch)

    monkeypatch.setattr(Steps, "take", failing)
    kept = Checkpoints(tmp_path, every=3)
    with pytest.raises(ArithmeticError):
        fitted(data, made(data, library=library), epochs=3, checkpoints=kept)
    monkeypatch.undo()
    kept = Checkpoints(tmp_path, resume=True)
    again = fitted(data, made(data, library=library), epochs=3, checkpoints=kept)
    for name, value in whole.model.state_dict().items():
        assert again.model.state_dict()[name].equal(value), name


def test_counts_on_disk(data: MultiData, run: Run, library: str, tmp_path: Path) -> None:
    write_h5mu(data, tmp_path / "data.h5mu")
    on_disk = load(tmp_path / "data.h5mu", out_of_core=True)
    again = fitted(on_disk, made(data, library=library), epochs=2)
    assert again.fingerprint == run.fingerprint
    assert again.check(on_disk, 5, table="rna").features == list(data["rna"].var_names)


def test_processes_share_a_mosaic(data: MultiData) -> None:
    """With batches of 5 a process often has no observation that has some table.

    The moments of so few rows make much of rounding errors: the steps are small.
    """
    options: dict[str, Any] = {"epochs": 2, "batch_size": 5, "label": None, "learning_rate": 1e-4}
    one = fitted(data, made(data, library="latent"), **options)
    two = fitted(data, made(data, library="latent"), compute=Compute(devices=2), **options)
    np.testing.assert_allclose(two.history["train_elbo"], one.history["train_elbo"], rtol=2e-5)
    for name, value in one.guide.state_dict().items():
        torch.testing.assert_close(two.guide.state_dict()[name], value, rtol=1e-3, atol=1e-4)
