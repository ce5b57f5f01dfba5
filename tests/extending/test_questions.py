"""Every part from outside the package is fitted, asked every question, saved and loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from anndata import AnnData

from vae4counts.guides import Encoder, guide_for
from vae4counts.inference import Run, compare, fit, write_report
from vae4counts.models import VAE, Configured
from vae4counts.models.priors import StandardNormal

pytestmark = pytest.mark.filterwarnings(
    "ignore:for over 10 %:UserWarning", "ignore:the runs are not given the same:UserWarning"
)


def test_it_is_fitted(run: Run) -> None:
    elbo = run.history.validation_elbo
    assert np.isfinite(elbo).all()
    assert elbo.iloc[-1] > elbo.iloc[0]


def test_it_is_evaluated(run: Run, table: AnnData) -> None:
    found = run.evaluate(table, num_samples=50)
    assert found.n == len(run.split.test)
    assert np.isfinite(found.elbo)
    # an exact model has no gap; for others the importance-weighted bound is above the ELBO
    assert found.iw_log_likelihood >= found.elbo - 1e-6
    assert found.elbo == pytest.approx(sum(found.elbo_parts.values()), abs=1e-4)
    if run.model.is_exact:
        assert found.iw_log_likelihood == pytest.approx(found.elbo, abs=1e-4)


def test_it_is_checked(run: Run, table: AnnData) -> None:
    for replicates in ("model", "posterior"):
        checks = run.check(table, 20, replicates=replicates)
        assert checks.replicated["mean"].shape == (20, table.n_vars)
        assert (checks.replicated["mean"] > 0).any()


def test_it_is_compared(run: Run, table: AnnData) -> None:
    torch.manual_seed(1)
    model = VAE(table.n_vars, StandardNormal(2))
    other = fit(model, guide_for(model, encoder=Encoder((8,))), table, epochs=8, progress=False)
    ranked = compare({"own": run, "vae": other}, table, num_samples=100)
    assert set(ranked.index) == {"own", "vae"}
    assert np.isfinite(ranked.log_likelihood).all()


def test_arviz_gets_its_draws(run: Run, table: AnnData) -> None:
    sites = [latent.name for latent in run.model.latents]
    draws = run.posterior(table, 4, [*sites, "counts"])
    for site in sites:
        assert draws["posterior"][site].shape[:3] == (1, 4, table.n_obs)
        assert draws["prior"][site].shape[:3] == (1, 4, table.n_obs)
    assert draws["posterior_predictive"]["counts"].shape == (1, 4, *table.shape)
    assert draws["log_likelihood"]["counts"].shape == (1, 4, table.n_obs)
    assert (draws["observed_data"]["counts"].values == table.X).all()


def test_its_predictions_are_summarised(run: Run, table: AnnData) -> None:
    summary = run.predictive(table, 10)
    assert list(summary.features.index) == list(table.var_names)
    assert (summary.features["mean"] > 0).all()


def test_it_annotates(run: Run, table: AnnData) -> None:
    data = table.copy()
    run.annotate(data)
    names = {latent.name for latent in run.model.latents}
    assert ("X_vae" in data.obsm) == ("z" in names)
    assert ("component" in data.obs) == ("component" in names)
    if "z" in names:
        assert np.isfinite(data.obsm["X_vae"]).all()


@pytest.mark.slow
def test_it_is_reported(run: Run, table: AnnData, tmp_path: Path) -> None:
    write_report(run, table, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert type(run.model).__name__ in page
    assert type(run.guide).__name__ in page


def test_it_is_saved_and_loaded(run: Run, table: AnnData, tmp_path: Path) -> None:
    run.save(tmp_path / "run")
    loaded = Run.load(tmp_path / "run")
    assert type(loaded.model) is type(run.model)
    assert type(loaded.guide) is type(run.guide)
    expected, found = run.evaluate(table), loaded.evaluate(table)
    assert found.to_dict() == expected.to_dict()


def test_classes_are_registered_by_module() -> None:
    own = {
        "beta_negative_binomial.BetaNegativeBinomial",
        "laplace.Laplace",
        "laplace.TanhGuide",
        "linear_guide.LinearGuide",
        "autoregressive.Autoregressive",
        "two_factors.TwoFactors",
    }
    assert own <= set(Configured.registry)
