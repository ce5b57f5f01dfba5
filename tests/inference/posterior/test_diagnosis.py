"""Overlaps and nats won against numerical integrals; collapses are seen; the best restart stays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import integrate, stats

from vae4counts.data import CountLoader, CountMatrix
from vae4counts.guides import MarginalGuide, guide_for
from vae4counts.inference import fit
from vae4counts.inference.posterior.diagnosis import Diagnosis, diagnose, overlaps
from vae4counts.inference.posterior.draws import draw
from vae4counts.models import GMVAE
from vae4counts.models.priors import GaussianMixture, VampPrior

pytestmark = pytest.mark.slow

QUICK: dict[str, Any] = {"layer": "raw", "progress": False, "device": "cpu"}


def test_overlap_is_the_integral_of_the_root_of_the_product() -> None:
    loc, scale = np.array([0.0, 1.0, -4.0]), np.array([1.0, 0.5, 2.0])
    found = overlaps(torch.tensor(loc)[:, None], torch.tensor(scale)[:, None])
    for j in range(3):
        for k in range(3):

            def root(z: float, j: int = j, k: int = k) -> float:
                densities = stats.norm.pdf(z, loc[[j, k]], scale[[j, k]])
                return math.sqrt(densities.prod())

            assert found[j, k].item() == pytest.approx(integrate.quad(root, -15, 15)[0], rel=1e-6)


def test_dimensions_multiply() -> None:
    loc, scale = torch.randn(4, 3), torch.rand(4, 3) + 0.1
    each = torch.stack([overlaps(loc[:, [i]], scale[:, [i]]) for i in range(3)])
    torch.testing.assert_close(overlaps(loc, scale), each.prod(0))


def groups(n: int = 240) -> AnnData:
    """Three groups that differ in all 12 features, and no more."""
    random = np.random.default_rng(0)
    profiles = np.repeat(random.dirichlet(np.ones(12) * 0.5, 3), n // 3, axis=0)
    counts = random.poisson(200 * profiles).astype(np.float32)
    adata = AnnData(counts, layers={"raw": counts.copy()})
    return adata[random.permutation(n)].copy()


def test_a_mixture_of_groups_wins_what_groups_tell() -> None:
    torch.manual_seed(0)
    model = GMVAE(12, GaussianMixture(2, 3))
    adata = groups()
    metrics = fit(model, guide_for(model), adata, epochs=75, **QUICK).metrics
    assert metrics["components_used"] == 3
    assert metrics["nats_over_one_gaussian"] > 0.5
    assert max(metrics["component_overlap"]) < 0.1
    assert sum(metrics["component_weights"]) == pytest.approx(1)


def test_nats_won_are_the_integral_over_the_posteriors() -> None:
    torch.manual_seed(0)
    model = GMVAE(12, GaussianMixture(1, 3))
    guide = guide_for(model)
    assert isinstance(guide, MarginalGuide)
    model.eval(), guide.eval()
    batch = next(iter(CountLoader(CountMatrix.from_anndata(groups()), batch_size=240)))
    with torch.no_grad():
        # many times over, because shares are of one draw from each posterior
        found = diagnose(model, guide, [batch] * 50, [batch], num_samples=400)
        loc, scale = (part.double().flatten().numpy() for part in guide.posterior(batch.counts))
        means, scales = (part.double().flatten().numpy() for part in model.prior.components())
        weights = model.prior.log_weights().exp().double().numpy()
        drawn = draw(model, guide, batch, 400).probabilities["component"]
    shares = drawn.double().mean((0, 1)).numpy()
    mean = shares @ means
    single = stats.norm(mean, math.sqrt(shares @ (scales**2 + (means - mean) ** 2)))

    def gain(z: float, of: int) -> float:
        mixture = np.log(weights @ stats.norm.pdf(z, means, scales))
        return float(stats.norm.pdf(z, loc[of], scale[of]) * (mixture - single.logpdf(z)))

    wanted = [
        integrate.quad(gain, *(loc[i] + np.array([-8, 8]) * scale[i]), args=(i,))[0]
        for i in range(240)
    ]
    everyone = found.nats_over_one_gaussian
    sampled = 3 * np.std(wanted) / math.sqrt(len(wanted))
    assert everyone == pytest.approx(np.mean(wanted), abs=sampled)
    assert abs(everyone) > 3 * sampled


@pytest.mark.parametrize("n", [20, 60, 300])
@pytest.mark.parametrize("prior", [GaussianMixture(10, 1), VampPrior(10, 1)])
def test_one_component_gains_nothing(prior: Any, n: int) -> None:
    """However few the observations, in however many dimensions."""
    counts = np.random.default_rng(n).poisson(1.0, (n, 30)).astype(np.float32)
    model = GMVAE(30, prior.anew())
    run = fit(model, guide_for(model), AnnData(counts), epochs=5, progress=False, device="cpu")
    assert run.metrics["nats_over_one_gaussian"] == pytest.approx(0, abs=1e-4)
    assert run.metrics["component_warning"] is None


@pytest.mark.filterwarnings("ignore:the mixture")
@pytest.mark.parametrize("n", [20, 60, 300])
def test_no_mixture_is_said_to_gain_on_noise(n: int) -> None:
    counts = np.random.default_rng(n).poisson(1.0, (n, 30)).astype(np.float32)
    model = GMVAE(30, GaussianMixture(10, 3))
    run = fit(model, guide_for(model), AnnData(counts), epochs=40, progress=False, device="cpu")
    error = run.metrics["nats_standard_error"]
    assert run.metrics["nats_over_one_gaussian"] < 3 * error
    assert "collapsed" in run.metrics["component_warning"]


@pytest.mark.filterwarnings("ignore:the mixture")
def test_one_observation_does_not_tell() -> None:
    counts = np.random.default_rng(0).poisson(1.0, (12, 30)).astype(np.float32)
    model = GMVAE(30, GaussianMixture(10, 3))
    metrics = fit(
        model, guide_for(model), AnnData(counts), epochs=5, progress=False, device="cpu"
    ).metrics
    assert metrics["n_validation"] == 1
    assert metrics["nats_standard_error"] is None
    assert abs(metrics["nats_over_one_gaussian"]) < 10
    assert metrics["component_warning"] is None


def test_components_that_hold_nothing_overlap_with_none() -> None:
    torch.manual_seed(0)
    model = GMVAE(12, GaussianMixture(2, 6, concentration=0.1))
    prior = model.prior
    assert isinstance(prior, GaussianMixture)
    prior.start_at(torch.randn(50, 2), torch.eye(2).repeat(25, 1))
    model.eval()
    guide = guide_for(model).eval()
    batch = next(iter(CountLoader(CountMatrix.from_anndata(groups()))))
    found = diagnose(model, guide, [batch], [batch])
    assert all(overlap > 0 for overlap in found.component_overlap[:2])
    assert found.component_overlap[2:] == [0, 0, 0, 0]


def diagnosis(**changes: Any) -> Diagnosis:
    given = {"components_used": 3, "component_perplexity": 2.9, "nats_over_one_gaussian": 1.0}
    given |= {"nats_standard_error": 0.1, "n_validation": 100}
    lists = {"component_weights": [0.4, 0.3, 0.3], "component_overlap": [0.1, 0.1, 0.1]}
    lists["component_stability"] = [0.9, 0.9, 0.9]
    return Diagnosis(**(given | lists | changes))


def test_collapses_are_put_in_words() -> None:
    assert diagnosis().warning is None
    assert "collapsed to one of its 3" in str(diagnosis(component_perplexity=1.05).warning)
    few = diagnosis(component_perplexity=1.05, n_validation=10)
    assert "may have collapsed to one of its 3 components" in str(few.warning)
    surely = diagnosis(nats_over_one_gaussian=0.01, nats_standard_error=0.01)
    assert "has collapsed to a plain VAE" in str(surely.warning)
    assert "may have collapsed to" in str(diagnosis(nats_over_one_gaussian=0.01).warning)
    # of three observations, the standard error is hardly known
    assert "may have collapsed" in str(
        diagnosis(n_validation=3, nats_over_one_gaussian=0.4).warning
    )
    assert diagnosis(nats_standard_error=None).warning is None
    assert "may have collapsed to" in str(diagnosis(nats_over_one_gaussian=0.2).warning)
    assert "0.20 ± 0.10" in str(diagnosis(nats_over_one_gaussian=0.2).warning)
    assert "restarts" in str(diagnosis(nats_over_one_gaussian=0.01).warning)
    alone = diagnosis(component_weights=[1.0], components_used=1, component_perplexity=1.0)
    assert alone.warning is None
    assert diagnosis().to_dict()["component_warning"] is None


def test_many_small_components_are_no_collapse() -> None:
    """Of 200 in even use none holds 1 %."""
    even = diagnosis(
        components_used=0, component_perplexity=198.0, component_weights=[1 / 200] * 200
    )
    assert even.warning is None


def test_noise_without_groups_warns() -> None:
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    counts = random.poisson(5, (200, 12)).astype(np.float32)
    model = GMVAE(12, GaussianMixture(2, 3))
    adata = AnnData(counts, layers={"raw": counts.copy()})
    with pytest.warns(UserWarning, match="collapsed to"):
        fit(model, guide_for(model), adata, epochs=60, **QUICK)
