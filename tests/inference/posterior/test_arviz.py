"""What a run hands to ArviZ: groups, dimensions, sites, and how much of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from anndata import AnnData

from vae4counts.data import Batch, UnknownName
from vae4counts.guides import Guide, guide_for
from vae4counts.inference import Run, fit
from vae4counts.inference.posterior import draws as draws_module
from vae4counts.inference.posterior import sizes
from vae4counts.inference.posterior.arviz_export import to_arviz
from vae4counts.inference.posterior.samplers import FromGuide
from vae4counts.inference.posterior.sizes import TooLargeError
from vae4counts.models import VAE, GaussianMixtureModel, Latent, Model, observations
from vae4counts.models.likelihoods.poisson import PoissonCounts

pytestmark = pytest.mark.slow


def test_latents_only_by_default(run: Run, adata: AnnData) -> None:
    groups = run.posterior(adata, num_samples=6)
    assert set(groups) == {"posterior", "prior", "log_likelihood", "sample_stats"}
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
    groups = [drawn[name] for name in drawn if name != "observed_data"]
    size = sum(variable.nbytes for group in groups for variable in group.data_vars.values())
    monkeypatch.setattr(sizes, "MAX_BYTES", size)
    run.posterior(adata, 10, ["z", "counts"])
    with pytest.raises(TooLargeError, match=r"11 draws of z, counts for 100 .*Run\.predictive"):
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


class TwoSites(Model):
    """Two enumerated sites, one of them with a name of its own, and latents of two dimensions."""

    latents: Sequence[Latent] = (
        Latent("component", states=2),
        Latent("kind", states=3),
        Latent("factors", "factor"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.n_features, self.numbers_per_draw = 7, 42
        self.log_rates = torch.nn.Parameter(torch.randn(2, 3, 7))

    def forward(self, batch: Batch) -> torch.Tensor:
        enumerated = {"enumerate": "parallel"}
        with observations(batch):
            component = pyro.sample("component", dist.Categorical(torch.ones(2)), infer=enumerated)
            kind = pyro.sample("kind", dist.Categorical(torch.ones(3)), infer=enumerated)
            factors = pyro.sample("factors", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            scale = (0.1 * factors).sum(-1, keepdim=True)
            counts = PoissonCounts((self.log_rates[component, kind] + scale).exp())
            return pyro.sample("counts", counts, obs=batch.counts)


class FactorGuide(Guide):
    sites = ("factors",)

    @classmethod
    def fits(cls, model: Model) -> bool:
        return True

    @classmethod
    def for_model(cls, model: Model, encoder: object) -> Guide:
        return cls()

    def forward(self, batch: Batch) -> torch.Tensor:
        with observations(batch):
            return pyro.sample("factors", dist.Normal(torch.zeros(2), 1.0).to_event(1))


def test_dimensions_are_those_that_the_model_declares(few_counts: Batch) -> None:
    names = [f"x{i}" for i in range(5)]
    model, guide = TwoSites().eval(), FactorGuide().eval()
    features = list("abcdefg")
    draws = to_arviz(model, FromGuide(model, guide), [few_counts], names, features, 30)
    assert set(draws["posterior"].data_vars) == {"component", "kind", "factors"}
    assert draws["posterior"]["factors"].dims == ("chain", "draw", "obs", "factor")
    assert draws["posterior"]["kind"].dims == ("chain", "draw", "obs")
    stats = draws["sample_stats"]
    assert set(stats.data_vars) == {"log_weight", "responsibilities", "kind_probabilities"}
    assert stats["responsibilities"].dims == ("chain", "draw", "obs", "component")
    assert stats["kind_probabilities"].dims == ("chain", "draw", "obs", "kind")
    assert stats["kind_probabilities"].shape == (1, 30, 5, 3)
    np.testing.assert_allclose(stats["kind_probabilities"].sum("kind"), 1, rtol=1e-5)
    some = to_arviz(
        model, FromGuide(model, guide), [few_counts], names, features, 2, ["kind", "counts"]
    )
    assert set(some["sample_stats"].data_vars) == {"log_weight", "kind_probabilities"}
    assert some["posterior_predictive"]["counts"].dims == ("chain", "draw", "obs", "feature")


@pytest.fixture
def few_counts(batch_of: Callable[..., Batch]) -> Batch:
    """Five observations of seven counts."""
    return batch_of(np.random.default_rng(0).poisson(1.0, size=(5, 7)))


def test_the_log_likelihood_says_what_it_is_not_for(run: Run, adata: AnnData) -> None:
    """PSIS-LOO would take p(x | z), with z inferred from x, for a prediction of x."""
    drawn = run.posterior(adata, 3)
    note = drawn["log_likelihood"].attrs["note"]
    assert "own latents: not for arviz.loo" in note
    assert "vae4counts.inference.compare" in note
    assert "note" not in drawn["posterior"].attrs
