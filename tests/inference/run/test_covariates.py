"""Runs with covariates: through files, disk, other data, ArviZ, the report and the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from typer.testing import CliRunner

from vae4counts.data import DataError, UnknownName, load
from vae4counts.guides import Encoder, guide_for
from vae4counts.inference import Checkpoints, Run, compare, fit
from vae4counts.inference.cli import app
from vae4counts.models import GMVAE, Covariates, LatentLibrary
from vae4counts.models.likelihoods import NegativeBinomial
from vae4counts.models.priors import GaussianMixture

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {"epochs": 2, "progress": False, "device": "cpu"}


def make_pair(adata: AnnData) -> tuple[GMVAE, Any]:
    """A pair both halves of which see covariates, with levels wherever there can be some."""
    covariates = Covariates.of(adata, ["site", "donor"], ["depth"], embedding=2)
    model = GMVAE(
        7,
        GaussianMixture(2, 3),
        NegativeBinomial(by="site"),
        "linear",
        LatentLibrary(by="site"),
        covariates,
    )
    return model, guide_for(model, encoder=Encoder((8,), covariates=covariates))


@pytest.fixture(scope="module")
def fitted(two_groups: AnnData) -> Run:
    return fit(*make_pair(two_groups), two_groups, **SETTINGS)


def test_a_saved_run_is_the_same(fitted: Run, adata: AnnData, tmp_path: Path) -> None:
    fitted.save(tmp_path / "run")
    again = Run.load(tmp_path / "run")
    assert again.model.config() == fitted.model.config()
    assert again.evaluate(adata).elbo == fitted.evaluate(adata).elbo
    described = json.loads((tmp_path / "run" / "config.json").read_text())["model"]["covariates"]
    training = adata.obs.iloc[fitted.split.train]
    assert described["factors"][0]["levels"] == ["x", "y"]
    assert described["numbers"][0]["mean"] == pytest.approx(training["depth"].mean())
    assert described["numbers"][0]["deviation"] == pytest.approx(training["depth"].std(ddof=0))
    shares = {tuple(codes): share for share, *codes in described["combinations"]}
    wanted = training.groupby(["site", "donor"]).size() / len(training)
    assert shares == pytest.approx({("xy".index(s), int(d) - 1): n for (s, d), n in wanted.items()})


def test_counts_on_disk_are_fitted_alike(fitted: Run, adata: AnnData, tmp_path: Path) -> None:
    adata.write_h5ad(tmp_path / "data.h5ad")
    stored = load(tmp_path / "data.h5ad", out_of_core=True)
    run = fit(*make_pair(stored), stored, **SETTINGS)
    assert run.model.covariates.config() == fitted.model.covariates.config()
    assert run.evaluate(stored).elbo == run.evaluate(adata).elbo


def test_a_checkpointed_fit_is_the_same(fitted: Run, adata: AnnData, tmp_path: Path) -> None:
    """Finished fits leave their last state, from which another call only returns."""
    states = Checkpoints(tmp_path / "states", every=1)
    run = fit(*make_pair(adata), adata, checkpoints=states, **SETTINGS)
    resumed = Checkpoints(tmp_path / "states", every=1, resume=True)
    again = fit(*make_pair(adata), adata, checkpoints=resumed, **SETTINGS)
    assert again.evaluate(adata).elbo == run.evaluate(adata).elbo == fitted.evaluate(adata).elbo


@pytest.mark.parametrize(
    "site",
    [
        ["y"] * 10,
        pd.Categorical(["y"] * 10, categories=["z", "y", "x"]),
        pd.Categorical(["y"] * 10),
    ],
)
def test_levels_of_other_data_are_matched_by_name(fitted: Run, adata: AnnData, site: Any) -> None:
    chosen = adata[adata.obs["site"] == "y"][:10].copy()
    wanted = fitted.log_likelihoods(chosen, 100)
    chosen.obs["site"] = site
    pd.testing.assert_frame_equal(fitted.log_likelihoods(chosen, 100), wanted)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (
            "site",
            ["x", "w"] * 50,
            r"unknown level 'w' at row 1 \('cell1'\)\. Known levels: 'x', 'y'",
        ),
        ("site", ["x", None] * 50, r"no value at row 1"),
        ("depth", ["deep"] * 100, "holds 'deep' at row 0"),
    ],
)
def test_faulty_values_are_one_clear_error(
    fitted: Run, adata: AnnData, column: str, values: list[Any], message: str
) -> None:
    adata.obs[column] = values
    with pytest.raises(DataError, match=message):
        fitted.evaluate(adata)


def test_a_missing_column_is_named(fitted: Run, adata: AnnData) -> None:
    del adata.obs["site"]
    with pytest.raises(UnknownName, match="no column 'site'"):
        fitted.evaluate(adata)
    with pytest.raises(UnknownName, match="no column 'site'"):
        fit(fitted.model, fitted.guide, adata, **SETTINGS)


def test_draws_have_the_covariates_as_coordinates(fitted: Run, adata: AnnData) -> None:
    draws = fitted.posterior(adata, 3)
    z = draws["posterior"]["z"]
    assert list(z["site"].values) == list(adata.obs["site"])
    assert list(z["donor"].values) == [str(donor) for donor in adata.obs["donor"]]
    np.testing.assert_allclose(z["depth"], adata.obs["depth"], rtol=1e-6)
    assert z.where(z["site"] == "y", drop=True).sizes["obs"] == 50


def test_refined_posteriors_and_chains_know_the_covariates(fitted: Run, adata: AnnData) -> None:
    few = adata[:6].copy()
    assert fitted.evaluate(few, refine=True).elbo >= fitted.evaluate(few).elbo - 0.1
    chains = fitted.posterior(few, 10, method="hmc", chains=2)
    assert chains["posterior"]["z"].shape == (2, 10, 6, 2)


def test_runs_with_other_covariates_are_compared(fitted: Run, adata: AnnData) -> None:
    model = GMVAE(7, GaussianMixture(2, 3), library="latent")
    plain = fit(model, guide_for(model), adata, **SETTINGS)
    table = compare({"told": fitted, "plain": plain}, adata)
    assert set(table.index) == {"told", "plain"}


def test_a_layer_of_rates_holds_covariates(fitted: Run, adata: AnnData) -> None:
    layers = {}
    for site in ("x", "y"):
        fitted.annotate(adata, denoised=True, at={"site": site})
        layers[site] = adata.layers["denoised"]
        held = fitted.interpret(adata, at={"site": site}).denoised(num_samples=10)
        np.testing.assert_array_equal(layers[site], held)
    assert np.abs(layers["x"] - layers["y"]).max() > 0
    with pytest.raises(DataError, match="w"):
        fitted.annotate(adata, denoised=True, at={"site": "w"})


def test_the_report_shows_effects(fitted: Run, adata: AnnData, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    fitted.report(adata, page)
    assert "averaged over the training observations" in page.read_text()
    fitted.report(adata, page, at={"site": "y"})
    text = page.read_text()
    assert "hold site at y" in text
    assert all(name in text for name in ("site=x", "donor=3", "depth"))
    with pytest.raises(DataError, match="no level 'w'"):
        fitted.report(adata, page, at={"site": "w"})


def call(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*map(str, words)])
    return result.exit_code, result.output


def test_the_command_line_takes_columns(adata: AnnData, tmp_path: Path) -> None:
    adata.write_h5ad(data := tmp_path / "data.h5ad")
    out = tmp_path / "run"
    words = ("--categorical", "site", "--categorical", "donor", "--continuous", "depth")
    quick = ("--epochs", 2, "--latents", 2, "--components", 2)
    further = ("--embedding", 2, "--dispersion-by", "site")
    code, said = call("fit", data, "--out", out, *words, *quick, *further)
    assert code == 0, said
    assert Run.load(out).model.likelihood.by == "site"
    covariates = Run.load(out).model.covariates
    assert covariates.names == ["site", "donor", "depth"]
    assert [factor.embedding for factor in covariates.factors] == [None, 2]
    assert call("evaluate", out)[0] == 0
    assert call("report", out, "--at", "site=x")[0] == 0
    assert "hold site at x" in (out / "report.html").read_text()
    assert ad.read_h5ad(out / "annotated.h5ad").obsm["X_vae"].shape == (100, 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--categorical", "batch"), "no column 'batch'"),
        (("--continuous", "group"), "declare it as categorical"),
        (
            ("--dispersion-by", "site"),
            "by is 'site': the model's categorical covariates: it has none",
        ),
        (
            ("--categorical", "site", "--dispersion-by", "site", "--likelihood", "poisson"),
            "the likelihood poisson does not take --dispersion-by: these do: negative-binomial",
        ),
        (("--embedding", 3), "--embedding is for columns that --categorical names"),
        (
            ("--categorical", "site", "--model", "count-mixture"),
            "does not take --categorical and --continuous",
        ),
    ],
)
def test_faulty_options_end_in_one_line(
    adata: AnnData, tmp_path: Path, words: tuple[object, ...], message: str
) -> None:
    adata.write_h5ad(data := tmp_path / "data.h5ad")
    code, said = call("fit", data, "--out", tmp_path / "run", *words)
    assert code == 2
    assert message in " ".join(said.split())
    assert not (tmp_path / "run").exists()


def test_a_value_to_hold_has_a_name(adata: AnnData, tmp_path: Path) -> None:
    code, said = call("report", tmp_path, "--at", "x")
    assert code == 2
    assert "must be of the form batch=A" in " ".join(said.split())
