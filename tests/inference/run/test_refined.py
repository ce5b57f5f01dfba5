"""Refined posteriors in every question to a run."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData

from vae4counts.guides import guide_for
from vae4counts.inference import Run, compare, fit
from vae4counts.inference.posterior import refined_posteriors
from vae4counts.models import CountMixture, NotInModelError

pytestmark = pytest.mark.slow


def test_the_bound_rises_and_both_are_kept(run: Run, adata: AnnData) -> None:
    on = run.on(adata)
    amortised, refined = on.evaluate(), on.evaluate(refine=True)
    assert refined.elbo > amortised.elbo
    assert refined.iw_log_likelihood > amortised.elbo
    assert refined.effective_draws > amortised.effective_draws
    assert on.run.metrics["elbo"] == amortised.elbo
    assert on.run.metrics["refined_elbo"] == refined.elbo
    assert on.run.metrics["refined_pareto_k_high"] == refined.pareto_k_high


def test_each_posterior_is_found_once(
    run: Run, adata: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    refine = refined_posteriors.refine

    def noting(model: object, guide: object, counts: object, **how: object) -> object:
        sizes.append(len(counts))
        return refine(model, guide, counts, **how)

    monkeypatch.setattr(refined_posteriors, "refine", noting)
    on = run.on(adata)
    first = on.evaluate(refine=True)
    assert on.evaluate(refine=True) == first
    on.summary(refine=True)
    on.posterior(5, refine=True)
    assert sizes == [len(run.split.test), len(adata) - len(run.split.test)]


def test_they_are_saved(run: Run, adata: AnnData, tmp_path: Path) -> None:
    on, path = run.on(adata), tmp_path / "refined.safetensors"
    found = on.evaluate(refine=True)
    on.refined.save(path)
    again = run.on(adata)
    again.refined.load(path)
    assert again.evaluate(refine=True) == found
    other = run.on(adata[:-1].copy())
    with pytest.raises(ValueError, match="another run, or of other observations"):
        other.refined.load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="does not hold refined posteriors"):
        other.refined.load(path)


def test_every_question_takes_them(run: Run, adata: AnnData) -> None:
    on = run.on(adata)
    for ask in (
        lambda refine: on.summary(refine=refine)[0],
        lambda refine: on.posterior(20, refine=refine)["posterior"]["z"].values,
        lambda refine: on.predictive(20, refine=refine).observations["mean"].to_numpy(),
        lambda refine: on.log_likelihoods(100, refine=refine)["log_likelihood"].to_numpy(),
        lambda refine: on.interpret(refine=refine).denoised(num_samples=20).to_numpy(),
    ):
        amortised, refined = ask(False), ask(True)
        assert amortised.shape == refined.shape
        assert np.isfinite(refined).all()
        assert not np.array_equal(amortised, refined)
    assert on.check(10, refine=True) is not None


def test_annotation_says_where_they_cannot_be_trusted(run: Run, adata: AnnData) -> None:
    run.annotate(adata, refine=True)
    quality = run.on(adata).posterior_quality(num_samples=100, refine=True)
    assert adata.obs[["pareto_k", "effective_draws"]].equals(quality)
    assert quality["effective_draws"].between(0.01, 1).all()
    run.annotate(adata)
    assert not {"pareto_k", "effective_draws"} & set(adata.obs)


def test_quality_of_some_observations(run: Run, adata: AnnData) -> None:
    on = run.on(adata)
    some = on.posterior_quality(np.array([7, 3]), 100)
    assert list(some.index) == ["cell7", "cell3"]
    refined = on.posterior_quality(np.array([7, 3]), 100, refine=True)
    assert (refined["effective_draws"] > some["effective_draws"]).all()
    with pytest.raises(ValueError, match="must be 100 or more"):
        on.posterior_quality(num_samples=99)


def test_comparison_refines_by_default(run: Run, adata: AnnData) -> None:
    rows = {"a": run, "b": run}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ten observations one may have a bad k
        refined, amortised = (compare(rows, adata, refine=refine) for refine in (True, False))
        by_default = compare(rows, adata)
    assert by_default.equals(refined)
    on = run.on(adata)
    for table, refine in ((refined, True), (amortised, False)):
        wanted = on.log_likelihoods(refine=refine)["log_likelihood"].mean()
        assert table["log_likelihood"]["a"] == pytest.approx(wanted)
    assert not refined.equals(amortised)


def test_a_model_without_latents_has_nothing_to_refine(adata: AnnData) -> None:
    model = CountMixture(7, 2)
    run = fit(model, guide_for(model), adata, layer="raw", epochs=2, progress=False, device="cpu")
    on = run.on(adata)
    assert on.evaluate(refine=True).elbo == on.evaluate().elbo
    with pytest.raises(NotInModelError, match="sums all its latents out"):
        on.posterior(10, method="hmc")


def test_chains_are_named_as_arviz_expects(run: Run, adata: AnnData) -> None:
    groups = run.posterior(adata[:6].copy(), 30, method="hmc", chains=3)
    z = groups["posterior"]["z"]
    assert z.dims == ("chain", "draw", "obs", "latent")
    assert z.shape[:3] == (3, 30, 6)
    stats = groups["sample_stats"]
    assert {"lp", "acceptance_rate", "step_size", "diverging"} <= set(stats.data_vars)
    assert np.isfinite(stats["lp"]).all()
    with pytest.raises(ValueError, match="method is 'nuts'"):
        run.posterior(adata, method="nuts")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="chains is 0"):
        run.posterior(adata, method="hmc", chains=0)
