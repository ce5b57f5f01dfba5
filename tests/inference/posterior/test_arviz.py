"""What a run hands to ArviZ: groups, dimensions, sites, and how much of it."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData

from vae4counts.data import UnknownName
from vae4counts.guides import guide_for
from vae4counts.inference import Run, fit
from vae4counts.inference.posterior import arviz_export
from vae4counts.inference.posterior import draws as draws_module
from vae4counts.inference.posterior.arviz_export import TooManyDrawsError
from vae4counts.models import VAE, GaussianMixtureModel


def test_latents_only_by_default(run: Run, adata: AnnData) -> None:
    groups = run.posterior(adata, num_samples=6)
    assert set(groups.groups()) == {"posterior", "prior", "log_likelihood", "sample_stats"}
    for group in ("posterior", "prior"):
        assert groups[group]["z"].dims == ("chain", "draw", "obs", "latent")
        assert groups[group]["component"].dims == ("chain", "draw", "obs")
        assert groups[group]["library"].shape == (1, 6, 100)
    weights = groups["sample_stats"]
    assert weights["log_weight"].dims == ("chain", "draw", "obs")
    assert weights["responsibilities"].dims == ("chain", "draw", "obs", "component")
    np.testing.assert_allclose(weights["responsibilities"].sum("component"), 1, rtol=1e-5)


def test_counts_on_request(run: Run, adata: AnnData) -> None:
    groups = run.posterior(adata, 5, ["counts", "z"], chunk_size=30)
    assert set(groups["posterior"].data_vars) == {"z"}
    assert set(groups["sample_stats"].data_vars) == {"log_weight"}
    for group in ("posterior_predictive", "prior_predictive"):
        counts = groups[group]["counts"]
        assert counts.dims == ("chain", "draw", "obs", "feature")
        assert counts.shape == (1, 5, 100, 7)
        assert counts.dtype == np.int32
        assert list(counts.coords["feature"].values) == list(adata.var_names)
        assert list(counts.coords["obs"].values) == list(adata.obs_names)
    observed = groups["observed_data"]["counts"]
    assert observed.dims == ("obs", "feature")
    np.testing.assert_array_equal(observed, adata.layers["raw"].toarray())


def test_arviz_understands_it(run: Run, adata: AnnData) -> None:
    import arviz

    groups = run.posterior(adata[:20].copy(), 60, ["z", "counts"])
    summary = arviz.summary(groups, var_names=["z"], kind="stats")
    assert len(summary) == 40
    assert summary.index[0] == "z[cell0, 0]"


def test_sizes_of_chunks_do_not_matter(
    run: Run, adata: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Draws that are computed a few at a time are put together in the right places."""
    whole = run.posterior(adata, 300, ["z"])["posterior"]["z"].values[0]
    monkeypatch.setattr(draws_module, "CHUNK_NUMBERS", 7 * 100 * 40)
    parts = run.posterior(adata, 300, ["z"])["posterior"]["z"].values[0]
    assert np.isfinite(parts).all()
    error = np.sqrt(2 / 300) * whole.std(0)
    assert (np.abs(whole.mean(0) - parts.mean(0)) < 4.5 * error).all()


def test_unknown_sites(run: Run, adata: AnnData) -> None:
    with pytest.raises(UnknownName, match=r"site 'zz'.*Known: 'component', 'counts', 'library'"):
        run.posterior(adata, 2, ["z", "zz"])
    plain = VAE(7)
    fitted = fit(plain, guide_for(plain), adata, epochs=1, progress=False, device="cpu")
    with pytest.raises(UnknownName, match="site 'component'"):
        fitted.posterior(adata, 2, "component")
    assert set(fitted.posterior(adata, 2, "z")["posterior"].data_vars) == {"z"}


def test_no_draws(run: Run, adata: AnnData) -> None:
    with pytest.raises(ValueError, match="num_samples is 0"):
        run.posterior(adata, 0)


def test_more_than_fits_is_refused(
    run: Run, adata: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = run.posterior(adata, 10, ["z", "counts"])
    groups = [drawn[name] for name in drawn.groups() if name != "observed_data"]
    size = sum(variable.nbytes for group in groups for variable in group.data_vars.values())
    monkeypatch.setattr(arviz_export, "MAX_BYTES", size)
    run.posterior(adata, 10, ["z", "counts"])
    with pytest.raises(TooManyDrawsError, match=r"11 draws of z, counts for 100 .*Run\.predictive"):
        run.posterior(adata, 11, ["z", "counts"])
    run.posterior(adata, 11)


def test_a_density_of_logarithms_predicts_no_counts(adata: AnnData) -> None:
    model = GaussianMixtureModel(7, 2)
    fitted = fit(model, guide_for(model), adata, epochs=1, progress=False, device="cpu")
    assert set(fitted.posterior(adata, 2)["posterior"].data_vars) == {"component"}
    with pytest.raises(ValueError, match="GaussianMixtureModel is not a distribution of counts"):
        fitted.posterior(adata, 2, ["counts"])
    with pytest.raises(ValueError, match="not a distribution of counts"):
        fitted.predictive(adata)
    with pytest.raises(ValueError, match="not a distribution of counts"):
        fitted.check(adata)
    with pytest.raises(ValueError, match="not a distribution of counts"):
        fitted.log_likelihoods(adata)
